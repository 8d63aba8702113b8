"""One sample of every state and of every event of the transcript machine, as a story reaches them."""

from loom_core import loom, transcript
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
from loom_core.position import Position, digest
from loom_core.transcript import BUS, IDLE, READ_AGAIN, SILENT
from tests.support.transcripts import AT, KEY, SESSION

LINE = b'{"type":"mode","mode":"plan"}\n'
BEHIND = Position(len(LINE), "1", digest(LINE), len(LINE))
MANY = b"{}\n" * 2_000


def _after(*events: Event) -> transcript.State:
    state = loom.begin(KEY)
    for event in events:
        state, _ = loom.step(KEY, state, event)
    assert isinstance(state, transcript.State)
    return state


def _read(data: bytes) -> FileRead:
    return FileRead(AT + 2, "1", 0, data, len(data), is_current=True)


def states() -> dict[str, transcript.State]:
    """A sample of every state class, by its name; variants of a class have a word after it."""
    named, changed = TranscriptNamed(AT, SESSION), FileChanged(AT + 3)
    loading = (named,)
    waiting = (*loading, PositionLoaded(AT + 1, Position()))
    publishing = (*waiting, _read(LINE))
    return {
        "Idle": _after(),
        "Loading": _after(*loading),
        "Waiting (reading)": _after(*waiting),
        "Waiting (resting)": _after(*waiting, FileMissing(AT + 2)),
        "Following (publishing)": _after(*publishing),
        "Following (publishing and reading)": _after(*publishing, changed),
        "Following (resting)": _after(*publishing, LinesPublished(AT + 3)),
        "Following (reading)": _after(*publishing, LinesPublished(AT + 3), changed),
        "Following (reading again)": _after(*publishing, LinesPublished(AT + 3), changed, changed),
        "Following (backing off)": _after(*publishing, BusFailed(AT + 3, "no connection")),
        "Following (held)": _after(*waiting, _read(MANY)),
        "Following (unreadable)": _after(
            *publishing, LinesPublished(AT + 3), changed, ReadFailed(AT + 4, "I/O error")
        ),
        "Draining": _after(*publishing, ShutdownRequested(AT + 3)),
        "Ended": _after(ShutdownRequested(AT)),
    }


def events() -> dict[str, Event]:
    """The events a transcript's machine may meet; variants of a class have a word after it."""
    more = LINE + b"{}\n"
    late = AT + 2 * SILENT
    return {
        "TranscriptNamed": TranscriptNamed(AT + 5, SESSION),
        "PositionLoaded": PositionLoaded(AT + 5, Position()),
        "FileChanged": FileChanged(AT + 5),
        "FileRead (nothing new)": FileRead(AT + 5, "1", 0, LINE, len(LINE), is_current=True),
        "FileRead (a line more)": FileRead(AT + 5, "1", 0, more, len(more), is_current=True),
        "FileRead (cut)": FileRead(AT + 5, "1", 0, b"", 0, is_current=True),
        "FileRead (moved away)": FileRead(AT + 5, "1", 0, LINE, len(LINE), is_current=False),
        "FileRead (another file)": FileRead(AT + 5, "2", 0, LINE, len(LINE), is_current=True),
        "FileMissing": FileMissing(AT + 5),
        "ReadFailed": ReadFailed(AT + 5, "I/O error"),
        "LinesPublished": LinesPublished(AT + 5),
        "PositionFound (ours)": PositionFound(AT + 5, BEHIND),
        "PositionFound (another)": PositionFound(AT + 5, Position(3, "1", digest(b"{}\n"), 3)),
        "BusFailed": BusFailed(AT + 5, "no connection"),
        "TimerFired (transcript-bus)": TimerFired(AT + 5, BUS),
        "TimerFired (transcript-read)": TimerFired(AT + 5, READ_AGAIN),
        "TimerFired (transcript-idle)": TimerFired(late, IDLE),
        "ShutdownRequested": ShutdownRequested(AT + 5),
    }
