"""Journals written by the real thing, and read back."""

import resource
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from loom_core.actions import Action, Tell
from loom_core.values import ExchangeKey, Key
from loom_shell.replay.blobs import Contents
from loom_shell.replay.handing import Batch
from loom_shell.replay.happened import What
from loom_shell.replay.journal import Journal
from loom_shell.replay.process import WriterProcess
from loom_shell.replay.running import Stepped
from loom_shell.replay.writer import Writer
from loom_shell.replay.writing import Bounds
from tests.support.child import children

MEASURED = "COVERAGE_PROCESS_CONFIG"
"""Who finds no room on the disk must have no figures of coverage to write there either."""


@contextmanager
def journal(folder: Path, bounds: Bounds | None = None) -> Iterator[Journal]:
    """Open, and written to its end with the block; it had nothing to note."""
    notes: list[str] = []
    opened = Journal(folder, notes.append, bounds)
    try:
        yield opened
    finally:
        opened.close(30)
    assert notes == []


@contextmanager
def writing(folder: Path, bounds: Bounds | None = None) -> Iterator[Callable[[Key, What], None]]:
    """As `journal`, but by the writer alone and in this process: for whoever needs very many of them."""
    writer = Writer(folder, bounds or Bounds())
    try:
        yield lambda key, what: writer.take(Batch(((key, what),)), 0.0)
    finally:
        writer.close()


def handed(writer: WriterProcess, *events: tuple[Key, What]) -> None:
    """Hand events to a writer, as the thread of a journal does."""
    queue = deque(events)
    while queue:
        writer.sender.take(queue)
        writer.sender.send()


def fills_the_disk(writer: WriterProcess) -> None:
    """From now on it can write next to nothing."""
    resource.prlimit(writer.pid, resource.RLIMIT_FSIZE, (100, 100))


def writers(pid: int) -> list[int]:
    """The pids of the writers of a process's journals."""
    commands = {it: Path(f"/proc/{it}/cmdline").read_bytes() for it in children(pid)}
    return [it for it, command in commands.items() if b"loom_shell.replay.writer" in command]


def ordered(steps: Iterable[Stepped]) -> dict[Key, list[Action]]:
    """What each machine ordered, in the order in which it was performed: what is told first comes first."""
    found: dict[Key, list[Action]] = {}
    rest = deque(steps)

    def perform(step: Stepped) -> None:
        for action in step.actions:
            found.setdefault(step.key, []).append(action)
            is_told = isinstance(action, Tell) and not isinstance(step.key, ExchangeKey)
            if is_told and rest and rest[0].event is getattr(action, "event", None):
                perform(rest.popleft())

    while rest:
        perform(rest.popleft())
    return found


def written(folder: Path) -> bytes:
    """All that lies in a folder, blobs unpacked."""
    parts = [path.read_bytes() for path in sorted(folder.iterdir())]
    for path in sorted(folder.glob("*.blobs")):
        contents = Contents(path)
        parts += [contents.get(name.hex()) for name in contents._places]
    return b"\n".join(parts)
