"""`loom turns`: the recent turns of a running Loom, as trees."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import msgspec
import typer
from rich.console import Console, Group
from rich.live import Live

from loom_shell.cli.asking import NoAnswerError, ask, configured, fail, forgive_output
from loom_shell.config import ConfigError
from loom_shell.printable import printable
from loom_shell.recent import MAX_PAGE, Page, Trace
from loom_shell.turn_tree import Shown, shown

EVERY = 0.5
"""Seconds between two looks with --follow."""
REMEMBERED = 4_000
"""Turns that --follow knows it has shown; a Loom keeps far fewer."""


def turns(
    session: Annotated[
        str, typer.Argument(help="Only this session: its id or the beginning of it.", show_default=False)
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on, until Ctrl-C.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="How many turns.")] = 20,
    url: Annotated[
        str, typer.Option(metavar="URL", help="The Loom to ask; else the configured one.", show_default=False)
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each turn and line.")] = False,
) -> None:
    """Show the recent turns of a running Loom: calls, tokens, cache, cost, times, tools.

    Costs are list prices, with ≥ where it was that or more; a model without a known price has none.
    """
    forgive_output()
    console = Console(highlight=False)
    try:
        place = url or configured()
        pages = _pages(place, session, limit, follow=follow)
        if as_json:
            _print_lines(pages)
        elif follow:
            _follow(console, pages)
        else:
            _print_once(console, next(pages), session)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    except (ConfigError, NoAnswerError) as error:
        fail(f"{error}")


def fetch(url: str, session: str, limit: int, after: int) -> Page:
    """Ask a Loom for its page of turns. NoAnswerError if there is none."""
    return ask(url, "turns", {"session": session, "limit": limit, "after": after}, Page, "turns")


def _pages(url: str, session: str, limit: int, *, follow: bool) -> Iterator[Page]:
    """The page now; with `follow` then each that has something new, and empty ones between."""
    after = 0
    while True:
        page = fetch(url, session, limit, after)
        yield page
        if not follow:
            return
        after = page.last
        time.sleep(EVERY)


def _print_once(console: Console, page: Page, session: str) -> None:
    if not page.turns:
        of = f" of session {printable(session, 80)}" if session else ""
        console.print(f"No turns{of} yet.", markup=False)
    for trace in page.turns:
        for one in shown(trace):
            console.print(one.tree)


def _print_lines(pages: Iterator[Page]) -> None:
    for page in pages:
        for trace in page.turns:
            typer.echo(msgspec.json.encode(trace).decode("utf-8", "replace"))


def _follow(console: Console, pages: Iterator[Page]) -> None:
    """Print each turn once it is over; on a terminal, those under way are drawn anew below."""
    told: dict[str, None] = {}
    last = -1
    under_way: dict[str, list[Shown]] = {}
    with Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
        for page in pages:
            if page.last < last:
                # The Loom was started anew: it knows nothing of what was under way.
                under_way.clear()
            elif not page.turns:
                continue
            last = page.last
            with _uninterrupted():
                for trace in page.turns:
                    under_way[trace.trace_id] = _tell(console, trace, told)
                under_way = {trace: those for trace, those in under_way.items() if those}
                trees = [one.tree for those in under_way.values() for one in those]
                if console.is_terminal:
                    live.update(Group(*trees[-3:]), refresh=True)
            while len(told) > REMEMBERED:
                del told[next(iter(told))]


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits: a print that is cut off halfway would be written a second time at the end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _tell(console: Console, trace: Trace, told: dict[str, None]) -> list[Shown]:
    """Print what is over and was not printed; what is under way comes back."""
    found = shown(trace)
    for one in found:
        if not one.is_running and one.id not in told:
            console.print(one.tree)
            told[one.id] = None
    return [one for one in found if one.is_running]
