"""One transcript that is followed: what its machine orders is done, and what came of it is told to it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Protocol

import anyio
import anyio.to_thread
from attrs import define, field

from loom_core import position
from loom_core.actions import Action, FollowFile, LeaveFile, LoadPosition, Note, Publish, ReadFile, Retire
from loom_core.events import (
    BusFailed,
    Event,
    FileMissing,
    FileRead,
    LinesPublished,
    PositionFound,
    PositionLoaded,
    ReadFailed,
)
from loom_core.position import Position
from loom_core.values import TranscriptKey
from loom_shell.bus import Bus, BusTroubleError
from loom_shell.driver import Driver
from loom_shell.files import named
from loom_shell.transcript_file import TranscriptFile
from loom_shell.transcript_roots import RefusedPathError, Roots, agent_of

READERS = 4
"""Threads that read. A disk that hangs holds these up, and nobody else."""


class Heed(Protocol):
    def __call__(self, path: Path, *, does: bool) -> None: ...


@define(eq=False)
class Means:
    """What files of one watcher share. `heed` begins or ends telling of changes; `published` counts lines."""

    driver: Driver
    bus: Bus
    roots: Roots
    note: Callable[[str], None]
    heed: Heed
    readers: anyio.CapacityLimiter = field(factory=lambda: anyio.CapacityLimiter(READERS))
    tasks: set[asyncio.Task[None]] = field(factory=set)
    published: int = 0


class Followed:
    """Begins the machine of the file. `ended` is called once that has nothing to do any more."""

    def __init__(self, means: Means, session: str, path: Path, ended: Callable[["Followed"], None]) -> None:
        self.session, self.path, self.is_agent = session, path, bool(agent_of(path))
        self.mark = ""
        """How far it is published, as the bus had it last."""
        self.is_settled = False
        """Whether the bus has answered what it was asked last."""
        self._means, self._ended = means, ended
        self._key = TranscriptKey(str(path))
        self._file = TranscriptFile(means.roots, path)
        self._is_left = False
        self._is_over = False
        self._is_reading = False
        self._offset = 0
        self._size = 0
        means.driver.begin(self._key, self._perform)

    @property
    def behind(self) -> int:
        """Bytes that were there when it was last read, and are not published."""
        return max(0, self._size - self._offset)

    def tell(self, event: Event) -> None:
        # Another machine of the same key may have begun since this one ended.
        if not self._is_over:
            self._means.driver.dispatch(self._key, event)

    def _perform(self, action: Action) -> None:
        match action:
            case LoadPosition():
                self._spawn(self._load())
            case FollowFile():
                self._means.heed(self.path, does=True)
            case ReadFile():
                self._spawn(self._read(action))
            case Publish():
                self._spawn(self._publish(action))
            case LeaveFile():
                self._leave()
            case Retire():
                self._leave()
                self._is_over = True
                self._means.driver.end(self._key)
                self._ended(self)
            case Note(text):
                self._means.note(f"{text} ({named(self.path)})")
            case _:
                self._means.driver.do(self._key, action)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._means.tasks.add(task)
        task.add_done_callback(self._means.tasks.discard)

    async def _load(self) -> None:
        found = await self._stands(self._means.bus.mark(str(self.path)))
        if found is not None:
            self.tell(PositionLoaded(self._now(), found))

    async def _stands(self, asked: Awaitable[str]) -> Position | None:
        """The position that the store says stands; None if it says none, which is told then."""
        self.is_settled = False
        try:
            self.mark = await asked
        except BusTroubleError as trouble:
            self.tell(BusFailed(self._now(), str(trouble)))
            return None
        self.is_settled = True
        found = position.decode(self.mark)
        self._offset = found.offset
        return found

    async def _publish(self, order: Publish) -> None:
        # A mark that is none of ours is expected as it stands.
        is_it = position.decode(self.mark) == order.expected
        expected = self.mark if is_it else position.encode(order.expected)
        mark = position.encode(order.position)
        found = await self._stands(self._means.bus.advance(str(self.path), expected, mark, order.lines))
        if found is None:
            return
        if self.mark == mark:
            self._means.published += len(order.lines)
            self.tell(LinesPublished(self._now()))
        else:
            self.tell(PositionFound(self._now(), found))

    async def _read(self, order: ReadFile) -> None:
        self._is_reading = True
        event = await self._seen(order)
        self._is_reading = False
        if self._is_left:
            self._file.close()
        else:
            self.tell(event)

    async def _seen(self, order: ReadFile) -> Event:
        work = partial(self._file.read, order.offset, order.most, reopens=order.reopens)
        try:
            # Who waits for a disk that hangs cannot be made to end: the process does not wait for it.
            piece = await anyio.to_thread.run_sync(work, limiter=self._means.readers, abandon_on_cancel=True)
        except FileNotFoundError:
            self._size = 0
            return FileMissing(self._now())
        except RefusedPathError as refused:
            return ReadFailed(self._now(), str(refused))
        except OSError as error:
            return ReadFailed(self._now(), (error.strerror or "unknown error").lower())
        self._size = piece.size
        return FileRead(self._now(), piece.file, order.offset, piece.data, piece.size, piece.is_current)

    def _leave(self) -> None:
        self._means.heed(self.path, does=False)
        self._is_left = True
        if not self._is_reading:
            # Otherwise a thread still has the descriptor, whose number could become another file's.
            self._file.close()

    def _now(self) -> int:
        return self._means.driver.now()
