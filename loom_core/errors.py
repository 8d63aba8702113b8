"""Errors of the Loom's own, in the shape Anthropic documents for API errors.

`{"type": "error", "error": {"type": ..., "message": ...}}`, as in the API reference, page Errors.
"""

import msgspec
from msgspec import Struct

from loom_core.events import UpstreamFailed
from loom_core.values import Cause, Headers


class Refusal(Struct, frozen=True):
    """An answer the Loom gives itself: `kind` is the API's error type. `close` ends the connection."""

    status: int
    kind: str
    message: str
    close: bool = False

    @property
    def body(self) -> bytes:
        return msgspec.json.encode({"type": "error", "error": {"type": self.kind, "message": self.message}})

    def headers(self, body: bytes) -> Headers:
        lines = ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)))
        return (*lines, (b"connection", b"close")) if self.close else lines


UNAUTHORISED = Refusal(
    401,
    "authentication_error",
    "The Loom knows no such client token. Send one that was made with `loom token NAME`, "
    "as x-api-key or as a bearer token.",
    close=True,
)
TWO_FRAMINGS = Refusal(
    400,
    "invalid_request_error",
    "The request has both Content-Length and Transfer-Encoding, so its end is ambiguous; send one of them.",
    close=True,
)
NOT_FOR_A_REVERSE_PROXY = Refusal(
    400,
    "invalid_request_error",
    "CONNECT asks for a tunnel; the Loom is a reverse proxy: point the client's base URL at it instead.",
    close=True,
)
SHUTTING_DOWN = Refusal(
    503, "api_error", "The Loom is shutting down; send the request again in a moment.", close=True
)


def too_large(limit: int) -> Refusal:
    return Refusal(
        413,
        "request_too_large",
        f"The request body is larger than the {limit} bytes this Loom allows (setting max_body_bytes).",
        close=True,
    )


_HINTS = {
    Cause.REFUSED: "Is the upstream running, and is the Loom's `upstream` setting right?",
    Cause.UNREACHABLE: "Check the Loom's network and its `upstream` setting.",
    Cause.TLS: "Check the certificate of the upstream and the Loom's `upstream` setting.",
    Cause.CONNECT_TIMEOUT: "Check the Loom's network, or raise `connect_timeout_seconds`.",
    Cause.SILENT: "Raise or unset `silence_timeout_seconds` if upstream may be silent for longer.",
}
_TIMEOUTS = frozenset({Cause.CONNECT_TIMEOUT, Cause.SILENT})


def upstream_failed(cause: Cause, attempts: int) -> Refusal:
    """What a client reads when no attempt got an answer: the cause, no internals."""
    tried = "" if attempts == 1 else f" ({attempts} attempts)"
    hint = _HINTS.get(cause, "Sending the request again may help.")
    message = f"The Loom got no answer from upstream: {cause.value}{tried}. {hint}"
    if cause in _TIMEOUTS:
        return Refusal(504, "timeout_error", message)
    return Refusal(502, "api_error", message)


def reason(failed: UpstreamFailed) -> str:
    """The cause and what else is known of it: for the log, never for the client."""
    return f"{failed.cause.value}: {failed.detail}" if failed.detail else failed.cause.value
