"""What the beginning of a request came to, kept for the next request that begins with the same bytes.

A client resends its whole conversation with every call. Reading it goes on from the longest beginning that
was read before, so that a call costs what is new in it: comparing bytes is the cheapest thing there is.
The memo is bounded, lies in memory only, and changes no result. The same bytes up to the end of a message
are the same fields and messages; of a request that does not go on as those did nothing is taken over.
"""

from typing import Generic, TypeVar

from msgspec import Struct

from loom_core import wire
from loom_core.wire import Range

MOST_BYTES = 32 * 1024 * 1024
"""Bytes of requests that one memo keeps; those that were kept longest ago go."""
MOST_BEGINNINGS = 4
"""Beginnings under one key: a session's main agent's and its subagents'."""
NEWEST, NEAR = 2, 8
"""The last messages differ in the next call, and so does one near the end that bears a marker."""
MOST_STEPS = 16
"""Beginnings that each go on from the one before, so that their bytes need not be copied with every call."""
WORTH, WORTH_BYTES = 4, 8_192
_OPENS = b'{"messages":['
_MARKER = b'"cache_control"'

T = TypeVar("T")


class Beginning(Struct, Generic[T], frozen=True):
    """A request up to the byte `end`, where one of its messages ends, and what it came to.

    `text` is what it has more than the last of those `before` it, each of which goes on from the one before.
    `head` are the fields before `messages`, which begins at byte `start`; `count` messages are in it.
    """

    text: bytes
    end: int
    head: dict[str, Range]
    start: int
    count: int
    value: T
    before: "tuple[Beginning[T], ...]" = ()

    def within(self, body: bytes) -> "Beginning[T] | None":
        """It, or the last one before it, that a request begins with; None if it begins with none."""
        found, at = None, 0
        for one in (*self.before, self):
            if not body.startswith(one.text, at):
                break
            found, at = one, one.end
        return found


class Skimmed(Struct, Generic[T], frozen=True):
    """Where everything lies in a request: its fields, and the messages after those that are `known`.

    `shape` is a `wire.shaped` from the first of these messages on.
    """

    shape: bytes
    top: dict[str, Range]
    ranges: list[Range]
    known: Beginning[T] | None = None


class Memo(Generic[T]):
    """Beginnings by key: of one session, say. Replaced whole, so that threads need no lock."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._size = 0
        self._kept: dict[str, tuple[Beginning[T], ...]] = {}

    def __bool__(self) -> bool:
        """Whether anything is known."""
        return bool(self._kept)

    def skim(self, key: str, body: bytes) -> Skimmed[T] | None:
        """Find what is new in a request; None if it is no object with a list of messages."""
        return self.resume(key, body) or whole(body)

    def resume(self, key: str, body: bytes) -> Skimmed[T] | None:
        """The same, but None of a request that does not go on from anything known."""
        known: Beginning[T] | None = None
        for kept in self._kept.get(key, ()):  # The longest first.
            if known and known.end >= kept.end:
                break
            if (found := kept.within(body)) and (known is None or found.end > known.end):
                known = found
        skimmed = _resumed(known, body) if known else None
        if skimmed and known and known.before and len(skimmed.ranges) < NEWEST:
            # It went back: its newest messages are looked at as those of any other request are.
            return _resumed(known.before[-1], body)
        return skimmed

    def keep(self, key: str, body: bytes, skimmed: Skimmed[T], count: int, value: T) -> None:
        """Keep what the request came to with the first `count` of the new messages."""
        start, known = skimmed.top["messages"].start, skimmed.known
        head = {name: at for name, at in skimmed.top.items() if at.end <= start}
        count, end = count + (known.count if known else 0), skimmed.ranges[count - 1].end
        before = (*known.before, known) if known and len(known.before) < MOST_STEPS else ()
        last = before[-1] if before else None
        new = Beginning(body[last.end if last else 0 : end], end, head, start, count, value, before)
        kept = self._kept.pop(key, ())
        others = [it for it in kept if it is not last and not _is_same(it, new, body)]
        self._kept[key] = tuple(sorted((new, *others[: MOST_BEGINNINGS - 1]), key=_length, reverse=True))
        self._size += end
        if self._size > self._most:
            self._trim()

    def clear(self) -> None:
        self._kept.clear()

    @property
    def beginnings(self) -> tuple[Beginning[T], ...]:
        return tuple(it for kept in list(self._kept.values()) for it in kept)

    def _trim(self) -> None:
        """Count anew, since beginnings were replaced meanwhile, and drop what is too much."""
        size = sum(map(_length, self.beginnings))
        for key in list(self._kept):
            if size <= self._most:
                break
            size -= sum(map(_length, self._kept.pop(key, ())))
        self._size = size


def staying(skimmed: Skimmed[T]) -> int:
    """How many of the new messages are worth keeping: those the next call is likely to send again.

    A few short ones are not: to read them again costs less than to keep all that is before them.
    """
    ranges = skimmed.ranges
    count = max(0, len(ranges) - NEWEST)
    if (
        skimmed.known
        and count < WORTH
        and (not count or ranges[count - 1].end - ranges[0].start < WORTH_BYTES)
    ):
        return 0
    for index in range(max(0, count - NEAR), count):
        if skimmed.shape.find(_MARKER, ranges[index].start, ranges[index].end) >= 0:
            return index
    return count


def whole(body: bytes) -> Skimmed[T] | None:
    """The same without anything known."""
    shape, top = wire.shaped(body)
    ranges = wire.elements(shape, top["messages"]) if top and "messages" in top else None
    return None if top is None or ranges is None else Skimmed(shape, top, ranges)


def _resumed(known: Beginning[T], body: bytes) -> Skimmed[T] | None:
    """The fields and messages after a beginning; None where the request does not go on as others do."""
    comma = wire.COMMA.match(body, known.end)
    begins = comma.end() if comma else known.end
    rest = _OPENS + body[begins:]
    shape, top = wire.shaped(rest)
    ranges = wire.elements(shape, top["messages"]) if top and "messages" in top else None
    # A comma with nothing behind it, or a field that is there twice: as the whole of it reads.
    if top is None or ranges is None or bool(comma) != bool(ranges) or not known.head.keys().isdisjoint(top):
        return None
    shift = begins - len(_OPENS)
    found = {name: Range(at.start + shift, at.end + shift) for name, at in top.items()}
    found["messages"] = Range(known.start, found["messages"].end)
    shape = body if shape is rest else body[:begins] + shape[len(_OPENS) :]
    moved = [Range(at.start + shift, at.end + shift) for at in ranges]
    return Skimmed(shape, {**known.head, **found}, moved, known)


def _is_same(it: Beginning[T], new: Beginning[T], body: bytes) -> bool:
    """Whether both are the same bytes; the new one is this body's."""
    return it.end == new.end and it.within(body) is it


def _length(it: Beginning[T]) -> int:
    return it.end
