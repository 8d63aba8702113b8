"""A breaker: who fails again and again is left alone for a while, and then asked once.

Closed, everything goes through. After `FAILURES` in a row it opens: nothing goes through until a wait
is over, and then one call (half-open). If that succeeds it closes; if not, the wait doubles.
"""

from collections.abc import Callable
from typing import Literal

Standing = Literal["closed", "open", "half-open"]

FAILURES = 5
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0


class Breaker:
    """`clock` gives seconds that only grow. Ask `allows()` before each call, and say how it ended.

    A trial of which nobody says how it ended (it was cancelled) is lost: the next one is allowed
    after another wait.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._wait = 0.0  # 0 while closed
        self._until = 0.0
        self._is_trying = False

    @property
    def standing(self) -> Standing:
        if not self._wait:
            return "closed"
        return "half-open" if self._is_trying else "open"

    def allows(self) -> bool:
        """Whether a call may be made now; when open and the wait is over, True for one call."""
        if not self._wait:
            return True
        now = self._clock()
        if now < self._until:
            return False
        self._is_trying = True
        self._until = now + self._wait
        return True

    def succeeded(self) -> None:
        """Also of a call that began before it opened: whoever answers is well."""
        self._failures = 0
        self._wait = 0.0
        self._is_trying = False

    def failed(self) -> None:
        if self._is_trying:
            self._open(min(self._wait * 2, LONGEST_WAIT))
        elif not self._wait:
            self._failures += 1
            if self._failures >= FAILURES:
                self._open(FIRST_WAIT)

    def _open(self, wait: float) -> None:
        self._wait = wait
        self._until = self._clock() + wait
        self._is_trying = False
