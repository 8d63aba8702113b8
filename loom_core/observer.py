"""Looking at a response after it was relayed, without ever touching the relay.

Bytes are appended while they go out (`add`) and read later (`fold`, `conclude`); what is kept is
bounded, whatever upstream sends.
"""

from msgspec import Struct, field

from loom_core import sse
from loom_core.encoding import decoded
from loom_core.gathered import Gathered
from loom_core.headers import first, tokens
from loom_core.message import Seen, from_json, told
from loom_core.values import Headers

FOLD_AT = 8_192
"""Bytes of an unencoded stream that may wait before they are read."""
MAX_KEPT = 8 * 1024 * 1024
"""Bytes of a JSON or encoded answer that are kept for reading; a longer one is not observed."""
_PART = 256 * 1024
"""Bytes of a decoded stream read at once, so that its frames never stand in memory all together."""


class Stream(Struct, frozen=True):
    """An unencoded event stream: `pending` bytes have gone out and were not read yet.

    `has_text`: somebody wants to know what it says, and not only its figures.
    """

    pending: bytes = b""
    reader: sse.Reader = field(default_factory=sse.Reader)
    seen: Seen = field(default_factory=Seen)
    has_text: bool = True


class Whole(Struct, frozen=True):
    """An answer that is read at its end: JSON, or anything with a content coding."""

    codings: tuple[str, ...]
    is_stream: bool
    kept: Gathered = field(default_factory=Gathered)
    has_text: bool = True


class Unobserved(Struct, frozen=True):
    """An answer that is not a message, or one too large to keep."""

    too_large: bool = False


Observed = Stream | Whole | Unobserved


def observe(status: int, headers: Headers, *, has_text: bool = True) -> Observed:
    """Choose how to look at an answer by its head, and whether at what it says or at its figures alone."""
    kind = (first(headers, b"content-type") or b"").split(b";")[0].strip().lower()
    codings = tokens(headers, b"content-encoding")
    if kind == b"text/event-stream":
        return Whole(codings, is_stream=True, has_text=has_text) if codings else Stream(has_text=has_text)
    if kind == b"application/json" and status not in (204, 304):
        return Whole(codings, is_stream=False, has_text=has_text)
    return Unobserved()


def add(observed: Observed, data: bytes) -> Observed:
    """Append relayed bytes; cheap, nothing is read here."""
    if isinstance(observed, Stream):
        return Stream(observed.pending + data, observed.reader, observed.seen, observed.has_text)
    if isinstance(observed, Whole):
        if observed.kept.size + len(data) > MAX_KEPT:
            return Unobserved(too_large=True)
        return Whole(observed.codings, observed.is_stream, observed.kept.add(data), observed.has_text)
    return observed


def due(observed: Observed) -> bool:
    """Whether enough bytes wait that they should be read now."""
    return isinstance(observed, Stream) and len(observed.pending) >= FOLD_AT


def fold(observed: Observed) -> Observed:
    """Read what waits."""
    if not isinstance(observed, Stream) or not observed.pending:
        return observed
    return _read(observed, observed.pending)


def conclude(observed: Observed) -> Seen | None:
    """What the whole answer said; None if it was not a message or was not observed."""
    if isinstance(observed, Stream):
        return _read(observed, observed.pending).seen
    if isinstance(observed, Whole):
        if not observed.kept.size:
            # An answer to HEAD has the head of a message and no body (RFC 9110 section 9.3.2).
            return None
        data = decoded(observed.codings, observed.kept.joined())
        if data is None:
            return Seen(odd=1)
        if observed.is_stream:
            stream = Stream(has_text=observed.has_text)
            for at in range(0, len(data), _PART):
                stream = _read(stream, data[at : at + _PART])
            return stream.seen
        return from_json(data, has_text=observed.has_text)
    return Seen(odd=1) if observed.too_large else None


def _read(stream: Stream, data: bytes) -> Stream:
    reader, frames = sse.feed(stream.reader, data)
    skipped = reader.skipped - stream.reader.skipped
    seen = told(stream.seen, frames, skipped, has_text=stream.has_text)
    return Stream(b"", reader, seen, stream.has_text)
