"""Sample facts for spans: one call of one turn, to be changed by keyword."""

import msgspec

from loom_core import call as calls
from loom_core.events import RequestReceived, TurnJoined
from loom_core.message import Block, Seen
from loom_core.metadata import Metadata
from loom_core.rules import SECOND, Content, Rules, Tracing
from loom_core.spans import CallFacts, ToolFacts, TurnFacts
from loom_core.values import Admission, Headers, Request

AT = 1_700_000_000 * SECOND
TRACE, ROOT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SESSION = "5e551011-0000-4000-8000-000000000001"
HEADERS: Headers = (
    (b"user-agent", b"claude-cli/2.1.328"),
    (b"x-claude-code-session-id", SESSION.encode()),
    (b"x-claude-code-prompt-id", b"prompt-1"),
)
SYSTEM = [{"type": "text", "text": "You are terse."}]
TOOLS = [{"name": "Bash", "description": "Runs a command.", "input_schema": {"type": "object"}}]
JOINED = TurnJoined(AT, TRACE, ROOT, 1, 0, frozenset())
SEEN = Seen(
    message_id="msg_1",
    model="claude-sonnet-5-20260101",
    stop_reason="tool_use",
    input_tokens=10,
    output_tokens=20,
    cache_read=300,
    cache_creation=4_000,
    blocks=(
        Block("thinking", "Let me look.", signature="c2ln"),
        Block("text", "I shall look."),
        Block("tool_use", '{"command":"ls"}', id="toolu_1", name="Bash"),
    ),
    complete=True,
)


def body(*messages: object, **fields: object) -> bytes:
    told = {
        "model": "claude-sonnet-5",
        "messages": list(messages) or [{"role": "user", "content": "What is here?"}],
        "system": SYSTEM,
        "tools": TOOLS,
        "max_tokens": 1_000,
        "temperature": 0.5,
        "stream": True,
    }
    return msgspec.json.encode(told | fields)


def asked(
    content: Content = Content.FULL,
    headers: Headers = HEADERS,
    method: str = "POST",
    target: bytes = b"/v1/messages?beta=true",
    seed: int = 7,
) -> RequestReceived:
    rules = Rules(tracing=Tracing(content))
    return RequestReceived(AT, Request(method, target, headers), rules, Admission.OWN, seed)


def call_facts(
    content: Content = Content.FULL, request: RequestReceived | None = None, **what: object
) -> CallFacts:
    """A call that went well; its `Call` is read from its head and body."""
    received = request or asked(content)
    sent = what.get("body", body())
    path = received.request.target.partition(b"?")[0]
    given = {
        "call": calls.read(path, received.request.headers, sent, None),
        "joined": JOINED,
        "body": sent,
        "seen": SEEN,
        "status": 200,
        "attempts": 1,
        "received": len(sent),
        "relayed": 1_234,
        "sent_at": AT + SECOND // 4,
        "head_at": AT + SECOND,
        "first_chunk_at": AT + SECOND * 5 // 4,
        "exchange_id": "x-1",
        "request_id": "req_1",
    }
    return CallFacts(received, **{"ended_at": AT + 3 * SECOND, "outcome": "complete", **given, **what})


def tool_facts(**what: object) -> ToolFacts:
    given = {
        "trace_id": TRACE,
        "parent_id": ROOT,
        "session": SESSION,
        "id": "toolu_1",
        "name": "Bash",
        "given": '{"command":"ls"}',
        "start": AT + 3 * SECOND,
        "end": AT + 4 * SECOND,
        "error": "",
    }
    return ToolFacts(**{**given, **what})


METADATA = Metadata(
    session_id=SESSION,
    source="laptop",
    cwd="/srv/project",
    prompt_id="prompt-1",
    hook_span_id="b7ad6b7169203331",
    started_at=AT - SECOND,
    hook_started_at=AT - SECOND,
    hook_ended_at=AT - SECOND // 2,
    machine=(("fqdn", "box.example"), ("ram", 16_000_000_000)),
)


def turn_facts(**what: object) -> TurnFacts:
    given = {
        "trace_id": TRACE,
        "span_id": ROOT,
        "parent_id": "",
        "session": SESSION,
        "agent": "",
        "agent_type": "",
        "user_id": "user-1",
        "source": "laptop",
        "prompt": "What is here?",
        "answer": "Two files.",
        "metadata": METADATA,
        "start": AT - SECOND,
        "end": AT + 6 * SECOND,
        "calls": 2,
        "input_tokens": 10,
        "output_tokens": 20,
        "cache_read": 300,
        "cache_creation": 4_000,
        "models": ("claude-sonnet-5",),
        "outcome": "complete",
        "links": (),
    }
    return TurnFacts(**{**given, **what})
