"""The transcript machine: one JSONL file, from its bytes to lines on the bus.

    Idle -> Loading -> Waiting -> Following -> Ended -> Loading ...
                         ^  (no file)  |
                         +-------------+            Draining -> Ended   (at shutdown)

- Only a newline ends a line; what stands behind the last one is kept until the rest of it comes.
- At most one read and one batch are under way. With enough lines unpublished nothing more is read.
- A batch and the position behind it are kept by the bus together, so a restart neither loses nor repeats.
  What the bus did not take is tried again, the same lines in the same order.
- Each read begins with the last bytes read before: a file that does not have them there, or is shorter, was
  written anew, and is read from its beginning. So is another file that takes the path, once the one before is
  read to its end.
- Where the bus keeps another position than expected, reading goes on from that one.
- A file that is silent for an hour, and wholly published, is left. Its next request wakes it.
"""

from enum import Enum

from msgspec import Struct
from msgspec.structs import replace as evolve

from loom_core.actions import (
    Action,
    Actions,
    FollowFile,
    LeaveFile,
    LoadPosition,
    Note,
    ReadFile,
    Retire,
    SetTimer,
)
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
from loom_core.outlet import BackingOff, Free, Outlet, Publishing
from loom_core.position import Position
from loom_core.publication import Source, unpublished
from loom_core.rules import SECOND
from loom_core.tail import READ, Tail, resumed
from loom_core.values import TranscriptKey

SILENT = 60 * 60 * SECOND
"""How long a file may neither grow nor be named."""
FIRST_WAIT, LONGEST_WAIT = SECOND // 2, 30 * SECOND
"""Before something that failed is tried again: twice as long each time."""
IDLE, BUS, READ_AGAIN = "transcript-idle", "transcript-bus", "transcript-read"


class Intake(Enum):
    """What becomes of the file's next bytes."""

    RESTING = "all is read; a change will be told"
    READING = "a read is under way"
    READING_AGAIN = "a read is under way, and will have to be followed by another"
    HELD = "enough is read and not published"
    FAILED = "a read failed; a timer runs"


ANEW = "the transcript is another file than before, or was written anew: read from its beginning"
LOST = "the bus has lost how far the transcript was published: published again from there"
READS = frozenset({Intake.READING, Intake.READING_AGAIN})


class Idle(Struct, frozen=True):
    """Nobody has named the file."""


class Loading(Struct, frozen=True):
    """The bus is asked how far the file was published."""

    session: str
    heard_at: int
    failures: int = 0


class Open(Struct, frozen=True):
    """The path is followed. `failures`: how often in a row it could not be read."""

    session: str
    heard_at: int
    intake: Intake
    outlet: Outlet
    failures: int = 0


class Waiting(Open, frozen=True, kw_only=True):
    """No file is open; one that appears is read from `resume` on, if it is the same as then."""

    resume: Position


class Following(Open, frozen=True, kw_only=True):
    """A file is open."""

    tail: Tail


class Draining(Struct, frozen=True):
    """The process ends: what was read is published, if the bus takes it at once."""

    outlet: Outlet


class Ended(Struct, frozen=True):
    """The file was left."""


State = Idle | Loading | Open | Draining | Ended
Step = tuple[State, Actions]


def step(key: TranscriptKey, state: State, event: Event) -> Step:
    """The next state, and what must be done; never raises."""
    match state, event:
        case Open(), FileRead() if state.intake in READS:
            return _read(key, state, event)
        case Open(outlet=Outlet(phase=Publishing(lines))), LinesPublished():
            return _published(state, lines[-1].position)
        case Open(outlet=Outlet(phase=Publishing(lines))), PositionFound(position=position):
            is_ours = position == lines[-1].position
            return _published(state, position) if is_ours else _rewound(state, position)
        case Open(outlet=Outlet(phase=Free(), kept=kept)), PositionFound(position=position):
            return (state, ()) if position == kept else _rewound(state, position)
        case Open(outlet=Outlet(phase=Publishing(lines, before))), BusFailed(at=at, detail=detail):
            outlet = evolve(state.outlet, phase=BackingOff(lines, before + 1))
            text = f"the transcript is not published: {detail}"
            return evolve(state, outlet=outlet), _again(BUS, at, before + 1, text)
        case Open(outlet=Outlet(phase=BackingOff(lines, before))), TimerFired(timer="transcript-bus"):
            outlet = evolve(state.outlet, phase=Publishing(lines, before))
            return evolve(state, outlet=outlet), (outlet.order,)

        case Open(), TranscriptNamed(at=at):
            return step(key, evolve(state, heard_at=max(at, state.heard_at)), FileChanged(at))
        case Open(), FileChanged() if state.intake in READS:
            return evolve(state, intake=Intake.READING_AGAIN), ()
        case Open(intake=Intake.RESTING), FileChanged():
            return _reading(state)
        case Open(), FileMissing() if state.intake in READS:
            return _missing(state)
        case Open(), ReadFailed(at=at, detail=detail) if state.intake in READS:
            failures, text = state.failures + 1, f"the transcript cannot be read: {detail}"
            failed = evolve(state, intake=Intake.FAILED, failures=failures)
            return failed, _again(READ_AGAIN, at, failures, text)
        case Open(intake=Intake.FAILED), TimerFired(timer="transcript-read"):
            return _reading(state)

        case Idle() | Ended(), TranscriptNamed(at=at, session=session):
            return Loading(session, at), (LoadPosition(), SetTimer(IDLE, at + SILENT))
        case Loading(), TranscriptNamed(at=at):
            return evolve(state, heard_at=max(at, state.heard_at)), ()
        case Loading(session, heard_at), PositionLoaded(position=position):
            waiting = Waiting(session, heard_at, Intake.READING, Outlet(position), resume=position)
            return waiting, (FollowFile(), _asks(waiting))
        case Loading(failures=before), BusFailed(at=at, detail=detail):
            text = f"nobody knows how far the transcript was published: {detail}"
            return evolve(state, failures=before + 1), _again(BUS, at, before + 1, text)
        case Loading(), TimerFired(timer="transcript-bus"):
            return state, (LoadPosition(),)

        case Loading() | Open(), TimerFired(timer="transcript-idle", at=at):
            return _silent(state, at)
        case Open(outlet=Outlet(phase=Publishing())), ShutdownRequested():
            return Draining(state.outlet), (LeaveFile(),)
        case Open(outlet=Outlet(phase=BackingOff())), ShutdownRequested():
            return Draining(state.outlet), (LeaveFile(), state.outlet.order)
        case Open(), ShutdownRequested():
            return Ended(), (LeaveFile(), Retire())
        case Draining(outlet), LinesPublished():
            return _drained(*outlet.published(outlet.order.position))
        case Draining(outlet), PositionFound(position=position):
            is_ours = position == outlet.order.position
            return _drained(*outlet.published(position)) if is_ours else (Ended(), (Retire(),))
        case Draining(outlet), BusFailed(detail=detail):
            count = len(outlet.under_way) + len(outlet.queue)
            return Ended(), (Note(f"{count} lines are left to the next start: {detail}"), Retire())
        case Draining(), ShutdownRequested() | TranscriptNamed():
            return state, ()
        case Idle() | Loading() | Ended(), ShutdownRequested():
            return Ended(), (Retire(),)

        case _, TimerFired() | FileChanged() | FileRead() | FileMissing() | ReadFailed():
            return state, ()
        case _:
            return state, (Note(f"invalid transition: {type(event).__name__} in {type(state).__name__}"),)


# The intake: from the file to lines


def _asks(state: Open, *, reopens: bool = False) -> ReadFile:
    """The next read: what was read last, and what follows."""
    if isinstance(state, Following):
        return ReadFile(state.tail.begins, state.tail.most, reopens)
    resume = state.resume if isinstance(state, Waiting) else Position()
    return ReadFile(resume.offset - resume.witnessed, resume.witnessed + READ, reopens=True)


def _reading(state: Open, *before: Action, reopens: bool = False) -> Step:
    return evolve(state, intake=Intake.READING), (*before, _asks(state, reopens=reopens))


def _read(key: TranscriptKey, state: Open, event: FileRead) -> Step:
    if event.offset != _asks(state).offset:
        # Asked for before reading had to go on elsewhere.
        return _reading(state)
    found = (event.file, event.size, event.data)
    if isinstance(state, Following):
        tail = state.tail if state.tail.goes_on(*found) else None
    else:
        tail = resumed(state.resume, *found) if isinstance(state, Waiting) else None
    if tail is None:
        return _reading(_follows(state, Tail(event.file)), Note(ANEW), *_unfinished(state))
    return _taken(key, state, tail, event)


def _follows(state: Open, tail: Tail, heard_at: int = 0) -> Following:
    return Following(state.session, max(state.heard_at, heard_at), state.intake, state.outlet, tail=tail)


def _taken(key: TranscriptKey, state: Open, before: Tail, event: FileRead) -> Step:
    """Bytes that follow those read before: lines wait, and the next read goes, if one makes sense."""
    tail, lines = before.fed(event.data)
    outlet, orders = state.outlet.joined(unpublished(Source(state.session, key.path, tail.file), lines))
    is_new = tail.reader.position > before.reader.position
    after = evolve(_follows(state, tail, event.at if is_new else 0), outlet=outlet)
    is_end = not is_new or event.offset + len(event.data) >= event.size
    if not outlet.has_room:
        return evolve(after, intake=Intake.HELD), orders
    if is_end and not event.is_current:
        return _reading(after, *orders, reopens=True)
    if is_end and state.intake is Intake.READING:
        return evolve(after, intake=Intake.RESTING), orders
    return _reading(after, *orders)


def _missing(state: Open) -> Step:
    """Nothing is at the path. A file that was open before has been read to its end."""
    resume = state.resume if isinstance(state, Waiting) else Position()
    waiting = Waiting(state.session, state.heard_at, Intake.RESTING, state.outlet, resume=resume)
    is_again = state.intake is Intake.READING_AGAIN
    return _reading(waiting, *_unfinished(state)) if is_again else (waiting, _unfinished(state))


def _unfinished(state: Open) -> Actions:
    """What stood behind the last newline of a file that is left goes with it."""
    if isinstance(state, Following) and state.tail.reader.size:
        return (Note(f"the transcript's last line had no end: {state.tail.reader.size} bytes are lost"),)
    return ()


# The outlet: from lines to the bus


def _published(state: Open, position: Position) -> Step:
    outlet, orders = state.outlet.published(position)
    after = evolve(state, outlet=outlet)
    is_held = state.intake is Intake.HELD and outlet.has_room
    return _reading(after, *orders) if is_held else (after, orders)


def _rewound(state: Open, position: Position) -> Step:
    """What was read is read again from where the bus is, or left to whoever went on from there."""
    again = Intake.READING_AGAIN if state.intake in READS else state.intake
    waiting = Waiting(state.session, state.heard_at, again, Outlet(position), state.failures, resume=position)
    notes = (Note(LOST),) if position.offset < state.outlet.kept.offset else ()
    can_read = again in {Intake.RESTING, Intake.HELD}
    return _reading(waiting, *notes) if can_read else (waiting, notes)


def _drained(outlet: Outlet, orders: Actions) -> Step:
    return (Draining(outlet), orders) if orders else (Ended(), (Retire(),))


def _again(timer: str, at: int, failures: int, text: str) -> Actions:
    """Try again later; the first failure in a row is worth a line."""
    wait = min(FIRST_WAIT << min(failures - 1, 16), LONGEST_WAIT)
    notes = (Note(text),) if failures == 1 else ()
    return (*notes, SetTimer(timer, at + wait))


def _silent(state: Loading | Open, at: int) -> Step:
    due = state.heard_at + SILENT
    if at < due:
        return state, (SetTimer(IDLE, due),)
    if isinstance(state, Open) and (state.intake in READS or not isinstance(state.outlet.phase, Free)):
        return state, (SetTimer(IDLE, at + SILENT),)
    return Ended(), (LeaveFile(), Retire()) if isinstance(state, Open) else (Retire(),)
