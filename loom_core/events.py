"""What happened: every fact the shell hands to the core, in the past tense.

Every event carries `at`, integer nanoseconds since the epoch: the core has no clock.
Random values arrive in events too (`RequestReceived.seed`).
"""

from msgspec import Struct

from loom_core.call import Call
from loom_core.lookup import Answers, Recalled
from loom_core.message import Seen
from loom_core.position import Position
from loom_core.rules import Content, Rules
from loom_core.shape import Shape
from loom_core.values import Admission, Cause, ExchangeKey, Headers, Request, TurnKey


class RequestReceived(Struct, frozen=True):
    """The request's head is here; its body follows as chunks. `seed` feeds the jitter."""

    at: int
    request: Request
    rules: Rules
    admission: Admission
    seed: int


class RequestChunkReceived(Struct, frozen=True):
    at: int
    data: bytes


class RequestEnded(Struct, frozen=True):
    at: int


class ClientGone(Struct, frozen=True):
    """The client closed or reset its connection before the response was complete."""

    at: int


class LookupsAnswered(Struct, frozen=True):
    """The store has answered a `LookUp`, or its deadline has come."""

    at: int
    answers: Answers


class MemoriesRecalled(Struct, frozen=True):
    """The memory has answered a `Recall`, or its deadline has come."""

    at: int
    recalled: Recalled


class DecisionsMade(Struct, frozen=True):
    """What stands in a ledger after a `Decide`: a value for each entry, in order.

    `trouble`: the store did not take part; the values stand for this process.
    """

    at: int
    values: tuple[str, ...]
    trouble: str = ""


class UpstreamHeadReceived(Struct, frozen=True):
    at: int
    status: int
    headers: Headers


class UpstreamChunkReceived(Struct, frozen=True):
    """Body bytes as they came: neither decoded nor decompressed."""

    at: int
    data: bytes


class UpstreamEnded(Struct, frozen=True):
    """The response is complete by its own framing (RFC 9112 section 6.3)."""

    at: int


class UpstreamFailed(Struct, frozen=True):
    """An attempt failed. `replayable`: nothing of a streamed request body was sent yet.

    `detail` is for the log, never for the client.
    """

    at: int
    cause: Cause
    replayable: bool
    detail: str


class TimerFired(Struct, frozen=True):
    at: int
    timer: str


class ObservationDue(Struct, frozen=True):
    """Relayed bytes have gone out and wait to be looked at."""

    at: int


class ShutdownRequested(Struct, frozen=True):
    """The drain time is over: whatever still runs is to be aborted."""

    at: int


class CallBegan(Struct, frozen=True):
    """An exchange turned out to be a call of a turn. `seed` makes the turn's ids, if it is new."""

    at: int
    exchange: ExchangeKey
    call: Call
    seed: int
    content: Content = Content.FULL


class CallEnded(Struct, frozen=True):
    """The call is over. `ok`: an answer came whole; `failure` says what went wrong otherwise.

    `shape`: what the request was, for the next one to be compared with.
    """

    at: int
    exchange: ExchangeKey
    seen: Seen | None
    ok: bool
    failure: str
    shape: Shape | None = None


class TurnJoined(Struct, frozen=True):
    """A turn has taken the call in: where its spans belong, and what earlier spans have shown.

    `trace_id` "": the call belongs to no turn. `index` counts the turn's calls from 1.
    `shown` messages of the conversation, and the system prompts `systems`, are in earlier spans.
    `before`: the shapes of earlier requests.
    """

    at: int
    trace_id: str
    parent_id: str
    index: int
    shown: int
    systems: frozenset[str]
    before: tuple[Shape, ...] = ()


class AgentBegan(Struct, frozen=True):
    """A subagent's call began: its turn asks the turn above where it belongs, and keeps that one awake."""

    at: int
    agent: TurnKey


class TurnAbove(Struct, frozen=True):
    """The turn of which a subagent's is a part; `trace_id` "" if there is none."""

    at: int
    trace_id: str
    span_id: str


class HookReported(Struct, frozen=True):
    """The client's hook told of something. Texts are "" where absent."""

    at: int
    hook: str
    prompt_id: str
    tool_use_id: str


class TranscriptNamed(Struct, frozen=True):
    """A request named this file as where its session is written down. It may not be there yet."""

    at: int
    session: str


class PositionLoaded(Struct, frozen=True):
    """The bus has answered a `LoadPosition`; `Position()` if it knows of none."""

    at: int
    position: Position


class FileChanged(Struct, frozen=True):
    """The file appeared, grew, shrank, went or became another: it may be worth a look."""

    at: int


class FileRead(Struct, frozen=True):
    """What a `ReadFile` found: `data` from `offset` on, all that was asked for or up to the end.

    `file` names the file that was open, whatever its path leads to now, and `size` is its size. `is_current`:
    the path led to it just before it was read.
    """

    at: int
    file: str
    offset: int
    data: bytes
    size: int
    is_current: bool


class FileMissing(Struct, frozen=True):
    """A `ReadFile` was to open the file, and there is none."""

    at: int


class ReadFailed(Struct, frozen=True):
    """A `ReadFile` failed, though there is a file. `detail` is for the log."""

    at: int
    detail: str


class LinesPublished(Struct, frozen=True):
    """The bus has taken the lines of a `Publish`, and keeps its position."""

    at: int


class PositionFound(Struct, frozen=True):
    """The bus keeps another position than a `Publish` expected, and took nothing.

    Another process went on with this file, or the bus has lost what it took last. It may also be told while
    nothing is asked of the bus, by whoever looked.
    """

    at: int
    position: Position


class BusFailed(Struct, frozen=True):
    """The bus did not do a `LoadPosition` or `Publish`, or nobody knows. `detail` is for the log."""

    at: int
    detail: str


Event = (
    UpstreamChunkReceived
    | RequestReceived
    | RequestChunkReceived
    | RequestEnded
    | ClientGone
    | LookupsAnswered
    | MemoriesRecalled
    | DecisionsMade
    | UpstreamHeadReceived
    | UpstreamEnded
    | UpstreamFailed
    | TimerFired
    | ObservationDue
    | ShutdownRequested
    | CallBegan
    | CallEnded
    | TurnJoined
    | AgentBegan
    | TurnAbove
    | HookReported
    | TranscriptNamed
    | PositionLoaded
    | FileChanged
    | FileRead
    | FileMissing
    | ReadFailed
    | LinesPublished
    | PositionFound
    | BusFailed
)
