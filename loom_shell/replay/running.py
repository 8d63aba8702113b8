"""The core over a recording, without any I/O: each machine is told what it was told then, in that order.

What the driver does, and no more. What an exchange tells others waits behind the bytes its client has to take
first, so that other events may come in between: the journal says when it was delivered (`Told`). What other
machines tell is delivered at once, where it stands among their actions.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from attrs import frozen

from loom_core.actions import Actions, Retire, Tell
from loom_core.events import AgentBegan, CallBegan, Event
from loom_core.exchange import Finished
from loom_core.loom import State, begin, step
from loom_core.values import ExchangeKey, Key, TurnKey
from loom_shell.replay.record import Recorded


@frozen
class Stepped:
    """One step of one machine. `told_by`: the machine that told it of the event; None: it came from outside.

    `record` is the one that the step follows from.
    """

    record: Recorded
    key: Key
    event: Event
    before: State
    after: State
    actions: Actions
    told_by: Key | None = None


class Running:
    """Every machine of one recording."""

    def __init__(self) -> None:
        self._states: dict[Key, State] = {}
        self._owed: dict[ExchangeKey, deque[Tell]] = {}

    def states(self) -> dict[Key, State]:
        return dict(self._states)

    def has(self, key: Key) -> bool:
        return key in self._states

    def happens(self, record: Recorded) -> Iterator[Stepped]:
        """One event from outside, and all that it leads to before the next."""
        for steps in self.parts(record):
            yield from steps

    def parts(self, record: Recorded) -> Iterator[list[Stepped]]:
        """The same in parts: what the event leads to at once, then each delivery; as `digests` are."""
        yield list(self._comes(record))
        for teller in record.then:
            yield list(self.delivers(record, teller))

    def _comes(self, record: Recorded) -> Iterator[Stepped]:
        key = record.key
        if isinstance(key, TurnKey):
            yield from self._told(record, key, record.event, None)
        else:
            if record.begins or key not in self._states:
                self._states[key] = begin(key)
            yield from self._step(record, key, record.event, None)

    def delivers(self, record: Recorded, teller: ExchangeKey) -> Iterator[Stepped]:
        """What the exchange wanted to tell first, of all that it has not told yet, is told now."""
        owed = self._owed.get(teller)
        if owed:
            tell = owed.popleft()
            yield from self._told(record, tell.key, tell.event, teller)
        self._forget(teller)

    def _told(self, record: Recorded, key: Key, event: Event, by: Key | None) -> Iterator[Stepped]:
        """To a machine that is gone it means nothing; a turn's begins with what it is told of first."""
        if key not in self._states:
            if not isinstance(key, TurnKey) or not isinstance(event, CallBegan | AgentBegan):
                return
            self._states[key] = begin(key)
        yield from self._step(record, key, event, by)

    def _step(self, record: Recorded, key: Key, event: Event, by: Key | None) -> Iterator[Stepped]:
        before = self._states[key]
        after, actions = step(key, before, event)
        self._states[key] = after
        yield Stepped(record, key, event, before, after, actions, by)
        if isinstance(key, ExchangeKey):
            owed = self._owed.setdefault(key, deque())
            owed.extend(action for action in actions if isinstance(action, Tell))
            self._forget(key)
            return
        for action in actions:
            if isinstance(action, Tell):
                yield from self._told(record, action.key, action.event, key)
            elif isinstance(action, Retire):
                self._states.pop(key, None)

    def _forget(self, key: ExchangeKey) -> None:
        """An exchange that is over and has told everything means nothing any more."""
        if not self._owed.get(key) and isinstance(self._states.get(key), Finished):
            self._states.pop(key, None)
            self._owed.pop(key, None)


def stepped(records: Iterable[Recorded]) -> Iterator[Stepped]:
    """Every step that a recording leads to, in order."""
    running, run = Running(), ""
    for record in records:
        if record.run != run:
            running, run = Running(), record.run
        yield from running.happens(record)
