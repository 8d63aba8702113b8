"""A disk, a bus and processes that keep to their part, for the transcript machine; and stories told to it."""

from collections import deque
from typing import Self

from attrs import define, field

from loom_core import loom
from loom_core.actions import (
    Action,
    FollowFile,
    LeaveFile,
    LoadPosition,
    Note,
    Publish,
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
from loom_core.outlet import Free
from loom_core.position import Position
from loom_core.publication import PublishedLine
from loom_core.transcript import IDLE, Open
from loom_core.values import TranscriptKey

KEY = TranscriptKey("/projects/-tea/5e551011.jsonl")
SESSION = "5e551011"
AT = 1_700_000_000_000_000_000


class Story:
    """One machine from its beginning: `>>` what happens, `<<` what must follow, in this order and no more."""

    def __init__(self) -> None:
        self.state: loom.State = loom.begin(KEY)
        self.notes: list[str] = []
        self._unnamed: deque[Action] = deque()

    def __rshift__(self, event: Event) -> Self:
        assert not self._unnamed, f"nobody named {self._unnamed}"
        self.state, actions = loom.step(KEY, self.state, event)
        self.notes += [action.text for action in actions if isinstance(action, Note)]
        self._unnamed.extend(action for action in actions if not isinstance(action, Note))
        return self

    def __lshift__(self, action: Action | type[Action]) -> Self:
        assert self._unnamed, f"{action} was not ordered"
        given = self._unnamed.popleft()
        assert (type(given) if isinstance(action, type) else given) == action
        return self

    def takes(self) -> Publish:
        """The next order, which must be to publish."""
        given = self._unnamed.popleft()
        assert isinstance(given, Publish)
        return given

    def is_now(self, kind: type) -> Self:
        assert not self._unnamed, f"nobody named {self._unnamed}"
        assert isinstance(self.state, kind), self.state
        return self


@define(eq=False)
class File:
    """A file: who holds it open can read it wherever it is moved."""

    name: str
    data: bytearray = field(factory=bytearray)


@define
class Disk:
    """What the path leads to, and what was written to it: each part is one file between two beginnings."""

    file: File | None = None
    parts: list[bytearray] = field(factory=list)
    files: int = 0
    reuses: bool = False

    def append(self, data: bytes) -> None:
        if self.file is None:
            self.files += 1
            self.file = File("1" if self.reuses else str(self.files))
            self.parts.append(bytearray())
        self.file.data += data
        self.parts[-1] += data

    def truncate(self, size: int) -> None:
        assert self.file is not None
        del self.file.data[size:]
        self.parts.append(bytearray(self.file.data))

    def remove(self) -> None:
        """Rotated away, or deleted: the same to who reads."""
        self.file = None

    def lines(self, parts: int | None = None) -> list[bytes]:
        """Every line that was ended."""
        return [line for part in self.parts[:parts] for line in bytes(part).split(b"\n")[:-1]]


@define
class Bus:
    """Takes lines and keeps the position behind them, both or neither."""

    kept: Position = field(factory=Position)
    taken: list[PublishedLine] = field(factory=list)
    before: list[tuple[Position, int]] = field(factory=list)

    def take(self, order: Publish) -> bool:
        if order.expected != self.kept:
            return False
        self.before.append((self.kept, len(self.taken)))
        self.kept = order.position
        self.taken += order.lines
        return True

    def lose(self) -> None:
        """What was taken last was not yet on its disk."""
        if self.before:
            self.kept, count = self.before.pop()
            del self.taken[count:]

    def once(self) -> list[bytes]:
        """What is left when every line is taken once, by its id."""
        seen: dict[str, bytes] = {}
        for line in self.taken:
            seen.setdefault(line.line_id, line.raw)
        return list(seen.values())


@define
class Process:
    """Performs what its machine orders, no sooner than told to."""

    disk: Disk
    bus: Bus
    now: int = AT
    state: loom.State | None = None
    held: File | None = None
    reads: ReadFile | None = None
    asks: LoadPosition | Publish | None = None
    follows: bool = False
    changed: bool = False
    timers: dict[str, int] = field(factory=dict)
    notes: list[str] = field(factory=list)

    def tell(self, event: Event) -> None:
        if self.state is None:
            if not isinstance(event, TranscriptNamed):
                return
            self.state = loom.begin(KEY)
        self.state, actions = loom.step(KEY, self.state, event)
        for action in actions:
            self._perform(action)

    def _perform(self, action: Action) -> None:
        match action:
            case ReadFile():
                assert self.reads is None, "two reads at once"
                assert self.follows, "a read before changes are told"
                self.reads = action
            case Publish() | LoadPosition():
                assert self.asks is None, "two questions to the bus at once"
                self.asks = action
            case FollowFile():
                self.follows = True
            case LeaveFile():
                self.follows, self.changed, self.held, self.reads = False, False, None, None
            case SetTimer(timer=timer, at=at):
                assert at >= self.now
                assert timer not in self.timers, "a timer beside its like"
                self.timers[timer] = at
            case Note(text=text):
                assert not text.startswith("invalid transition"), text
                self.notes.append(text)
            case Retire():
                assert not isinstance(self.asks, Publish), "its answer would find nobody"
                self.state, self.asks = None, None
            case _:
                raise AssertionError(action)

    def name(self) -> None:
        self.tell(TranscriptNamed(self.now, SESSION))

    def notice(self) -> None:
        """A change is told; several may be told as one."""
        if self.follows and self.changed:
            self.changed = False
            self.tell(FileChanged(self.now))

    def read(self, *, ok: bool = True) -> None:
        order, self.reads = self.reads, None
        if order is None:
            return
        if not ok:
            self.held = None
            self.tell(ReadFailed(self.now, "I/O error"))
            return
        if order.reopens or self.held is None:
            self.held = self.disk.file
        if self.held is None:
            self.tell(FileMissing(self.now))
            return
        data = bytes(self.held.data[order.offset : order.offset + order.most])
        is_current = self.held is self.disk.file
        size = len(self.held.data)
        self.tell(FileRead(self.now, self.held.name, order.offset, data, size, is_current))

    def answer(self, *, fails: bool = False, is_lost: bool = False) -> None:
        """The bus does what it was asked to, or fails; or it does it, and the answer is lost."""
        order, self.asks = self.asks, None
        if order is None:
            return
        took = isinstance(order, Publish) and not fails and self.bus.take(order)
        if fails or is_lost:
            self.tell(BusFailed(self.now, "no connection"))
        elif isinstance(order, LoadPosition):
            self.tell(PositionLoaded(self.now, self.bus.kept))
        elif took:
            self.tell(LinesPublished(self.now))
        else:
            self.tell(PositionFound(self.now, self.bus.kept))

    def fire(self, *, also_idle: bool = False) -> None:
        """The next timer but that of silence."""
        due = min((at, name) for name, at in self.timers.items() if also_idle or name != IDLE)
        del self.timers[due[1]]
        self.now = max(self.now, due[0])
        self.tell(TimerFired(self.now, due[1]))

    def verify(self) -> None:
        """Somebody looks what the bus keeps while nothing is asked of it."""
        if isinstance(self.state, Open) and self.asks is None and isinstance(self.state.outlet.phase, Free):
            self.tell(PositionFound(self.now, self.bus.kept))

    @property
    def waits_for_timer(self) -> bool:
        return any(name != IDLE for name in self.timers)

    def crash(self) -> None:
        """The process dies, and another begins with what is on the disk and in the bus."""
        self.state, self.held, self.reads, self.asks = None, None, None, None
        self.follows, self.changed, self.timers = False, False, {}

    def shut_down(self) -> None:
        """The process ends in order: it still hears what the bus has to say."""
        self.tell(ShutdownRequested(self.now))
        while self.asks is not None:
            self.answer()
        assert self.state is None
        self.crash()

    def settle(self) -> None:
        """Everything works from here on, until nothing is left to do."""
        for _ in range(100_000):
            if self.reads is not None:
                self.read()
            elif self.asks is not None:
                self.answer()
            elif self.follows and self.changed:
                self.notice()
            elif self.waits_for_timer:
                self.fire()
            else:
                return
        raise AssertionError("it never comes to rest")
