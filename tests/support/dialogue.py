"""Stories told to the machine: `>>` what happens, `<<` what must follow.

    story = Dialogue() >> asked() >> RequestEnded(AT) << SendUpstream(...) >> head << SendHead(...)
    story.ends(Streaming)

Each action must follow in this order, and no other: an action nobody named fails the next `>>` and
`ends`. An action can be named by its value, or by its class where its content is told elsewhere.
`Tell` is delivered as the driver does it, after the actions before it, and so needs no line.
"""

from collections import deque
from typing import Self, TypeVar

from loom_core import loom
from loom_core.actions import (
    Action,
    EndResponse,
    LogExchange,
    SendChunk,
    SendHead,
    SendUpstreamChunk,
    SetTimer,
    Tell,
)
from loom_core.errors import Refusal
from loom_core.events import (
    Event,
    RequestChunkReceived,
    RequestEnded,
    RequestReceived,
    TimerFired,
    UpstreamChunkReceived,
    UpstreamFailed,
    UpstreamHeadReceived,
)
from loom_core.exchange import BACK_OFF
from loom_core.outgoing import order
from loom_core.values import Cause, Headers
from tests.support.samples import AT, KEY, SSE_HEAD, asked

A = TypeVar("A", bound=Action)


class Dialogue:
    """One machine from its beginning, and what it ordered that was not named yet."""

    def __init__(self) -> None:
        self.state: loom.State = loom.begin(KEY)
        self.done: list[Action] = []
        self._unnamed: deque[Action] = deque()

    def __rshift__(self, event: Event) -> Self:
        self._all_named(event)
        waiting: deque[Event] = deque([event])
        while waiting:
            self.state, actions = loom.step(KEY, self.state, waiting.popleft())
            for action in actions:
                if isinstance(action, Tell):
                    assert action.key == KEY
                    waiting.append(action.event)
                else:
                    self.done.append(action)
                    self._unnamed.append(action)
        return self

    def __lshift__(self, expected: Action | type[Action]) -> Self:
        assert self._unnamed, f"nothing followed, expected {expected}"
        found = self._unnamed.popleft()
        if isinstance(expected, type):
            assert isinstance(found, expected), f"{found} followed, expected a {expected.__name__}"
        else:
            assert found == expected
        return self

    def ends(self, state: type[loom.State]) -> Self:
        self._all_named("the end")
        assert isinstance(self.state, state), f"ended as {self.state}"
        return self

    def of(self, kind: type[A]) -> list[A]:
        """Everything of one class that was ordered so far."""
        return [action for action in self.done if isinstance(action, kind)]

    @property
    def record(self) -> LogExchange:
        """The one log line of the exchange."""
        (line,) = self.of(LogExchange)
        return line

    def _all_named(self, before: Event | str) -> None:
        assert not self._unnamed, f"not named before {before}: {list(self._unnamed)}"


# ------------------------------------------------------------------ what happens, in few words

MS = 1_000_000
JSON_HEAD: Headers = (
    (b"Content-Type", b"application/json"),
    (b"Request-Id", b"req_2"),
    (b"X-A", b"1"),
    (b"x-a", b"2"),
)
UPLOAD = asked("PUT", b"/v1/files?key=secret", ((b"transfer-encoding", b"chunked"), (b"x-api-key", b"k")))
PROBE = asked("HEAD", b"/api/hello", ())

FRAMES = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","model":"m"}}\n\n',
    b": a comment\n\nevent: ping\ndata: {}\n\nevent: unheard_of\ndata: ...\n\n",
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
)


def chunk(data: bytes, at: int = AT) -> RequestChunkReceived:
    return RequestChunkReceived(at, data)


def head(status: int = 200, headers: Headers = SSE_HEAD, at: int = AT + 200 * MS) -> UpstreamHeadReceived:
    return UpstreamHeadReceived(at, status, headers)


def came(data: bytes, at: int = AT + 300 * MS) -> UpstreamChunkReceived:
    return UpstreamChunkReceived(at, data)


def failed(
    cause: Cause, at: int = AT + MS, *, replayable: bool = True, detail: str = "errno 7"
) -> UpstreamFailed:
    return UpstreamFailed(at, cause, replayable, detail)


def fired(at: int) -> TimerFired:
    return TimerFired(at, BACK_OFF)


def awaiting(request: RequestReceived | None = None, body: bytes = b"{}") -> Dialogue:
    """Up to the first attempt of a request that is read whole."""
    request = request or asked()
    story = Dialogue() >> request >> chunk(body) >> RequestEnded(AT)
    return story << order(request, 1, body)


def streaming(headers: Headers = SSE_HEAD) -> Dialogue:
    """Up to the head of an answer."""
    return awaiting() >> head(200, headers) << SendHead(200, headers)


def uploading() -> Dialogue:
    """Up to the first chunk of a request whose body streams up."""
    return Dialogue() >> UPLOAD << order(UPLOAD, 1, None) >> chunk(b"one") << SendUpstreamChunk(b"one")


def backing_off() -> Dialogue:
    return awaiting() >> failed(Cause.REFUSED) << SetTimer


def answered_here(story: Dialogue, refusal: Refusal) -> Dialogue:
    """The client gets an error of the Loom's own, and a clean end."""
    body = refusal.body
    return story << SendHead(refusal.status, refusal.headers(body)) << SendChunk(body) << EndResponse()
