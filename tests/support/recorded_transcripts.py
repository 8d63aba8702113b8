"""The recorded stories of transcripts: what the disk and the bus do to a file that is followed."""

import json
from typing import TypeVar

from loom_core.actions import Publish, ReadFile
from loom_core.events import (
    BusFailed,
    Event,
    FileChanged,
    FileMissing,
    FileRead,
    LinesPublished,
    PositionFound,
    PositionLoaded,
    ReadFailed,
    ShutdownRequested,
    TimerFired,
    TranscriptNamed,
)
from loom_core.position import Position
from loom_core.transcript import BUS, IDLE, READ_AGAIN, SILENT
from tests.support.journalled import Live
from tests.support.weaving import MS, SESSION

T = TypeVar("T")
LINES = b"".join(
    json.dumps({"type": "user", "uuid": f"u-{it}", "message": {"role": "user", "content": "Tea?"}}).encode()
    + b"\n"
    for it in range(3)
)
LINE = len(LINES) // 3


class _File:
    """One that is followed: what happens to it, and what it answers to the last order."""

    def __init__(self, live: Live, name: str = "5e551011", data: bytes = LINES) -> None:
        self._live, self._data = live, data
        self._key = live.follows(f"/t/projects/p/{name}.jsonl")
        self.named()

    def happens(self, *events: type[Event] | Event) -> None:
        for event in events:
            self._live.dispatch(self._key, event(self._live.at()) if isinstance(event, type) else event)  # type: ignore[call-arg]

    def named(self) -> None:
        self.happens(TranscriptNamed(self._live.at(), SESSION))

    def loaded(self) -> None:
        self.happens(PositionLoaded(self._live.at(), Position()))

    def fails(self, kind: type[BusFailed | ReadFailed]) -> None:
        self.happens(kind(self._live.at(), "slow"))

    def fires(self, timer: str, milliseconds: int = 1) -> None:
        self.happens(TimerFired(self._live.at(milliseconds), timer))

    def reads(self, size: int = len(LINES), file: str = "1", *, is_current: bool = True) -> None:
        """What was asked for last, of a file that is so long."""
        begin = self._last(ReadFile).offset
        data = self._data[begin:size]
        self.happens(FileRead(self._live.at(), file, begin, data, size, is_current))

    def keeps(self, position: Position | None = None) -> None:
        """The bus has another position than it was told of, or that of the last batch."""
        found = self._last(Publish).position if position is None else position
        self.happens(PositionFound(self._live.at(), found))

    def publishes(self, size: int = len(LINES)) -> None:
        """Followed until a batch is under way."""
        self.loaded()
        self.reads(size)

    def _last(self, kind: type[T]) -> T:
        return next(it for it in reversed(self._live.did[self._key]) if isinstance(it, kind))


def transcript(live: Live) -> None:
    """The transcript of a session: its lines in two reads, the second in the middle of a line."""
    file = _File(live)
    file.loaded()
    for size in (len(LINES) - 20, len(LINES)):
        file.reads(size)
        file.happens(LinesPublished, FileChanged)


def trouble(live: Live) -> None:
    """Neither the bus nor the disk does at once what it is asked for; the session goes on meanwhile."""
    file = _File(live)
    file.fails(BusFailed)
    file.named()
    file.fires(BUS)
    file.fires(IDLE)
    file.loaded()
    file.happens(FileMissing, FileChanged)
    file.fails(ReadFailed)
    file.happens(FileChanged)
    file.fires(READ_AGAIN)
    file.happens(FileChanged)
    file.reads(LINE)
    file.fails(BusFailed)
    file.fires(BUS)
    file.reads(LINE)
    file.happens(LinesPublished)
    file.named()
    file.reads(2 * LINE)
    file.keeps()
    file.fires(READ_AGAIN)
    file.happens(ShutdownRequested)


def rewound(live: Live) -> None:
    """The bus has lost where it was, while nothing and while something is under way; the file is another."""
    file = _File(live)
    file.publishes()
    file.happens(LinesPublished)
    file.keeps()
    file.keeps(Position())
    file.reads()
    file.keeps(Position())
    file.reads()
    file.happens(LinesPublished, FileChanged)
    file.reads(LINE, "2")
    file.reads(LINE, "2", is_current=False)
    file.happens(FileMissing, LinesPublished)


def silent(live: Live) -> None:
    """A file to which nothing happens is left, and its next request wakes it."""
    file = _File(live)
    file.publishes()
    file.fires(IDLE, SILENT // MS)
    file.happens(LinesPublished)
    file.fires(IDLE, 2 * SILENT // MS)
    woken = _File(live)
    woken.happens(ShutdownRequested)


def ends(live: Live) -> None:
    """The process ends while lines are under way: the bus takes them, has another position, or fails."""
    taken, ours, other, failed, waiting = (_File(live, f"5e55101{it}") for it in range(5))
    for file in (taken, ours, other, failed, waiting):
        file.publishes(2 * LINE)
    waiting.fails(BusFailed)
    for file in (taken, ours, other, failed, waiting):
        file.happens(ShutdownRequested)
    taken.named()
    for file in (taken, waiting):
        file.happens(LinesPublished)
    ours.keeps()
    other.keeps(Position())
    failed.fails(BusFailed)


STORIES = {
    "transcript": transcript,
    "transcript-trouble": trouble,
    "transcript-rewound": rewound,
    "transcript-silent": silent,
    "transcript-ends": ends,
}
