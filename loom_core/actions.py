"""What must be done: every order the core gives the shell, in the imperative.

Actions of one step are performed in order. `SendHead` has one cause only, an answer: so no
client can get a status before upstream, or the Loom itself, has one to give.
"""

from msgspec import Struct

from loom_core.events import Event
from loom_core.ledger import Decision
from loom_core.lookup import Entry, Question, Reading
from loom_core.message import Seen
from loom_core.position import Position
from loom_core.publication import PublishedLine
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


class WatchFile(Struct, frozen=True):
    """A request named the transcript of its session: untrusted, so the shell finds the file, or refuses it.

    `path` "": where the client keeps the transcript of this session. `TranscriptNamed` comes to the machine
    of the file, and of each subagent's file beside it.
    """

    session: str
    path: str


class LoadPosition(Struct, frozen=True):
    """Ask the bus how far the file was published: `PositionLoaded` comes, or `BusFailed`."""


class FollowFile(Struct, frozen=True):
    """From now on, tell of every change at the file's path by `FileChanged`, also while there is no file."""


class ReadFile(Struct, frozen=True):
    """Read at most so many bytes from `offset` on: one of `FileRead`, `FileMissing`, `ReadFailed` comes.

    The file stays open from one read to the next, wherever it is moved. `reopens`: let go of it first, and
    open the one that the path leads to.
    """

    offset: int
    most: int
    reopens: bool


class Publish(Struct, frozen=True):
    """Publish lines in their order, and keep `position`: `LinesPublished`, `PositionFound`, `BusFailed`.

    Both or neither, and only if the bus keeps `expected`. Where a bus keeps `position` already, a try before
    this one was not in vain: the lines are published.
    """

    lines: tuple[PublishedLine, ...]
    expected: Position
    position: Position


class LeaveFile(Struct, frozen=True):
    """Close the file and tell no more of it, neither of changes nor of a read that is under way."""


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
    | WatchFile
    | LoadPosition
    | FollowFile
    | ReadFile
    | Publish
    | LeaveFile
    | Retire
)
Actions = tuple[Action, ...]
