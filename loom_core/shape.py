"""What a request was, without its words, for the next one to be compared with.

A request is a chain of blocks in the order upstream caches them: tools, system, messages (meter.py). Of
each there are a key, made as for the chain of a conversation (link.py), and a byte that says what it is.

A client resends its whole conversation with every call. What a body begins with was read with an earlier
one, if its checksum says so: only what is new is read then. Two beginnings with one checksum (2^-32) could at
most name a wrong cause.
"""

import re
from collections.abc import Sequence
from hashlib import blake2b
from itertools import islice
from zlib import crc32

import msgspec
from msgspec import Struct
from msgspec.structs import replace as evolve

from loom_core import link, wire
from loom_core.link import Link
from loom_core.reading import Json, as_dict, as_text
from loom_core.system import ATTRIBUTION
from loom_core.wire import Range
from loom_core.woven import WovenIn

KEY = 8
"""Bytes of a block's key."""
MOST_BLOCKS = 16_384
"""Of a request with more of them there is no shape."""
MAX_NAME = 64
"""Characters kept of a tool's name, and of the model's."""
TOOL, SYSTEM, USER, ASSISTANT, ASIDE, OTHER = range(6)
"""Kinds of block; `ASIDE` is a message of the role system."""
KIND, FIRST, OURS, MARKED, HOUR = 7, 8, 16, 32, 64
"""Bits of a block's byte: its kind, that it begins a message, that the Loom wove it in, its cache marker."""

_ROLES = {"user": USER, "assistant": ASSISTANT, "system": ASIDE}
_SETTINGS = ("thinking", "tool_choice")
"""Fields that are no blocks, whose change makes cached messages void (documentation, "Prompt caching")."""
_NEAR = 8
"""Messages at the end whose markers move with the next call."""
_TRIES = 16
_ATTRIBUTION = ATTRIBUTION.encode()
_ATTRIBUTED = b'={"text":"' + _ATTRIBUTION
_REMINDER, _REMINDED = b'={"text":"<system-reminder>\\n', b'\\n</system-reminder>","type":"text"}'
_WITHIN = 512
"""Bytes after the messages in which the attribution stands, if `system` follows them."""
_MESSAGES = re.compile(rb'"messages"[ \t\r\n]*:[ \t\r\n]*\[[ \t\r\n]*')
_END = re.compile(rb'\](?=[ \t\r\n]*(?:,[ \t\r\n]*"[a-z_]+"[ \t\r\n]*:|\}[ \t\r\n]*\Z))')
_NULL = b"null"


class Known(Struct, frozen=True, gc=False):
    """The part of a body that the next call is likely to send again, byte for byte.

    `frame`: checksum of all but the messages; `checksum`: that of their first `length` bytes, with which the
    first `blocks` of the request end. `overall`: the marker on the request as a whole.
    """

    frame: int
    length: int
    checksum: int
    blocks: int
    overall: int


class Shape(Struct, frozen=True):
    """A request: of each block `KEY` bytes of `keys` and a byte of `marks`.

    The first `front` blocks are tools, whose names are `tools`, and system.
    Of the answer: `sent_at` and `head_at`, when the request went out and the answer began (nanoseconds),
    and `cached`, upstream's own count of tokens up to the last cache marker.
    """

    model: str
    settings: bytes
    tools: tuple[str, ...]
    front: int
    keys: bytes
    marks: bytes
    known: Known | None
    sent_at: int = 0
    head_at: int = 0
    cached: int = 0

    @property
    def before_messages(self) -> bytes:
        """The keys of tools and system."""
        return self.keys[: self.front * KEY]

    @property
    def last_marker(self) -> int:
        """The number of the last block that bears a cache marker, -1 for none."""
        return next((at for at in reversed(range(len(self.marks))) if self.marks[at] & MARKED), -1)

    def key(self, at: int) -> bytes:
        return self.keys[at * KEY : (at + 1) * KEY]


def read(body: bytes, woven: WovenIn | None = None, before: Sequence[Shape] = ()) -> Shape | None:
    """The shape of a body as it went up; None if it is no Messages-API body. Never raises.

    `before`: shapes of earlier requests, the newest last.
    """
    for shape in reversed(before):
        if (grown := _grown(shape, body, woven)) is not None:
            return grown
    return _whole(body, woven)


def _whole(body: bytes, woven: WovenIn | None) -> Shape | None:
    shape, top = wire.shaped(body)
    messages = top.get("messages") if top else None
    ranges = wire.elements(shape, messages) if messages else None
    if top is None or messages is None or ranges is None:
        return None
    values = {name: at.of(shape) for name, at in top.items() if name != "messages"}
    chain = _Chain(woven)
    front = chain.add_front(values.get("tools", _NULL), values.get("system", _NULL))
    overall = _marker(_decoded(values.get("cache_control", _NULL)))
    chain.add(body, shape, ranges)
    begin = ranges[0].start if ranges else messages.end
    known, opening = None, _MESSAGES.search(body)
    if opening is not None and opening.end() == begin:
        stop, blocks = chain.staying(ranges) or (begin, front)
        checksum = crc32(memoryview(body)[begin:stop])
        known = Known(_frame(body, begin, messages.end), stop - begin, checksum, blocks, overall)
    settings = _key(b"\0".join(values.get(name, b"") for name in _SETTINGS))
    model = as_text(_decoded(values.get("model", _NULL)))[:MAX_NAME]
    found = Shape(model, settings, _names(values.get("tools", _NULL)), front, b"", b"", known)
    return chain.shape(found, overall)


def _grown(shape: Shape, body: bytes, woven: WovenIn | None) -> Shape | None:
    """The shape of a body that goes on from the known part of an earlier one; None if it does not."""
    known, opening = shape.known, _MESSAGES.search(body)
    if known is None or opening is None:
        return None
    begin, view = opening.end(), memoryview(body)
    stop = begin + known.length
    following = wire.COMMA.match(body, stop) if known.length else opening
    if following is None or crc32(view[begin:stop]) != known.checksum:
        return None
    ranges, end = _until_end(body, following.end())
    if not ranges or _frame(body, begin, end) != known.frame:
        return None
    marks = bytearray(shape.marks[: known.blocks])
    if known.overall and known.blocks == len(shape.marks) and marks:
        marks[-1] &= ~known.overall  # It stood for the last block, which this one was.
    chain = _Chain(woven, shape.keys[: known.blocks * KEY], marks)
    chain.add(body, body, ranges)
    until, blocks = chain.staying(ranges) or (stop, known.blocks)
    checksum = crc32(view[stop:until], known.checksum)
    grown = Known(known.frame, until - begin, checksum, blocks, known.overall)
    return chain.shape(evolve(shape, known=grown, sent_at=0, head_at=0, cached=0), known.overall)


def _until_end(body: bytes, start: int) -> tuple[list[Range], int]:
    """The messages from here to the bracket that closes their list, and the byte after it; [] if not found.

    A list that can be read ends at one place only.
    """
    for found in islice(_END.finditer(body, start), _TRIES):
        end = found.end()
        listed = b"[" + body[start:end]
        ranges = wire.elements(listed, Range(0, len(listed)))
        if ranges is not None:
            return [Range(at.start + start - 1, at.end + start - 1) for at in ranges], end
    return [], start


def _frame(body: bytes, begin: int, end: int) -> int:
    """The checksum of what stands around the messages, but for the words of the attribution."""
    view = memoryview(body)
    told = crc32(view[:begin])
    at = body.find(_ATTRIBUTION, end, end + _WITHIN)
    stop = body.find(b'"', at) if at >= 0 else -1
    if stop < 0:
        return crc32(view[end:], told)
    return crc32(view[stop:], crc32(view[end:at], told))


class _Chain:
    """The mutable inside of one `read`: the blocks so far."""

    def __init__(self, woven: WovenIn | None, keys: bytes = b"", marks: bytes | bytearray = b"") -> None:
        self._woven = woven
        self._keys = [keys]
        self._marks = bytearray(marks)
        self._messages: list[tuple[int, bool]] = []
        """Of each message added: the blocks up to its end, and whether it bears a marker."""
        self._asking = -1

    def add_front(self, tools: bytes, system: bytes) -> int:
        """Tools and system, each read as the content of a message; the number of their blocks."""
        for kind, raw in ((TOOL, tools), (SYSTEM, system)):
            said = b'{"role":"","content":%b}' % raw
            if raw != _NULL:
                self._add(kind, said, link.read(said, said, Range(0, len(said))))
        if self._woven and self._woven.identity and self._marks and self._marks[-1] & KIND == SYSTEM:
            self._marks[-1] |= OURS  # After the client's last one (weaving.md, "Classes of woven text").
        return len(self._marks)

    def add(self, body: bytes, shape: bytes, ranges: Sequence[Range]) -> None:
        for index, at in enumerate(ranges):
            said = link.read(body, shape, at)
            self._add(_ROLES.get(said.role, OTHER), at.of(shape), said)
            self._messages.append((len(self._marks), said.marked))
            self._asking = index if said.asks else self._asking

    def staying(self, ranges: Sequence[Range]) -> tuple[int, int] | None:
        """(bytes, blocks) up to the last of the messages added that the next call sends again as they are."""
        passing = self._asking if self._woven and self._woven.ephemeral else -1
        near = max(0, len(ranges) - _NEAR)
        moving = (at for at in range(near, len(ranges)) if self._messages[at][1] or at == passing)
        last = next(moving, len(ranges)) - 1
        return (ranges[last].end, self._messages[last][0]) if last >= 0 else None

    def shape(self, found: Shape, overall: int) -> Shape | None:
        """The request with these blocks; `overall` stands for a marker on the last one."""
        if len(self._marks) > MOST_BLOCKS:
            return None
        if self._marks and not self._marks[-1] & MARKED:
            self._marks[-1] |= overall
        return evolve(found, keys=b"".join(self._keys), marks=bytes(self._marks))

    def _add(self, kind: int, raw: bytes, said: Link) -> None:
        first, role = len(self._marks), said.role.encode("utf-8", "replace")
        for block in said.blocks:
            told = _ATTRIBUTED if block.startswith(_ATTRIBUTED) else block
            self._keys.append(_key(role + b"\0" + told))
            self._marks.append(kind)
        if len(self._marks) > first:
            self._marks[first] |= FIRST
        if said.marked:
            self._mark(first, _content(raw))
        if said.asks and self._woven and (self._woven.sticky or self._woven.ephemeral):
            self._claim(first, said.blocks)

    def _mark(self, first: int, content: Json) -> None:
        blocks = content if isinstance(content, list) else []
        markers = [_marker(as_dict(block).get("cache_control")) for block in blocks]
        if len(markers) != len(self._marks) - first or not any(markers):
            markers = [*[0] * (len(self._marks) - first - 1), MARKED]  # It cannot be read: on the last block.
        for at, marker in enumerate(markers, first):
            self._marks[at] |= marker

    def _claim(self, first: int, blocks: Sequence[bytes]) -> None:
        """The Loom's own blocks stand behind what the client sent: at most a sticky and an ephemeral one."""
        for at in range(len(blocks) - 1, max(0, len(blocks) - 3), -1):
            if not (blocks[at].startswith(_REMINDER) and blocks[at].endswith(_REMINDED)):
                break
            self._marks[first + at] |= OURS


def _key(told: bytes) -> bytes:
    return blake2b(told, digest_size=KEY).digest()


def _marker(told: Json) -> int:
    if told is None:
        return 0
    return MARKED | HOUR if as_dict(told).get("ttl") == "1h" else MARKED


def _names(tools: bytes) -> tuple[str, ...]:
    listed = _decoded(tools)
    names = [as_text(as_dict(tool).get("name")) for tool in listed] if isinstance(listed, list) else []
    return tuple(name[:MAX_NAME] for name in names)


def _content(message: bytes) -> Json:
    return as_dict(_decoded(message)).get("content")


def _decoded(raw: bytes) -> Json:
    try:
        return msgspec.json.decode(raw)
    except link.UNREADABLE:
        return None
