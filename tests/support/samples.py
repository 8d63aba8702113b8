"""One sample of every state and of every event of the exchange machine."""

from msgspec.structs import replace as evolve

from loom_core import observer
from loom_core.events import (
    ClientGone,
    Event,
    ObservationDue,
    RequestChunkReceived,
    RequestEnded,
    RequestReceived,
    ShutdownRequested,
    TimerFired,
    UpstreamChunkReceived,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamHeadReceived,
)
from loom_core.exchange import (
    BACK_OFF,
    Answer,
    AwaitingHead,
    BackingOff,
    Concluding,
    Finished,
    Idle,
    Receiving,
    State,
    Streaming,
)
from loom_core.gathered import Gathered
from loom_core.rules import Rules
from loom_core.values import Admission, Cause, ExchangeKey, Headers, Request

KEY = ExchangeKey("x-sample")
AT = 1_700_000_000_000_000_000
SSE_HEAD: Headers = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"request-id", b"req_1"))


def asked(
    method: str = "POST",
    target: bytes = b"/v1/messages?beta=true",
    headers: Headers = (
        (b"content-type", b"application/json"),
        (b"content-length", b"2"),
        (b"x-api-key", b"k"),
    ),
    rules: Rules | None = None,
    admission: Admission = Admission.OWN,
    seed: int = 7,
) -> RequestReceived:
    return RequestReceived(AT, Request(method, target, headers), rules or Rules(), admission, seed)


def events() -> dict[str, Event]:
    """A sample of every event class, by its name."""
    samples: tuple[Event, ...] = (
        asked(),
        RequestChunkReceived(AT + 1, b"{}"),
        RequestEnded(AT + 2),
        ClientGone(AT + 3),
        UpstreamHeadReceived(AT + 4, 200, SSE_HEAD),
        UpstreamChunkReceived(AT + 5, b"event: ping\ndata: {}\n\n"),
        UpstreamEnded(AT + 6),
        UpstreamFailed(AT + 7, Cause.CLOSED, replayable=True, detail="eof"),
        TimerFired(AT + 8, BACK_OFF),
        ObservationDue(AT + 9),
        ShutdownRequested(AT + 10),
    )
    return {type(event).__name__: event for event in samples}


def states() -> dict[str, State]:
    """A sample of every state class, by its name; variants of a class have a word after it."""
    streaming = Streaming(asked(), Answer(200, AT + 4, 1), 2, 0, observer.observe(200, SSE_HEAD))
    streamed_up = asked("PUT", b"/v1/files", ((b"transfer-encoding", b"chunked"),))
    awaiting = AwaitingHead(asked(), 1, b"{}", 2)
    return {
        "Idle": Idle(),
        "Receiving": Receiving(asked(), Gathered().add(b"{")),
        "AwaitingHead": awaiting,
        "AwaitingHead (body streams up)": AwaitingHead(streamed_up, 1, None, 3),
        "AwaitingHead (last attempt)": evolve(awaiting, attempt=3),
        "BackingOff": BackingOff(asked(), 1, b"{}", 2),
        "Streaming": streaming,
        "Concluding": Concluding(streaming, AT + 6, "complete", ""),
        "Finished": Finished(),
    }
