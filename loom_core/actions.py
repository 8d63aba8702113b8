"""What must be done: every order the core gives the shell, in the imperative.

Actions of one step are performed in order. `SendHead` has one cause only, an answer: so no
client can get a status before upstream, or the Loom itself, has one to give.
"""

from msgspec import Struct

from loom_core.events import Event
from loom_core.ledger import Decision
from loom_core.lookup import Entry, Question, Reading
from loom_core.message import Seen
from loom_core.trace import SpanRecord
from loom_core.values import Figure, Headers, Key
from loom_core.wire import Edit
from loom_core.woven import WovenIn


class SendUpstream(Struct, frozen=True):
    """Open an attempt. `body` None: the body follows as `SendUpstreamChunk`.

    `replace_credential`: the shell adds the Loom's own key (the core never sees it).
    """

    attempt: int
    method: str
    target: bytes
    headers: Headers
    body: bytes | None
    replace_credential: bool


class SendUpstreamChunk(Struct, frozen=True):
    data: bytes


class EndUpstreamRequest(Struct, frozen=True):
    """The request body is complete."""


class AbortUpstream(Struct, frozen=True):
    """Close the attempt's connection at once, whatever it was doing."""


class SendHead(Struct, frozen=True):
    status: int
    headers: Headers


class SendChunk(Struct, frozen=True):
    data: bytes


class EndResponse(Struct, frozen=True):
    """End the response cleanly."""


class AbortResponse(Struct, frozen=True):
    """Break the client's connection so that it cannot be taken for a clean end."""


class LookUp(Struct, frozen=True):
    """Read from the store, within its deadline: `LookupsAnswered` comes, whatever becomes of it."""

    reading: Reading


class Recall(Struct, frozen=True):
    """Search the memory, within the question's deadline: `MemoriesRecalled` comes.

    `scope`: that of the conversation's ledger. What is found too late is for its next search.
    """

    question: Question
    scope: str = ""


class Decide(Struct, frozen=True):
    """Write fields of a ledger, each unless another was first: `DecisionsMade` comes."""

    scope: str
    entries: tuple[Entry, ...]


class Remember(Struct, frozen=True):
    """Write fields of a ledger and begin its life again; nobody waits for it."""

    scope: str
    fields: tuple[tuple[str, str], ...]


class Keep(Struct, frozen=True):
    """Keep a request as it goes up, the last of its session, for whoever asks what was woven in.

    `edits` are those that made `body` of the client's; `decisions` are what stands at its anchors, and
    `ephemeral` is the text for this request only.
    """

    session: str
    woven: WovenIn
    body: bytes
    edits: tuple[Edit, ...] = ()
    decisions: tuple[Decision | None, ...] = ()
    ephemeral: str = ""


class SetTimer(Struct, frozen=True):
    """Deliver `TimerFired(timer)` once `at` has come (nanoseconds since the epoch)."""

    timer: str
    at: int


class Tell(Struct, frozen=True):
    """Deliver an event to a machine, after the actions before this one are done."""

    key: Key
    event: Event


class LogExchange(Struct, frozen=True):
    """The one log line of an exchange. Never a header value or a body; the path without query.

    Times are nanoseconds; `to_head` is None when no head went to the client. `cut` counts the metadata
    blocks that were cut out of the request.
    """

    method: str
    path: bytes
    status: int | None
    attempts: int
    received: int
    relayed: int
    to_head: int | None
    total: int
    outcome: str
    detail: str
    seen: Seen | None
    cut: int = 0
    woven: WovenIn | None = None


class Note(Struct, frozen=True):
    """Something worth a line in the log that changed nothing."""

    text: str


class ExportSpan(Struct, frozen=True):
    """Hand a finished span to the exporters; never waited for."""

    span: SpanRecord


class Measure(Struct, frozen=True):
    """Record values of metrics."""

    figures: tuple[Figure, ...]


class Retire(Struct, frozen=True):
    """Forget this machine: it has nothing to remember any more."""


Action = (
    SendChunk
    | SendUpstream
    | SendUpstreamChunk
    | EndUpstreamRequest
    | AbortUpstream
    | SendHead
    | EndResponse
    | AbortResponse
    | LookUp
    | Recall
    | Decide
    | Remember
    | Keep
    | SetTimer
    | Tell
    | LogExchange
    | Note
    | ExportSpan
    | Measure
    | Retire
)
Actions = tuple[Action, ...]
