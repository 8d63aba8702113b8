"""Values of tracing: span records, W3C trace context, ids. A span's parents are data, not context."""

import re
from hashlib import blake2b
from typing import Literal

from msgspec import Struct

AttributeValue = str | bool | int | float | tuple[str, ...]
Attributes = tuple[tuple[str, AttributeValue], ...]

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
_ID = {8: re.compile(r"[0-9a-f]{16}"), 16: re.compile(r"[0-9a-f]{32}")}


class SpanRecord(Struct, frozen=True):
    """One finished span. Ids are lower-case hex, times nanoseconds since the epoch.

    `attributes` keep their order: kind and session come first, since exporters that limit their
    number drop the oldest. `error` is the status description, "" when all went well. `links` are
    (trace id, span id).
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: Literal["internal", "server", "client"]
    start: int
    end: int
    attributes: Attributes
    error: str = ""
    links: tuple[tuple[str, str], ...] = ()


class Traceparent(Struct, frozen=True):
    """A valid `traceparent`: where a span belongs that somebody else began."""

    trace_id: str
    span_id: str


def is_id(value: str, size: Literal[8, 16]) -> bool:
    """Whether a text is a span id (8 bytes) or trace id (16): lower-case hex, not all zeros."""
    return _ID[size].fullmatch(value) is not None and value.strip("0") != ""


def traceparent(value: str | bytes) -> Traceparent | None:
    """Read a traceparent (W3C Trace Context, section 3.2); None for anything invalid.

    Flags are a bit field, so any two hex digits are valid; later versions may append fields.
    """
    text = value if isinstance(value, str) else value.decode("latin-1")
    match = _TRACEPARENT.fullmatch(text.strip(" \t"))
    if match is None or match[1] == "ff" or (match[1] == "00" and match[4] is not None):
        return None
    if not is_id(match[2], 16) or not is_id(match[3], 8):
        return None
    return Traceparent(match[2], match[3])


def derived_id(seed: int, label: str, size: Literal[8, 16]) -> str:
    """A span id (8 bytes) or trace id (16), the same for the same random seed and label."""
    words = b"%x:" % seed + label.encode("utf-8", "surrogatepass")
    digest = blake2b(words, digest_size=size).hexdigest()
    # Ids of zeros are invalid (section 3.2.2.3).
    return digest if digest.strip("0") else "1" * (size * 2)
