"""One event from outside as a journal has it."""

from attrs import frozen

from loom_core.events import Event
from loom_core.values import ExchangeKey, Key


@frozen
class Recorded:
    """`number` counts a recording's events from 1, `at` is nanoseconds, `session` "" if none is known.

    `run`: the file of one process, whose machines are its own. `begins`: the machine begins anew with it.
    `then`: the exchanges of each of which the first of what it wanted to tell was delivered before the next
    event. `digests` are those of what the core did, for the event and for each of `then`, "" where nobody
    looked. `whole`: as far as is known yet, nothing of its session was lost.
    """

    number: int
    at: int
    key: Key
    event: Event
    session: str = ""
    run: str = ""
    begins: bool = False
    then: tuple[ExchangeKey, ...] = ()
    digests: tuple[str, ...] = ()
    whole: bool = True
