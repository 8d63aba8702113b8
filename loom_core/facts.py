"""What the machines know of an exchange, a tool call and a turn when its span is due."""

from msgspec import Struct

from loom_core.asked import Behind
from loom_core.attributes import Links
from loom_core.call import Call
from loom_core.events import RequestReceived, TurnJoined
from loom_core.message import Seen
from loom_core.metadata import Metadata
from loom_core.miss import Miss
from loom_core.rules import Content
from loom_core.woven import WovenIn


class CallFacts(Struct, frozen=True):
    """One exchange. Times are nanoseconds, 0 for never; texts "" and None where there is nothing.

    `call` None: no Messages-API call. `joined` None or without a trace: a trace of its own.
    `body` is what went upstream, with messages `behind` that an earlier one had too; `sent_at` is the order
    of the attempt that answered.
    """

    asked: RequestReceived
    ended_at: int
    outcome: str
    call: Call | None = None
    joined: TurnJoined | None = None
    body: bytes = b""
    seen: Seen | None = None
    status: int | None = None
    attempts: int = 0
    received: int = 0
    relayed: int = 0
    sent_at: int = 0
    head_at: int = 0
    first_chunk_at: int = 0
    blocks_cut: int = 0
    woven: WovenIn | None = None
    miss: Miss | None = None
    failure: str = ""
    exchange_id: str = ""
    request_id: str = ""
    behind: Behind | None = None


class ToolFacts(Struct, frozen=True):
    """One tool call: from the end of the response that asked for it to its result."""

    trace_id: str
    parent_id: str
    session: str
    id: str
    name: str
    given: str
    start: int
    end: int
    error: str
    result: str = ""
    content: Content = Content.FULL


class TurnFacts(Struct, frozen=True):
    """One turn of one agent ("" is the main one)."""

    trace_id: str
    span_id: str
    parent_id: str
    session: str
    agent: str
    agent_type: str
    user_id: str
    source: str
    prompt: str
    answer: str
    metadata: Metadata | None
    start: int
    end: int
    calls: int
    input_tokens: int
    output_tokens: int
    cache_read: int
    cache_creation: int
    models: tuple[str, ...]
    outcome: str
    links: Links
    content: Content = Content.FULL
