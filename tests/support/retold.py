"""A recorded session told again: each event, and the actions that must follow, by their class."""

from collections import deque
from collections.abc import Iterable

from loom_core.actions import Action
from loom_core.events import Event
from loom_core.values import ExchangeKey, Key
from loom_shell.replay.record import Recorded
from loom_shell.replay.running import Running, Stepped


class Retold:
    """What nobody named fails the next event, or the end."""

    def __init__(self) -> None:
        self._running = Running()
        self._unnamed: deque[Stepped] = deque()
        self._record: Recorded | None = None

    def happens(self, key: Key, event: Event, *, begins: bool = False) -> None:
        self.ends()
        self._record = Recorded(0, event.at, key, event, begins=begins)
        self._waits(self._running.happens(self._record))

    def delivers(self, teller: ExchangeKey) -> None:
        self.ends()
        assert self._record is not None
        self._waits(self._running.delivers(self._record, teller))

    def _waits(self, steps: Iterable[Stepped]) -> None:
        self._unnamed.extend(step for step in steps if step.actions)

    def follows(self, key: Key, *kinds: type[Action]) -> None:
        assert self._unnamed, f"nothing followed, expected {kinds} of {key}"
        step = self._unnamed.popleft()
        assert step.key == key
        assert [type(action) for action in step.actions] == list(kinds)

    def ends(self) -> None:
        assert not self._unnamed, f"not named: {self._unnamed[0].key} ordered {self._unnamed[0].actions}"
