"""The only caller of `step` and the only clock: events in, actions out, state kept in between."""

import time
from collections.abc import Callable

from attrs import define

from loom_core.actions import Action, LogExchange, Note, Tell
from loom_core.events import Event
from loom_core.loom import State, begin, step
from loom_core.values import Key
from loom_shell.log import Log

Perform = Callable[[Action], None]


@define
class _Machine:
    state: State
    perform: Perform


class Driver:
    """Drives every machine of one process. `dispatch` has no await inside, so steps never mix."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._machines: dict[Key, _Machine] = {}

    @staticmethod
    def now() -> int:
        """Nanoseconds since the epoch."""
        return time.time_ns()

    def begin(self, key: Key, perform: Perform) -> None:
        """Start a machine; `perform` takes each of its actions, in order, and must not block."""
        self._machines[key] = _Machine(begin(key), perform)

    def dispatch(self, key: Key, event: Event) -> None:
        """Hand one event to the machine `key` names; to one that is gone it means nothing."""
        machine = self._machines.get(key)
        if machine is None:
            return
        machine.state, actions = step(key, machine.state, event)
        for action in actions:
            machine.perform(action)

    def do(self, key: Key, action: Tell | LogExchange | Note) -> None:
        """Perform the actions that concern no socket."""
        match action:
            case Tell():
                self.dispatch(action.key, action.event)
            case LogExchange():
                self._log.exchange(key.id, action)
            case Note():
                self._log.note("warning", action.text, id=key.id)

    def end(self, key: Key) -> None:
        self._machines.pop(key, None)

    def states(self) -> dict[Key, State]:
        """A copy of every machine's state, for those who look on."""
        return {key: machine.state for key, machine in self._machines.items()}
