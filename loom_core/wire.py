"""A Messages-API body as it lies on the wire: values by byte range, and edits to them.

JSON is never loaded and dumped again: what changes is a range and its new bytes, all else stays.

msgspec says what the values of an object or array are, as raw bytes in their order, but not where
they begin. So they are walked: opening bracket, then for each value its key, the very bytes msgspec
gave, and a comma, then the closing bracket where the range ends. Where any step does not fit there
is no range at all. Of repeated keys msgspec gives one value, so the walk comes to its last value
before the bracket: such an object reads as None, and nothing is edited in it.
"""

import re
from collections.abc import Sequence
from operator import attrgetter

import msgspec
from msgspec import Struct

_PLACE = attrgetter("start", "end")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_OPENS = {kind: re.compile(rb"[ \t\r\n]*" + re.escape(kind) + rb"[ \t\r\n]*") for kind in (b"{", b"[")}
_CLOSES = {kind: re.compile(rb"[ \t\r\n]*" + re.escape(kind) + rb"[ \t\r\n]*\Z") for kind in (b"}", b"]")}
COMMA = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*")
_KEY = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"[ \t\r\n]*:[ \t\r\n]*')
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_STRING = msgspec.json.Decoder(str)
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not JSON, or are nested too deep."""


class Edit(Struct, frozen=True):
    """Replace the bytes from `start` up to `end` by `new`; `start == end` inserts."""

    start: int
    end: int
    new: bytes = b""


class Range(Struct, frozen=True):
    """A JSON value in a body: its first byte and the byte after its last."""

    start: int
    end: int

    def of(self, body: bytes) -> bytes:
        return body[self.start : self.end]


class Message(Struct, frozen=True):
    """One message of a conversation. Content that is a string counts as one item."""

    role: str
    items: list[Range]
    is_string: bool


class Item(Struct, frozen=True):
    """One block of a message; "" and None for what is absent or odd.

    `marker` is the value of `cache_control`; with `marked` it may be a cache marker, as it also may
    in a block that cannot be read.
    """

    kind: str = ""
    text: Range | None = None
    marker: Range | None = None
    marked: bool = True


def apply(body: bytes, edits: Sequence[Edit]) -> bytes:
    """The body with its edits, which must not overlap; no edits give the very same object."""
    if not edits:
        return body
    parts: list[bytes] = []
    done = 0
    for edit in sorted(edits, key=_PLACE):
        parts += (body[done : edit.start], edit.new)
        done = edit.end
    parts.append(body[done:])
    return b"".join(parts)


def shaped(body: bytes) -> tuple[bytes, dict[str, Range] | None]:
    r"""A body's shape, and its `fields`.

    The shape is bytes with the same ranges, for msgspec to read: it refuses lone surrogates, JSON does
    not. It is the body itself, if it can be read; else every escape of a surrogate becomes `\ufffd`,
    which is as long. A backslash stays a backslash, so no string begins or ends elsewhere.
    """
    top = fields(body)
    if top is not None:
        return body, top
    shape = _SURROGATE.sub(rb"\\ufffd", body)
    return shape, fields(shape)


def fields(body: bytes, at: Range | None = None) -> dict[str, Range] | None:
    """The values of the object at `at` (the whole body by default) by key; None if it is none.

    `body` is a `shape`, so that the ranges hold for what it is the shape of.
    """
    start, end = (at.start, at.end) if at else (0, len(body))
    try:
        values = _FIELDS.decode(memoryview(body)[start:end])
    except UNREADABLE:
        return None
    ranges = _walked(body, start, end, tuple(values.values()), b"{}")
    return None if ranges is None else dict(zip(values, ranges, strict=True))


def elements(body: bytes, at: Range) -> list[Range] | None:
    """The elements of the array at `at`; None if it is none. `body` is a `shape`."""
    try:
        values = _ELEMENTS.decode(memoryview(body)[at.start : at.end])
    except UNREADABLE:
        return None
    return _walked(body, at.start, at.end, values, b"[]")


def string(body: bytes, at: Range) -> str | None:
    """The text of the string at `at`; None if it is none. `body` is a `shape`."""
    try:
        return _STRING.decode(memoryview(body)[at.start : at.end])
    except UNREADABLE:
        return None


def message(body: bytes, at: Range) -> Message | None:
    """The message at `at`; None if it cannot be read. `body` is a `shape`."""
    parts = fields(body, at)
    if parts is None or "content" not in parts or "role" not in parts:
        return None
    role, content = string(body, parts["role"]) or "", parts["content"]
    if body.startswith(b'"', content.start):
        return Message(role, [content], is_string=True)
    items = elements(body, content)
    return None if items is None else Message(role, items, is_string=False)


def item(body: bytes, message: Message, at: Range) -> Item:
    """The item at `at` of a message; a string is a text. `body` is a `shape`."""
    if message.is_string:
        return Item("text", text=at, marked=False)
    parts = fields(body, at)
    if parts is None or "type" not in parts:
        return Item()
    text, marker = parts.get("text"), parts.get("cache_control")
    return Item(
        kind=string(body, parts["type"]) or "",
        text=text if text is not None and body.startswith(b'"', text.start) else None,
        marker=marker,
        marked=marker is not None and marker.of(body) != b"null",
    )


def without(items: Sequence[Range], gone: frozenset[int]) -> list[Edit]:
    """Edits that take the elements with these indexes out of their array, commas included."""
    edits: list[Edit] = []
    kept: int | None = None
    for index in range(len(items)):
        if index in gone:
            continue
        if kept is None and index > 0:
            edits.append(Edit(items[0].start, items[index].start))
        elif kept is not None and index > kept + 1:
            edits.append(Edit(items[kept].end, items[index - 1].end))
        kept = index
    if kept is None and items:
        edits.append(Edit(items[0].start, items[-1].end))
    elif kept is not None and kept < len(items) - 1:
        edits.append(Edit(items[kept].end, items[-1].end))
    return edits


def _walked(
    body: bytes, start: int, end: int, values: Sequence[msgspec.Raw], brackets: bytes
) -> list[Range] | None:
    """Where these values, and no others, stand between their brackets, which fill the range."""
    ranges: list[Range] = []
    keyed = brackets == b"{}"
    before = _OPENS[brackets[:1]]
    position = start
    for value in values:
        follows = ranges and not keyed and body.startswith(b",", position)
        if follows and body.startswith(value, position + 1):
            # A comma and no white space, as nearly all of them are: the same place, the short way.
            begun, position = position + 1, position + 1 + len(memoryview(value))
            ranges.append(Range(begun, position))
            continue
        found = before.match(body, position, end)
        if found is not None and keyed:
            found = _KEY.match(body, found.end(), end)
        if found is None or not body.startswith(value, found.end()):
            return None
        position = found.end() + len(memoryview(value))
        ranges.append(Range(found.end(), position))
        before = COMMA
    if not values:
        opened = before.match(body, position, end)
        position = opened.end() if opened else position
    return ranges if _CLOSES[brackets[1:]].match(body, position, end) else None
