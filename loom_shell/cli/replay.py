"""`loom replay`: a journal through the core, without any I/O."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress

from loom_core.actions import ExportSpan
from loom_shell.replay.checking import ACTIONS, Against, Check, Difference, Part, parts, saved
from loom_shell.replay.codec import encoded
from loom_shell.replay.reading import JournalError, recorded, size
from loom_shell.replay.record import Recorded
from loom_shell.replay.retold import retold
from loom_shell.replay.words import dialogue, of_record, of_value

LONG = 10_000
"""Events from which on a bar shows how far it is."""


class Printed(StrEnum):
    """What is printed of each event."""

    EVENTS = "events"
    ACTIONS = "actions"
    DIALOGUE = "dialogue"
    SPANS = "spans"


def replay(
    path: Annotated[Path, typer.Argument(help="The folder of a journal, or one of its files.")],
    session: Annotated[str | None, typer.Option(help="Show this session only.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare with what was done then.")] = False,
    printed: Annotated[Printed | None, typer.Option("--print", help="Show each event.")] = None,
    against: Annotated[Path | None, typer.Option(help="Compare with actions another build saved.")] = None,
    save: Annotated[Path | None, typer.Option(help="Save the actions, for --against.")] = None,
    to_test: Annotated[bool, typer.Option("--to-test", help="Print a test of it, with other words.")] = False,
) -> None:
    """Run the core over a journal: the same bytes, spans and notes, without upstream or client.

    With --check or --against it ends with status 1 at the first difference.
    """
    try:
        if to_test:
            sys.stdout.write(retold(_of_session(recorded(path), session)))
            return
        _run(path, session, check, printed, against, save)
    except JournalError as error:
        _fail(f"{error}", 2)
    except BrokenPipeError:
        # Whoever read it has seen enough.
        sys.stdout = None
    except OSError as error:
        _fail(f"{error.filename or path}: {(error.strerror or 'unknown error').lower()}", 2)


def _run(
    path: Path,
    session: str | None,
    check: bool,
    printed: Printed | None,
    against: Path | None,
    save: Path | None,
) -> None:
    show = _PRINTED[printed] if printed else None
    told = _Told()
    with ExitStack() as stack:
        checks: list[Check | Against] = [Check()] if check else []
        if against is not None:
            checks.append(stack.enter_context(closing(Against(against))))
        keeps = _opened(stack, save)
        for part in parts(_progress(stack, path, told.counted(recorded(path)))):
            if keeps is not None:
                keeps.write(saved(part))
            if show is not None and session in (None, part.record.session):
                show(part)
            for one in checks:
                if difference := one.differs(part):
                    _differs(difference)
        for one in checks:
            if isinstance(one, Against) and (difference := one.ends()):
                _differs(difference)
    told.show(checks)


class _Told:
    """What there was."""

    def __init__(self) -> None:
        self.events = 0
        self.exchanges = 0
        self.torn: set[str] = set()

    def counted(self, records: Iterable[Recorded]) -> Iterator[Recorded]:
        for record in records:
            self.events += 1
            self.exchanges += type(record.event).__name__ == "RequestReceived"
            if not record.whole:
                self.torn.add(record.session)
            yield record

    def show(self, checks: list[Check | Against]) -> None:
        problems = Console(stderr=True, highlight=False)
        compared = "; all that followed is the same" if checks and self.events else ""
        words = f"{self.events} events of {self.exchanges} exchanges{compared}"
        problems.print(words, markup=False, soft_wrap=True)
        for one in checks:
            if isinstance(one, Check) and self.events and not one.compared:
                _fail("the journal has no digests, so nothing was compared", 2)
        for session in sorted(self.torn):
            name = session or "a session without a name"
            problems.print(
                f"loom: of {name} not all was written: it may not have gone as it is replayed",
                markup=False,
                soft_wrap=True,
            )


def _of_session(records: Iterable[Recorded], session: str | None) -> Iterator[Recorded]:
    return (record for record in records if session in (None, record.session))


def _progress(stack: ExitStack, path: Path, records: Iterator[Recorded]) -> Iterator[Recorded]:
    """A bar on the terminal, for a long recording."""
    console = Console(stderr=True)
    whole = size(path) if console.is_terminal else 0
    if whole < LONG:
        yield from records
        return
    bar = stack.enter_context(Progress(console=console, transient=True))
    task = bar.add_task("replaying", total=whole)
    for number, record in enumerate(records):
        if number % 256 == 0:
            bar.update(task, completed=number)
        yield record


def _opened(stack: ExitStack, path: Path | None) -> IO[bytes] | None:
    if path is None:
        return None
    keeps = stack.enter_context(path.open("wb"))
    keeps.write(encoded(ACTIONS) + b"\n")
    return keeps


def _show_events(part: Part) -> None:
    if part.part == 0:
        typer.echo(of_record(part.record))


def _show_actions(part: Part) -> None:
    for step in part.steps:
        for action in step.actions:
            typer.echo(f"{part.record.number} {of_value(action)}")


def _show_dialogue(part: Part) -> None:
    lines = dialogue(part.record, part.steps)
    for number, line in enumerate(lines):
        if number or not part.part:
            typer.echo(line)


def _show_spans(part: Part) -> None:
    for step in part.steps:
        for action in step.actions:
            if isinstance(action, ExportSpan):
                typer.echo(msgspec.json.encode(action.span).decode("utf-8", "replace"))


_PRINTED: dict[Printed, Callable[[Part], None]] = {
    Printed.EVENTS: _show_events,
    Printed.ACTIONS: _show_actions,
    Printed.DIALOGUE: _show_dialogue,
    Printed.SPANS: _show_spans,
}


def _differs(difference: Difference) -> NoReturn:
    for line in difference.lines:
        typer.echo(line)
    raise typer.Exit(1)


def _fail(why: str, code: int) -> NoReturn:
    Console(stderr=True, highlight=False).print(f"loom: {why}", markup=False, soft_wrap=True)
    raise typer.Exit(code)
