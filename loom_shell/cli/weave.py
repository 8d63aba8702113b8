"""`loom weave`: what the Loom wove into requests."""

import json
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from loom_shell.cli.asking import NoAnswerError, ask, configured, fail, forgive_output
from loom_shell.config import ConfigError
from loom_shell.last_woven import MAX_BODY, Last, Page, matching
from loom_shell.printable import printable, shown
from loom_shell.units import count
from loom_shell.woven_picture import picture
from loom_shell.woven_view import View, view

MOST_NAMED = 6
"""Sessions that a sentence names."""

weave = typer.Typer(no_args_is_help=True, add_completion=False, help="Show what was woven into requests.")


@weave.command()
def show(
    session: Annotated[
        str,
        typer.Argument(help="Its id or the beginning of it; else the one woven last.", show_default=False),
    ] = "",
    full: Annotated[bool, typer.Option("--full", help="All of every text.")] = False,
    url: Annotated[
        str, typer.Option(metavar="URL", help="The Loom to ask; else the configured one.", show_default=False)
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with all of every text.")] = False,
) -> None:
    """Show a session's last request as it went upstream, the Loom's parts in frames.

    ◆ stands where the client set a cache marker. Tokens are estimates: bytes by four.
    """
    forgive_output()
    console = Console(highlight=False, markup=False, emoji=False)
    try:
        last, body = _last(url or configured(), session)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except (ConfigError, NoAnswerError) as error:
        fail(f"{error}")
    seen = view(body, last.blocks)
    if as_json:
        typer.echo(_as_json(last, seen))
        return
    for one in picture(console, last, seen, full=full):
        console.print(one)


def _last(url: str, session: str) -> tuple[Last, bytes]:
    """The request that is meant, and its body. NoAnswerError if there is none, or which is not certain."""
    page = ask(url, "woven", {"session": session}, Page, "woven requests")
    if page.last is None:
        raise NoAnswerError(_why_none(page, printable(url, 200), session))
    if page.last.body is None:
        name, size = printable(page.last.session, 80), count(page.last.size)
        raise NoAnswerError(
            f"the last request of session {name} has {size} bytes, and the Loom keeps none of more than"
            f" {count(MAX_BODY)}"
        )
    return page.last, page.last.body


def _why_none(page: Page, place: str, session: str) -> str:
    if not page.sessions:
        return (
            f"the Loom at {place} has no woven request yet: weaving needs a profile (`loom profile new`) and"
            " requests that name it"
        )
    found = matching(page.sessions, session)
    if found:
        return f"{len(found)} sessions begin with {shown(session)}: {_named(found)}; give more of the id"
    return (
        f"the Loom at {place} has no woven request of session {shown(session)}; it has those of"
        f" {_named(list(page.sessions))}"
    )


def _named(sessions: list[str]) -> str:
    more = f" and {len(sessions) - MOST_NAMED} more" if len(sessions) > MOST_NAMED else ""
    return ", ".join(printable(it, 80) for it in sessions[:MOST_NAMED]) + more


def _as_json(last: Last, seen: View) -> str:
    """All of it in ASCII, so that no text can say anything to a terminal."""
    told = {
        "session": last.session,
        "size": last.size,
        "woven": msgspec.to_builtins(last.woven),
        "request": msgspec.to_builtins(seen),
    }
    return json.dumps(told).replace("\x7f", "\\u007f")
