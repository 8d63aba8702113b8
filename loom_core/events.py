"""What happened: every fact the shell hands to the core, in the past tense.

Every event carries `at`, integer nanoseconds since the epoch: the core has no clock.
Random values arrive in events too (`RequestReceived.seed`).
"""

from msgspec import Struct

from loom_core.rules import Rules
from loom_core.values import Admission, Cause, Headers, Request


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


Event = (
    UpstreamChunkReceived
    | RequestReceived
    | RequestChunkReceived
    | RequestEnded
    | ClientGone
    | UpstreamHeadReceived
    | UpstreamEnded
    | UpstreamFailed
    | TimerFired
    | ObservationDue
    | ShutdownRequested
)
