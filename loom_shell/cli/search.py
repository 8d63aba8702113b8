"""`loom search`: what was said in any session, found by its words."""

import time
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from loom_core.rules import SECOND
from loom_shell.cli.asking import fail, forgive_output
from loom_shell.cli.show import ConfigFile, Home, as_json, place
from loom_shell.config import ConfigError, load
from loom_shell.printable import printable, shown
from loom_shell.scribe import Database, DatabaseTroubleError
from loom_shell.scribe.rows import Row
from loom_shell.scribe.since import ALLOWED
from loom_shell.scribe.since import since as moment
from loom_shell.scribe.statements import Wanted
from loom_shell.scribe.words import Phrase, first, phrases

BEFORE, AROUND = 80, 320
"""Characters shown before the first word that was found, and in all."""


def search(
    words: Annotated[str, typer.Argument(help='What to look for: all of the words; "some words" together.')],
    *,
    session: Annotated[
        str, typer.Option(help="Only this session: its id or the beginning of it.", show_default=False)
    ] = "",
    since: Annotated[
        str, typer.Option(metavar="WHEN", help="Only since then: 30m, 2d, or a date.", show_default=False)
    ] = "",
    role: Annotated[
        str, typer.Option(help="Only what this role said: user, assistant.", show_default=False)
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many at most.")] = 20,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object for each line that is found.")
    ] = False,
    config: ConfigFile = None,
    home: Home = None,
) -> None:
    """Find what was said, newest first. Case, accents and endings of words do not count."""
    forgive_output()
    asked = phrases(words)
    if not asked:
        fail(f"there is no word to look for in {shown(words)}: give one of letters or digits")
    try:
        at = moment(since, time.time_ns()) if since else 0
    except ValueError:
        fail(f"--since is {shown(since)}: it must be {ALLOWED}")
    try:
        database = Database(place(load({"config": config, "home": home})))
        found = database.find(Wanted(asked, session, at, role, limit))
        database.close()
    except (ConfigError, DatabaseTroubleError) as error:
        fail(f"{error}")
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for one in found:
        if json:
            typer.echo(as_json(one, full=False))
        else:
            _print(console, one, asked)
    if not found:
        typer.echo("Nothing was found.", err=True)


def _print(console: Console, one: Row, asked: tuple[Phrase, ...]) -> None:
    head = Text()
    head.append(day_and_time(one.at), "bold")
    head.append(f"  {printable(one.role or one.type, 40)}", "cyan")
    head.append(f"  {printable(one.session, 80)}", "dim")
    console.print(head)
    begin = max(0, first(one.text, asked) - BEFORE)
    before, after = "…" if begin else "", "…" if begin + AROUND < len(one.text) else ""
    snippet = " ".join(one.text[begin : begin + AROUND].split())
    console.print(Text(f"    {before}{printable(snippet)}{after}"))


def day_and_time(at: int) -> str:
    """A moment on this machine's calendar; `?` beyond it."""
    try:
        return datetime.fromtimestamp(at // SECOND).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return "?"
