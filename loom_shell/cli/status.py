"""`loom status`: what runs in a Loom, and how it does."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loom_shell.cli.asking import NoAnswerError, ask, configured, fail, forgive_output
from loom_shell.config import ConfigError
from loom_shell.printable import printable
from loom_shell.units import count

LONGEST = 160
"""Characters of a trouble."""

Figures = dict[str, Any]


def status(
    url: Annotated[
        str, typer.Option(metavar="URL", help="The Loom to ask; else the configured one.", show_default=False)
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what a running Loom does: exchanges, profiles, store, transcripts, the Scribe, Intro, memories."""
    forgive_output()
    try:
        told = ask(url or configured(), "status", {}, Figures, "status")
    except (ConfigError, NoAnswerError) as error:
        fail(f"{error}")
    if as_json:
        typer.echo(json.dumps(told))
        return
    table = Table.grid(padding=(0, 2))
    for name, text, is_well in lines(told):
        table.add_row(Text("●", "green" if is_well else "yellow"), Text(name, "bold"), Text(text))
    Console(highlight=False).print(table)


def lines(told: Figures) -> Iterator[tuple[str, str, bool]]:
    """(name, figures in words, whether it is well), in the order in which one thing needs the next."""
    draining = ", draining" if told.get("is_draining") else ""
    yield "exchanges", f"{_figure(told, 'exchanges')} under way{draining}", not draining
    names = told.get("profiles")
    listed = ", ".join(printable(str(name), 64) for name in names) if isinstance(names, list) else ""
    yield "profiles", listed or "none: nothing is woven", True
    for name, words in PARTS.items():
        part = told.get(name)
        if not isinstance(part, dict):
            yield name, "not running", True
            continue
        trouble = str(part.get("trouble") or "")
        said = ", ".join(f"{_figure(part, key)} {what}" for key, what in words.items() if key in part)
        state = printable(str(part.get("state") or part.get("bus") or ""), LONGEST)
        shown = [it for it in (state if name in STATED else "", said, printable(trouble, LONGEST)) if it]
        is_ill = bool(trouble) or any(word in state for word in ("in trouble", "left alone"))
        yield name, " · ".join(shown), not is_ill


PARTS = {
    "store": {},
    "transcripts": {
        "files": "followed",
        "waiting": "not there yet",
        "published": "lines published",
        "behind": "bytes behind",
        "refused": "refused",
    },
    "scribe": {"stored": "lines stored", "lag": "to come"},
    "intro": {
        "sessions": "sessions",
        "noted": "memorables",
        "waiting": "lines waiting",
        "failed": "failures",
    },
    "memories": {"memories": "kept", "forgotten": "forgotten"},
}
"""Of each part, which figures are shown and what they count."""
STATED = frozenset({"store", "transcripts", "scribe", "intro"})


def _figure(told: Figures, name: str) -> str:
    value = told.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        return "?"
    return count(value)
