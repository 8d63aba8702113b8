"""The limits an exchange lives by: configuration, checked by the shell, carried by events."""

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct, field

from loom_core.profile import Profile

SECOND = 1_000_000_000
"""One second in the core's unit of time, nanoseconds."""


class Retry(Struct, frozen=True):
    """Bounded retries of what the client cannot see.

    The wait before attempt n+1 is `base * factor**(n-1)`, at most `cap`, times a jitter in
    0.5..1.5. Waits are nanoseconds. `statuses` are answers retried as well (default: none).
    """

    max_attempts: int = 3
    base: int = SECOND // 2
    factor: float = 2.0
    cap: int = 8 * SECOND
    statuses: frozenset[int] = frozenset()


class Content(Enum):
    """How much of what was said goes into spans."""

    FULL = "full"
    METADATA = "metadata"
    OFF = "off"


class Tracing(Struct, frozen=True):
    """What is told of calls, and what spans may hold.

    `tells` False: nothing but the log line. `project` is the Phoenix project; `off` content still has
    figures and names. `is_recorded`: a journal shows what answers say.
    """

    content: Content = Content.FULL
    project: str = "loom"
    tells: bool = False
    is_recorded: bool = False


class WeaveRules(Struct, frozen=True):
    """What is woven for whom: `profiles` by name; none, and nothing is. `tells`: in response headers too."""

    profiles: Mapping[str, Profile] = field(default_factory=dict)
    tells: bool = True


class Rules(Struct, frozen=True):
    """What one exchange may do. `max_body` is bytes, None for no limit of our own."""

    retry: Retry = field(default_factory=Retry)
    max_body: int | None = None
    tracing: Tracing = field(default_factory=Tracing)
    weaving: WeaveRules = field(default_factory=WeaveRules)
