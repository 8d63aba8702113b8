"""The only clock of events, and who calls `step` as they come: actions out, state kept in between."""

import asyncio
import time
from collections.abc import Callable

from attrs import define, field

from loom_core.actions import (
    Action,
    ExportSpan,
    Keep,
    LogExchange,
    Measure,
    Note,
    Remember,
    Retire,
    SetTimer,
    Tell,
    WatchFile,
)
from loom_core.events import AgentBegan, CallBegan, Event, ShutdownRequested, TimerFired
from loom_core.loom import State, Stepper, begin, stepper
from loom_core.trace import SpanRecord
from loom_core.values import ExchangeKey, Key, TranscriptKey, TurnKey
from loom_shell.log import Log
from loom_shell.replay.happened import What

Perform = Callable[[Action], None]
Labels = tuple[tuple[str, str], ...]

_SECOND = 1e9


@define
class _Timer:
    """It wakes the loop at `wakes`, and is due then or later (nanoseconds since the epoch)."""

    handle: asyncio.TimerHandle
    wakes: int
    due: int


@define
class _Machine:
    state: State
    step: Stepper
    perform: Perform
    timers: dict[str, _Timer] = field(factory=dict)


class Driver:
    """Drives every machine of one process. `dispatch` has no await inside, so steps never mix.

    `export` takes finished spans, `record` values of metrics, `remember` what a ledger is to be told,
    `keep` requests that were woven and `watch` sessions whose transcript was named; none may block or raise.
    `journal` is told of all that comes from outside, before it is looked at; it may not either.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - one for each kind of order
        self,
        log: Log,
        export: Callable[[SpanRecord], None] | None = None,
        record: Callable[[str, float, Labels], None] | None = None,
        remember: Callable[[Remember], None] | None = None,
        keep: Callable[[Keep], None] | None = None,
        watch: Callable[[WatchFile], None] | None = None,
        journal: Callable[[Key, What], None] | None = None,
    ) -> None:
        self._log = log
        self._export = export or (lambda _: None)
        self._record = record or (lambda *_: None)
        self._remember = remember or (lambda _: None)
        self._keep = keep or (lambda _: None)
        self._watch = watch or (lambda _: None)
        self._journal = journal
        self._machines: dict[Key, _Machine] = {}

    @staticmethod
    def now() -> int:
        """Nanoseconds since the epoch."""
        return time.time_ns()

    def begin(self, key: Key, perform: Perform) -> None:
        """Start a machine; `perform` takes each of its actions, in order, and must not block."""
        if self._journal is not None and isinstance(key, TranscriptKey):
            self._journal(key, None)
        self.end(key)
        self._machines[key] = _Machine(begin(key), stepper(key), perform)

    def dispatch(self, key: Key, event: Event, *, is_told: bool = False) -> None:
        """Hand an event to the machine `key` names; to one that is gone it means nothing.

        It comes from outside, or `is_told` by another machine. A turn's begins with the first call, or
        subagent, that it is told of.
        """
        machine = self._machines.get(key)
        if machine is None:
            if not isinstance(key, TurnKey) or not isinstance(event, CallBegan | AgentBegan):
                return
            self.begin(key, lambda action: self.do(key, action))
            machine = self._machines[key]
        if self._journal is not None and not is_told:
            self._journal(key, event)
        machine.state, actions = machine.step(machine.state, event)
        for action in actions:
            machine.perform(action)

    def do(self, key: Key, action: Action) -> None:
        """Perform an action that concerns no socket."""
        match action:
            case Tell():
                if self._journal is not None and isinstance(key, ExchangeKey):
                    # When an exchange tells depends on its client, which takes the bytes before.
                    self._journal(key, action)
                self.dispatch(action.key, action.event, is_told=True)
            case LogExchange() if isinstance(key, ExchangeKey):
                self._log.exchange(key.id, action)
            case ExportSpan(span=span):
                self._export(span)
            case Measure(figures=figures):
                for figure in figures:
                    self._record(figure.name, figure.value, figure.labels)
            case Remember():
                self._remember(action)
            case Keep():
                self._keep(action)
            case WatchFile():
                self._watch(action)
            case Note():
                self._note(key, action)
            case SetTimer():
                self._set(key, action)
            case Retire():
                self.end(key)

    def wake(self, key: Key, timer: SetTimer) -> asyncio.TimerHandle:
        """Bring a timer's event when it is due.

        The loop's clock is coarser than ours: what fires a little early still says the time it was due.
        """
        return self._at(
            timer.at, lambda: self.dispatch(key, TimerFired(max(timer.at, self.now()), timer.timer))
        )

    def _at(self, due: int, call: Callable[[], None]) -> asyncio.TimerHandle:
        delay = max(0.0, (due - self.now()) / _SECOND)
        return asyncio.get_running_loop().call_later(delay, call)

    def _set(self, key: Key, order: SetTimer) -> None:
        """A machine has one timer of a name: set again, it is due when that says.

        Most are put off again and again, so that only what was put off until then is looked at when it wakes.
        """
        if (machine := self._machines.get(key)) is None:
            return
        timer = machine.timers.get(order.timer)
        if timer is not None and timer.wakes <= order.at:
            timer.due = order.at
            return
        if timer is not None:
            timer.handle.cancel()
        handle = self._at(order.at, lambda: self._woken(key, machine, order.timer))
        machine.timers[order.timer] = _Timer(handle, order.at, order.at)

    def _woken(self, key: Key, machine: _Machine, name: str) -> None:
        timer = machine.timers.pop(name)
        if timer.due > timer.wakes:
            self._set(key, SetTimer(name, timer.due))
        else:
            self.dispatch(key, TimerFired(max(timer.due, self.now()), name))

    def _note(self, key: Key, note: Note) -> None:
        match key:
            case ExchangeKey(id=where):
                machine = "exchange"
            case TranscriptKey(path=where):
                machine = "transcript"
            case TurnKey():
                where, machine = f"turn of {key.session or 'no session'}", "turn"
        self._log.note("warning", note.text, id=where)
        kind, _, what = note.text.partition(": ")
        if kind == "invalid transition":
            event, _, state = what.partition(" in ")
            labels = (("machine", machine), ("state", state), ("event", event))
            self._record("loom.transitions.invalid", 1, labels)

    def end(self, key: Key) -> None:
        """The machine is gone, and its timers with it."""
        if (machine := self._machines.pop(key, None)) is not None:
            for timer in machine.timers.values():
                timer.handle.cancel()

    def end_turns(self) -> None:
        """The process ends: every open turn is exported as abandoned."""
        for key in [key for key in self._machines if isinstance(key, TurnKey)]:
            self.dispatch(key, ShutdownRequested(self.now()))

    def states(self) -> dict[Key, State]:
        """A copy of every machine's state, for those who look on."""
        return {key: machine.state for key, machine in self._machines.items()}
