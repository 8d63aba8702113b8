"""`loom inspect`: a recorded session as one HTML file, to be opened in any browser."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from loom_shell.cli.asking import fail, forgive_output
from loom_shell.files import named, write_private
from loom_shell.inspect.page import page
from loom_shell.inspect.shown import Recording
from loom_shell.inspect.timeline import Timeline
from loom_shell.printable import shown
from loom_shell.replay.reading import JournalError, recorded
from loom_shell.replay.record import Recorded
from loom_shell.replay.running import stepped
from loom_shell.units import count

FILE = Path("loom-session.html")
STDOUT = Path("-")
EVERY = 200
"""Events between two looks at the progress."""


def inspect(
    path: Annotated[Path, typer.Argument(help="The folder of `loom serve --journal`, or one file of it.")],
    *,
    session: Annotated[
        str, typer.Option("--session", metavar="S", help="Only sessions whose id begins so.")
    ] = "",
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The file to write; - for standard output.")
    ] = FILE,
) -> None:
    """Show a recorded session as a time line: one HTML file, that asks no network for anything."""
    forgive_output()
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    try:
        recording = _read(path, session, console)
        made = page(recording)
        if out == STDOUT:
            sys.stdout.buffer.write(made)
            sys.stdout.buffer.flush()
            return
        if out.exists() and not out.is_file():
            fail(f"cannot write {named(out)}: it is no regular file; name another file with --out")
        write_private(out, made)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except (JournalError, _NothingError) as error:
        fail(f"{error}")
    except (OSError, ValueError) as error:
        reason = (error.strerror or "unknown error").lower() if isinstance(error, OSError) else "no file name"
        fail(f"cannot write {named(out)}: {reason}; name another file with --out")
    turns = sum(1 for turn in recording.turns if turn.name)
    told = f"{count(len(recording.exchanges))} exchanges, {count(turns)} turns, {count(len(made) // 1000)} KB"
    console.print(f"{named(out)}: {told}; open it in a browser", soft_wrap=True)


class _NothingError(Exception):
    """There is nothing to show; the text is a sentence for the user."""


def _read(path: Path, session: str, console: Console) -> Recording:
    timeline = Timeline(session)
    for step in stepped(_watched(recorded(path), console)):
        timeline.take(step)
    recording = timeline.recording(path.resolve().name)
    if not recording.exchanges and not recording.left and not any(it.files for it in recording.sessions):
        if session and timeline.events:
            raise _NothingError(f"no session in {named(path)} begins with {shown(session)}")
        raise _NothingError(f"{named(path)} has no events yet: `loom serve --journal` writes them")
    return recording


def _watched(records: Iterable[Recorded], console: Console) -> Iterator[Recorded]:
    """The same, and on a terminal how many there were so far."""
    words = TextColumn("reading: {task.completed:,} events")
    columns = (words, BarColumn(bar_width=20), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=None)
        for number, record in enumerate(records, 1):
            yield record
            if number % EVERY == 0:
                progress.update(task, completed=number)
