"""Requests as scenarios see them, and responses down to the byte."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec
from attrs import field, frozen

from loom_core.meter import Figures
from loom_shell.simulator.answers import Answer, answer, name
from loom_shell.simulator.frames import LAST_CHUNK, chunk, message_frames, message_json
from loom_shell.simulator.steps import Finish, Send, Step, Wait
from loom_shell.simulator.summary import asks_for_summary

Lines = Iterable[tuple[str, str]]

REASONS: Mapping[int, str] = {
    200: "OK",
    204: "No Content",
    302: "Found",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    413: "Payload Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    529: "Site Overloaded",
}

ERRORS: Mapping[int, tuple[str, str]] = {
    400: ("invalid_request_error", "messages: at least one message is required"),
    401: ("authentication_error", "invalid x-api-key"),
    404: ("not_found_error", "Not found"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed the rate limit of your organization"),
    500: ("api_error", "Internal server error"),
    529: ("overloaded_error", "Overloaded"),
}
"""Status -> type and message, as the API documents them ("Errors")."""

RATE_LIMITS = (("requests", 4000), ("tokens", 500000), ("input-tokens", 400000), ("output-tokens", 80000))
RESET_AT = "2026-01-01T00:01:00Z"
DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
"""Fixed, so that equal requests to two simulators get equal bytes."""

STREAM = "text/event-stream; charset=utf-8"
JSON = "application/json"


@frozen
class Asked:
    """A request as a scenario sees it. `number` counts the simulator's answers, from 1."""

    number: int
    method: str
    path: str
    options: Mapping[str, str]
    http10: bool
    body: bytes = field(repr=False)
    parsed: object = field(repr=False)
    """The body as JSON, or None when it is none."""

    measure: Callable[[object], Figures] = field(repr=False)
    summaries: int = 0
    """How many requests before this one asked for a summary."""

    @property
    def message(self) -> Mapping[str, object]:
        return self.parsed if isinstance(self.parsed, dict) else {}

    @property
    def streams(self) -> bool:
        return self.message.get("stream") is True

    @property
    def asks_for_summary(self) -> bool:
        return self.path == "/v1/messages" and asks_for_summary(self.message)

    def answer(self, *, think: bool = False) -> Answer:
        """The message to send. Each call meters the request anew."""
        return answer(self.message, self.number, self.measure(self.parsed), think=think)

    def option(self, called: str, default: float) -> float:
        """A number from the query, or the default when it is missing, odd or not above zero."""
        try:
            given = float(self.options.get(called, default))
        except ValueError:
            return default
        return given if 0 < given < float("inf") else default


def head(asked: Asked, status: int, lines: Lines, *, version: str = "HTTP/1.1") -> bytes:
    """A response head: the status line, the lines every answer has, then `lines`."""
    reason = REASONS.get(status, "Unknown")
    every = [*usual(asked), *lines]
    text = "".join(f"{called}: {value}\r\n" for called, value in every)
    return f"{version} {status} {reason}\r\n{text}\r\n".encode("latin-1")


def usual(asked: Asked) -> Iterator[tuple[str, str]]:
    yield "date", DATE
    for kind, limit in RATE_LIMITS:
        yield f"anthropic-ratelimit-{kind}-limit", str(limit)
        yield f"anthropic-ratelimit-{kind}-remaining", str(max(0, limit - asked.number))
        yield f"anthropic-ratelimit-{kind}-reset", RESET_AT
    yield "request-id", name("req", asked.number)
    yield "anthropic-organization-id", "5a17ed00-0000-4000-8000-000000000001"
    yield "via", "1.1 google"
    yield "server", "cloudflare"


def plain(
    asked: Asked, payload: bytes, *, status: int = 200, kind: str = JSON, lines: Lines = ()
) -> Iterator[Step]:
    """A response with its length in the head. A HEAD request gets the head alone (RFC 9110, 9.3.2)."""
    sized = [("content-type", kind), ("content-length", str(len(payload))), *lines]
    start = head(asked, status, sized)
    yield Send(start if asked.method == "HEAD" else start + payload)


def json_answer(asked: Asked) -> Iterator[Step]:
    return plain(asked, message_json(asked.answer()))


def error(asked: Asked, status: int, message: str = "", lines: Lines = ()) -> Iterator[Step]:
    return plain(asked, error_body(asked, status, message), status=status, lines=lines)


def error_body(asked: Asked, status: int, message: str = "") -> bytes:
    """Anthropic's error shape ("Errors")."""
    kind, usual_message = ERRORS[status]
    said = {"type": kind, "message": message or usual_message}
    return msgspec.json.encode({"type": "error", "error": said, "request_id": name("req", asked.number)})


def stream(asked: Asked, pieces: Iterable[bytes], *, lines: Lines = ()) -> Iterator[Step]:
    """A whole stream: head, one chunk a piece, the last chunk."""
    yield from opening(asked, pieces, lines=lines)
    yield from closing(asked)


def opening(asked: Asked, pieces: Iterable[bytes], *, lines: Lines = ()) -> Iterator[Step]:
    """A stream without its end. HTTP/1.0 knows no chunks: there the connection's end is the end."""
    yield Send(stream_head(asked, lines=lines))
    if asked.method != "HEAD":
        yield from paced(asked, (piece if asked.http10 else chunk(piece) for piece in pieces))


def closing(asked: Asked, last: bytes = LAST_CHUNK) -> Iterator[Step]:
    """The end of a stream: its last chunk, or the end of an HTTP/1.0 connection."""
    if asked.http10:
        yield Finish()
    elif asked.method != "HEAD":
        yield Send(last)


def stream_head(asked: Asked, *, lines: Lines = (), chunked: bool = True) -> bytes:
    framing = (
        [("transfer-encoding", "chunked")] if chunked and not asked.http10 else [("connection", "close")]
    )
    return head(asked, 200, [("content-type", STREAM), ("cache-control", "no-cache"), *framing, *lines])


def paced(asked: Asked, writes: Iterable[bytes]) -> Iterator[Step]:
    """The writes one by one; with `rate=R` in the query, R a second."""
    rate = asked.option("rate", 0.0)
    for written in writes:
        yield Send(written)
        yield Wait(1.0 / rate if rate else 0.0)


def stream_answer(asked: Asked) -> Iterator[Step]:
    return stream(asked, message_frames(asked.answer()))
