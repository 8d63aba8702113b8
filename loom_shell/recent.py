"""The last turns, kept in memory for whoever asks at `GET /loom/turns`.

Bounded in number and bytes; of each span only what a tree of turns shows. Each worker keeps its own.
"""

import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from loom_core import attributes as names
from loom_core.errors import Refusal
from loom_core.trace import AttributeValue, SpanRecord
from loom_core.values import Admission
from loom_shell.address import is_loopback
from loom_shell.gateway import Gateway, admit

KEPT = frozenset(
    {
        names.SESSION_ID,
        names.INPUT_VALUE,
        names.OUTPUT_VALUE,
        names.LLM_FINISH_REASON,
        names.REQUEST_MODEL,
        names.RESPONSE_MODEL,
        names.RESPONSE_TIME_TO_FIRST_CHUNK,
        names.USAGE_INPUT_TOKENS,
        names.USAGE_OUTPUT_TOKENS,
        names.USAGE_CACHE_READ,
        names.USAGE_CACHE_CREATION,
        names.HTTP_STATUS,
        names.TOOL_NAME,
        names.AGENT_NAME,
        "loom.cache.miss",
        "loom.cache.miss_tokens",
        "loom.call.kind",
        "loom.compaction.drift",
        "loom.compaction.missing",
        "loom.compaction.reworded",
        "loom.compaction.trigger",
        "loom.counted_tokens",
        "loom.outcome",
        "loom.source",
        "loom.turn.call_index",
        "loom.turn.outcome",
    }
)
"""Attributes that are kept."""
MAX_TEXT = 500
"""Characters of a kept text: a tree shows a line of each."""
PAGE_BYTES = 2_000_000
"""A page stops at about so many bytes of spans: it is encoded between two chunks of somebody's stream."""
MAX_PAGE = 200
SPAN_BYTES = 700
"""What a kept span takes beside its texts."""
PROXIED = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})

NOT_FOR_YOU = Refusal(
    403,
    "permission_error",
    "Recent turns hold what people said: the Loom shows them on its own machine, or for a client token.",
)
WRONG_NUMBER = Refusal(400, "invalid_request_error", "limit and after must be whole numbers from 0.")


class KeptSpan(Struct, frozen=True):
    """What a tree shows of a span. Times are nanoseconds since the epoch, `error` is "" without one."""

    span_id: str
    parent_id: str
    name: str
    kind: str
    start: int
    end: int
    error: str
    attributes: dict[str, AttributeValue]


class Trace(Struct, frozen=True):
    """The spans of one trace in the order they ended; `changed` counts all spans kept until its last."""

    trace_id: str
    sessions: tuple[str, ...]
    changed: int
    spans: tuple[KeptSpan, ...]


class Page(Struct, frozen=True):
    """What `GET /loom/turns` answers. Give `last` as `after` to get only what changed since."""

    last: int
    turns: tuple[Trace, ...]


class _Growing:
    """A trace that may still get spans."""

    def __init__(self) -> None:
        self.spans: list[KeptSpan] = []
        self.sessions: dict[str, None] = {}
        self.changed = 0
        self.size = 0


class RecentTurns:
    """For one event loop. The trace that was quiet for longest makes room, as a whole."""

    def __init__(self, limit_turns: int = 200, limit_bytes: int = 16_000_000) -> None:
        self._limit_turns = limit_turns
        self._limit_bytes = limit_bytes
        self._traces: OrderedDict[str, _Growing] = OrderedDict()
        self._size = 0
        self._kept = 0

    @property
    def size(self) -> int:
        """Bytes, about."""
        return self._size

    def keep(self, span: SpanRecord) -> None:
        """Keep what is shown of it; of requests only calls to a model, and counts of tokens within a turn."""
        attributes = {name: _clipped(value) for name, value in span.attributes if name in KEPT}
        if span.name.startswith("loom: ") and _is_beside(attributes):
            return
        kept = KeptSpan(
            span_id=span.span_id,
            parent_id=span.parent_id,
            name=span.name,
            kind=span.kind,
            start=span.start,
            end=span.end,
            error=span.error,
            attributes=attributes,
        )
        trace = self._traces.setdefault(span.trace_id, _Growing())
        self._traces.move_to_end(span.trace_id)
        self._kept += 1
        size = SPAN_BYTES + sys.getsizeof(span.name) + sys.getsizeof(span.error)
        size += sum(map(sys.getsizeof, attributes.values()))
        trace.spans.append(kept)
        trace.changed = self._kept
        trace.size += size
        self._size += size
        session = attributes.get(names.SESSION_ID)
        if isinstance(session, str):
            trace.sessions[session] = None
        while self._traces and (len(self._traces) > self._limit_turns or self._size > self._limit_bytes):
            _, dropped = self._traces.popitem(last=False)
            self._size -= dropped.size

    def turns(self, session: str = "", limit: int = 20, after: int = 0) -> list[Trace]:
        """At most `limit` traces, those that changed last, the newest last.

        `session` is the beginning of a session's id, "" for all; `after` leaves out what did not change
        since that count. A count this process never reached is another one's: all is new then.
        """
        after = after if after <= self._kept else 0
        found: list[Trace] = []
        size = 0
        for trace_id, trace in reversed(self._traces.items()):
            size += trace.size
            if trace.changed <= after or len(found) >= limit or (found and size > PAGE_BYTES):
                break
            if not session or any(one.startswith(session) for one in trace.sessions):
                found.append(Trace(trace_id, tuple(trace.sessions), trace.changed, tuple(trace.spans)))
            else:
                size -= trace.size
        return found[::-1]

    def page(self, session: str = "", limit: int = 20, after: int = 0) -> Page:
        return Page(self._kept, tuple(self.turns(session, limit, after)))


def _is_beside(attributes: dict[str, AttributeValue]) -> bool:
    is_call = attributes.get("loom.call.kind", "count_tokens") != "count_tokens"
    return not is_call and "loom.turn.call_index" not in attributes


def _clipped(value: AttributeValue) -> AttributeValue:
    if isinstance(value, str) and len(value) > MAX_TEXT:
        return value[:MAX_TEXT] + "…"
    return value


def may_see(scope: Mapping[str, Any], gateway: Gateway) -> bool:
    """Whether a caller may read what people said through this Loom.

    With a client token: yes. Else only from this machine, and only where that is certain. The Host must
    name this machine too, or a web page in somebody's browser could read it under a name of its own that
    it lets point to 127.0.0.1 (DNS rebinding). A request that a proxy passed on comes from this machine
    only as far as its last step.
    """
    headers = tuple(scope["headers"])
    if gateway.tokens and admit(headers, gateway) is Admission.TOKEN:
        return True
    client = scope.get("client")
    hosts = [value for name, value in headers if name.lower() == b"host"]
    if not client or not is_loopback(client[0]) or len(hosts) != 1:
        return False
    return _names_this_machine(hosts[0]) and not any(name.lower() in PROXIED for name, _ in headers)


def _names_this_machine(host: bytes) -> bool:
    text = host.decode("latin-1").strip(" \t").lower()
    if text.startswith("["):
        return is_loopback(text[1:].partition("]")[0])
    return is_loopback(text.partition(":")[0])


def turns_page(recent: RecentTurns, gateway: Gateway) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of `GET /loom/turns?session=…&limit=…&after=…`: a `Page` as JSON, or a refusal."""

    async def page(request: Request) -> Response:
        if not may_see(request.scope, gateway):
            return _refused(NOT_FOR_YOU)
        asked = request.query_params
        limit, after = _number(asked.get("limit", "20")), _number(asked.get("after", "0"))
        if limit is None or after is None:
            return _refused(WRONG_NUMBER)
        told = recent.page(asked.get("session", ""), min(limit, MAX_PAGE), after)
        return Response(
            msgspec.json.encode(told), headers={"cache-control": "no-store"}, media_type="application/json"
        )

    return page


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


def _refused(refusal: Refusal) -> Response:
    return Response(refusal.body, refusal.status, media_type="application/json")
