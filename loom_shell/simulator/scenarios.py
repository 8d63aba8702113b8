"""What a scenario is. Each has a name, one sentence, and a script of steps for a request."""

from collections.abc import Callable
from enum import Enum

from attrs import field, frozen

from loom_shell.simulator.replies import Asked
from loom_shell.simulator.steps import Script


class Ending(Enum):
    """How the answer ends for a client that reads it to the end."""

    CLEAN = "complete by its own framing"
    BROKEN = "breaks off after the head"
    NO_HEAD = "no valid head comes; the connection ends"
    STALLS = "nothing more comes until the client leaves or the time is up"


class Upload(Enum):
    """What becomes of the request's body."""

    READ = "read whole before the answer"
    GATED = "read only once the test sets `Simulator.gate`"
    IGNORED = "not read: the answer comes at once, then the connection ends"


@frozen
class Scenario:
    """One way to answer. `script` yields the steps; its docstring is the scenario's sentence."""

    name: str
    script: Callable[[Asked], Script] = field(repr=False)
    ending: Ending = Ending.CLEAN
    upload: Upload = Upload.READ

    @property
    def says(self) -> str:
        return " ".join((self.script.__doc__ or "").split())
