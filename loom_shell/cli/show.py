"""`loom show`: a session as it was said, from the database of transcripts."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from attrs import asdict
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from loom_core.rules import SECOND
from loom_shell.cli.asking import fail, forgive_output
from loom_shell.config import Config, ConfigError, load
from loom_shell.printable import printable, shown
from loom_shell.scribe import FILE_NAME, Database, DatabaseTroubleError
from loom_shell.scribe.rows import Row, Usage
from loom_shell.scribe.said import Part, Said, said
from loom_shell.scribe_url import Postgres
from loom_shell.units import clock, count

MOST_NAMED = 6
"""Sessions that a sentence names."""
CLIPPED = {"words": 40, "thinking": 3, "tool": 2, "result": 4, "mark": 1}
"""Lines shown of a part, unless all are asked for."""
WIDE = 400
"""Characters shown of such a line."""
INDENT = (0, 0, 0, 2)
STYLES = {"words": "", "thinking": "dim italic", "tool": "yellow", "result": "dim", "mark": "dim"}
SIGNS = {"words": "", "thinking": "", "tool": "→ ", "result": "← ", "mark": "· "}

ConfigFile = Annotated[str | None, typer.Option("--config", metavar="FILE", help="The TOML file to read.")]
Home = Annotated[str | None, typer.Option("--home", metavar="FOLDER", help="Folder of the Loom's files.")]


def show(
    session: Annotated[str, typer.Argument(help="Its id, or as much of the beginning as no other has.")],
    *,
    full: Annotated[bool, typer.Option("--full", help="All of every text, and lines nobody said.")] = False,
    as_lines: Annotated[
        bool, typer.Option("--json", help="One JSON object for each line; with --full the raw line too.")
    ] = False,
    config: ConfigFile = None,
    home: Home = None,
) -> None:
    """Show a session: what was said, the tools that were used, and what they gave."""
    forgive_output()
    console = Console(highlight=False, markup=False, emoji=False)
    try:
        database = Database(place(load({"config": config, "home": home})))
        name = _named(database, session)
        if as_lines:
            for row in database.lines(name):
                typer.echo(as_json(row, full=full))
        else:
            _print(console, database.lines(name), full=full)
            _print_used(console, name, database.used(name))
        database.close()
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except (ConfigError, DatabaseTroubleError, _NoSessionError) as error:
        fail(f"{error}")


def place(config: Config) -> Postgres | Path:
    """Where transcripts are kept."""
    return config.scribe or config.home / FILE_NAME


def as_json(row: Row, *, full: bool) -> str:
    """All of it in ASCII, so that no text can say anything to a terminal."""
    told: dict[str, Any] = asdict(row)
    told["at"] = _iso(row.at)
    if not full:
        del told["raw"]
    return json.dumps(told).replace("\x7f", "\\u007f")


def _iso(at: int) -> str:
    """RFC 3339 in UTC, to the millisecond; "" beyond the calendar."""
    try:
        moment = datetime.fromtimestamp(at // SECOND, UTC)
    except (OverflowError, OSError, ValueError):
        return ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at % SECOND // 1_000_000:03d}Z"


class _NoSessionError(Exception):
    """There is not one session that is meant; the text is a sentence for the user."""


def _named(database: Database, beginning: str) -> str:
    """The one session that is meant. _NoSessionError where there is none, or several."""
    found = database.sessions(beginning, MOST_NAMED + 1)
    if beginning in found or (beginning and len(found) == 1):
        return beginning if beginning in found else found[0]
    if beginning and found:
        raise _NoSessionError(
            f"several sessions begin with {shown(beginning)}: {_list(found)}; give more of the id"
        )
    there = database.sessions("", MOST_NAMED + 1)
    if not there:
        raise _NoSessionError("no session is stored yet: `loom serve` or `loom scribe` stores what is said")
    raise _NoSessionError(f"no session begins with {shown(beginning)}; the last ones are {_list(there)}")


def _list(sessions: list[str]) -> str:
    more = ", …" if len(sessions) > MOST_NAMED else ""
    return ", ".join(printable(it, 80) for it in sessions[:MOST_NAMED]) + more


def _print(console: Console, rows: Iterable[Row], *, full: bool) -> None:
    before: Said | None = None
    day = ""
    for row in rows:
        one = said(row)
        parts = one.parts or ((Part("mark", row.type or "a line of no type"),) if full else ())
        if not parts:
            continue
        if day != (day := _day(one.at)):
            console.print(Text(f"\n{day}", "dim"))
            before = None
        if before is None or (one.who, one.agent) != (before.who, before.agent):
            console.print(_head(one))
        before = one
        for part in parts:
            _print_part(console, part, full=full)


def _day(at: int) -> str:
    """A moment's date on this machine's calendar; `?` beyond it."""
    try:
        return datetime.fromtimestamp(at // SECOND).astimezone().strftime("%Y-%m-%d")
    except (OverflowError, OSError, ValueError):
        return "?"


def _head(one: Said) -> Text:
    head = Text("\n")
    head.append(printable(one.who, 40), "bold cyan" if one.who == "user" else "bold")
    head.append(f"  {clock(one.at, None)}", "dim")
    if one.agent:
        head.append(f"  agent {printable(one.agent, 80)}", "dim")
    return head


def _print_part(console: Console, part: Part, *, full: bool) -> None:
    lines = part.text.strip("\n").splitlines()
    kept = lines if full else lines[: CLIPPED[part.kind]]
    for number, line in enumerate(kept):
        sign = SIGNS[part.kind] if number == 0 else " " * len(SIGNS[part.kind])
        shown_line = printable(line.expandtabs(4), 5 * len(line) if full else WIDE)
        console.print(Padding(Text(sign + shown_line, STYLES[part.kind]), INDENT, expand=False))
    if len(kept) < len(lines):
        console.print(
            Padding(Text(f"… {len(lines) - len(kept)} more lines: --full", "dim"), INDENT, expand=False)
        )


def _print_used(console: Console, session: str, used: Usage) -> None:
    read, written = used.cache_read_input_tokens, used.cache_creation_input_tokens
    told = (
        f"{printable(session, 80)}: {count(used.input_tokens)} tokens in, {count(read)} read from the cache, "
        f"{count(written)} written there, {count(used.output_tokens)} out"
    )
    console.print(Text(f"\n{told}", "dim"))
