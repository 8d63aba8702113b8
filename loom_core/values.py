"""What events and actions speak of: header lines, requests, keys, figures, causes."""

from enum import Enum

from msgspec import Struct

Headers = tuple[tuple[bytes, bytes], ...]
"""Header lines in the order they came: (name, value), repeated names kept apart."""


class ExchangeKey(Struct, frozen=True):
    """Names one exchange: one HTTP request and its response."""

    id: str


class TurnKey(Struct, frozen=True):
    """Names the tool loops of one agent of one session; the main agent is ""."""

    session: str
    agent: str


class TranscriptKey(Struct, frozen=True):
    """Names one transcript: the path of its file, absolute and without links."""

    path: str


Key = ExchangeKey | TurnKey | TranscriptKey


class Figure(Struct, frozen=True, gc=False):
    """One value of a metric. `labels` never name a session, prompt or trace."""

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


class Request(Struct, frozen=True):
    """The head of the client's request.

    `target` is path and query exactly as the client sent them, without scheme and authority.
    """

    method: str
    target: bytes
    headers: Headers


class Admission(Enum):
    """What the shell found out about the caller's credential (gateway mode or not)."""

    OWN = "the client's own credential goes upstream unchanged"
    TOKEN = "a client token was accepted: the credential is replaced by the Loom's key"  # noqa: S105
    REFUSED = "gateway mode, and no valid client token"


class Cause(Enum):
    """Why an attempt at upstream failed; the value is the words a person reads."""

    REFUSED = "connection refused"
    UNREACHABLE = "the host cannot be found or reached"
    TLS = "the TLS handshake failed"
    CONNECT_TIMEOUT = "connecting took too long"
    STALE = "a kept-alive connection had gone stale"
    CLOSED = "the connection was closed before an answer"
    RESET = "the connection was reset before an answer"
    PROTOCOL = "the answer was not valid HTTP"
    SILENT = "no byte came within the silence limit"
    BROKEN = "the answer broke off in the middle"
