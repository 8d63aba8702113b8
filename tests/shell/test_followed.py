import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from loom_core import position
from loom_core.actions import FollowFile, LeaveFile, LoadPosition, Measure, Note, Publish, ReadFile, Retire
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
from loom_core.publication import PublishedLine
from loom_core.values import Figure, Key, TranscriptKey
from loom_shell.bus import Bus, BusTroubleError
from loom_shell.driver import Driver, Perform
from loom_shell.followed import Followed, Means
from loom_shell.log import Log
from loom_shell.transcript_roots import Roots
from tests.support.writer import holds

pytestmark = pytest.mark.anyio
FILE = Position(offset=7, file="1", witness="w")
LINE = PublishedLine("s", "user", "user", ("text",), b"{}", "/f", 0, "id")


class Told(Driver):
    """A driver without machines: what it is told is kept."""

    def __init__(self) -> None:
        super().__init__(Log(os.open(os.devnull, os.O_WRONLY)))
        self.events: list[Event] = []
        self.performs: list[Perform] = []

    def begin(self, key: Key, perform: Perform) -> None:
        assert isinstance(key, TranscriptKey)
        self.performs.append(perform)

    def dispatch(self, key: Key, event: Event) -> None:
        assert isinstance(key, TranscriptKey)
        self.events.append(event)


class Marks(Bus):
    """A bus of one mark, that may be in trouble."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))
        self.stands, self.trouble = "", ""
        self.taken: list[PublishedLine] = []

    async def marks(self, files: Sequence[str]) -> list[str]:
        assert len(files) == 1
        assert files[0].endswith("s.jsonl")
        if self.trouble:
            raise BusTroubleError(self.trouble)
        return [self.stands]

    async def advance(self, file: str, expected: str, mark: str, batch: object) -> str:
        assert file.endswith("s.jsonl")
        if self.trouble:
            raise BusTroubleError(self.trouble)
        if self.stands == expected:
            self.stands = mark
            self.taken += batch  # type: ignore[operator]
        return self.stands


class Kit:
    def __init__(self, path: Path) -> None:
        self.driver, self.bus = Told(), Marks()
        self.notes: list[str] = []
        self.heeded: list[tuple[Path, bool]] = []
        self.ended: list[Followed] = []
        self.means = Means(self.driver, self.bus, Roots((path.parent,)), self.notes.append, self.heed)
        self.one = Followed(self.means, "s", path, self.ended.append)

    def heed(self, path: Path, *, does: bool) -> None:
        self.heeded.append((path, does))

    async def do(self, *orders: object) -> list[Event]:
        """What came of the orders, without its times."""
        self.driver.events.clear()
        for order in orders:
            self.driver.performs[0](order)  # type: ignore[arg-type]
        await holds(lambda: not self.means.tasks)
        return self.driver.events


@asynccontextmanager
async def kit(path: Path) -> AsyncIterator[Kit]:
    one = Kit(path)
    yield one
    one.one._file.close()
    await asyncio.gather(*one.means.tasks, return_exceptions=True)


@pytest.mark.spec("watcher.restart")
async def test_the_position_is_the_buss(tmp_path: Path) -> None:
    async with kit(tmp_path / "s.jsonl") as it:
        (event,) = await it.do(LoadPosition())
        assert isinstance(event, PositionLoaded)
        assert event.position == Position()
        it.bus.stands = position.encode(FILE)
        (event,) = await it.do(LoadPosition())
        assert isinstance(event, PositionLoaded)
        assert event.position == FILE
        assert it.one.is_settled
        it.bus.trouble = "the store: away"
        (event,) = await it.do(LoadPosition())
        assert isinstance(event, BusFailed)
        assert event.detail == "the store: away"
        assert not it.one.is_settled


@pytest.mark.spec("watcher.restart")
@pytest.mark.parametrize("stood", ["", "no position of ours"])
async def test_lines_are_published_with_the_position_behind_them(tmp_path: Path, stood: str) -> None:
    async with kit(tmp_path / "s.jsonl") as it:
        it.bus.stands = stood
        await it.do(LoadPosition())
        order = Publish((LINE,), Position(), FILE)
        (event,) = await it.do(order)
        assert isinstance(event, LinesPublished)
        assert it.bus.taken == [PublishedLine("s", "user", "user", ("text",), b"{}", "/f", 0, "id")]
        assert it.means.published == 1
        it.bus.stands = ""
        (event,) = await it.do(Publish((LINE,), FILE, Position(offset=9)))
        assert isinstance(event, PositionFound)
        assert event.position == Position()
        it.bus.trouble = "the store: away"
        (event,) = await it.do(order)
        assert isinstance(event, BusFailed)
        assert len(it.bus.taken) == 1


async def test_a_read_is_told_with_what_there_is_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    async with kit(path) as it:
        (event,) = await it.do(ReadFile(0, 9, reopens=True))
        assert isinstance(event, FileMissing)
        path.write_bytes(b"0123456789")
        (event,) = await it.do(ReadFile(2, 5, reopens=True))
        assert isinstance(event, FileRead)
        assert (event.offset, event.data, event.size, event.is_current) == (2, b"23456", 10, True)
        assert it.one.behind == 10
        path.unlink()
        path.symlink_to("/etc/hostname")
        (event,) = await it.do(ReadFile(2, 5, reopens=True))
        assert isinstance(event, ReadFailed)
        assert event.detail == f"the transcript {path} is not followed: it has become a link"


@pytest.mark.spec("watcher.idle")
async def test_a_file_that_is_left_is_closed_and_told_of_no_more(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_bytes(b"x")
    async with kit(path) as it:
        await it.do(FollowFile(), ReadFile(0, 9, reopens=True))
        assert await it.do(ReadFile(0, 9, reopens=False), LeaveFile()) == []
        assert it.heeded == [(path, True), (path, False)]
        assert it.one._file._file == -1
        assert it.ended == []
        await it.do(Note("odd"), Measure((Figure("loom.transitions.invalid", 1),)), Retire())
        assert it.ended == [it.one]
        assert it.notes == [f"odd ({path})"]
        it.one.tell(LinesPublished(1))
        assert it.driver.events == []
