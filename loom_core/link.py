"""One message as the chain takes it in: its role, and each block without its cache marker.

A string is one text block. A block is encoded from its parsed value, keys in order; one that msgspec
refuses (a lone surrogate, a number out of range) by the very bytes of its fields, so that two of them that
differ do not come to the same. What is no message at all is taken in by its bytes.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from loom_core import wire
from loom_core.reading import Json
from loom_core.wire import Range

UNREADABLE = (*wire.UNREADABLE, ValueError, TypeError, OverflowError)
"""What decoding and encoding raise for JSON that is none, too deep, or has numbers out of range."""
_MARKER = "cache_control"


class Link(Struct, frozen=True):
    """A message. `asks`: a real user prompt, so that it has an anchor (weaving.md, "The ledger").

    `pauses`: the blocks before its last with which it was a prompt already, before more was typed.
    `marked`: one of its blocks bears a cache marker. Of what is no message `role` is "".
    """

    role: str
    blocks: list[bytes]
    asks: bool = False
    marked: bool = False
    pauses: tuple[int, ...] = ()


class _Said(Struct):
    role: str
    content: Json


_SAID = msgspec.json.Decoder(_Said)


def read(body: bytes, shape: bytes, at: Range) -> Link:
    """The message at `at`, a range of a body and of its `wire.shaped`. Never raises."""
    raw = memoryview(body)[at.start : at.end]
    try:
        said = _SAID.decode(raw)
        content = said.content
        if isinstance(content, str):
            return Link(said.role, [_encoded({"type": "text", "text": content})], said.role == "user")
        if isinstance(content, list):
            return _listed(said.role, content)
    except UNREADABLE:
        return _by_bytes(body, shape, at)
    return Link("", [_whole(raw)])


def _listed(role: str, content: list[Json]) -> Link:
    blocks: list[bytes] = []
    kinds: list[Json] = []
    marked = False
    for block in content:
        kind, plain = None, block
        if isinstance(block, dict):
            kind = block.get("type")
            if _MARKER in block:
                marked = marked or block[_MARKER] is not None
                plain = {name: value for name, value in block.items() if name != _MARKER}
        blocks.append(_encoded(plain))
        kinds.append(kind)
    return Link(role, blocks, *_prompts(role, kinds, marked=marked))


def _prompts(role: str, kinds: Sequence[Json], *, marked: bool) -> tuple[bool, bool, tuple[int, ...]]:
    """Whether a message with blocks of these kinds asks; `marked`; and with which of them it did before."""
    if role != "user" or not kinds or "tool_result" in kinds:
        return False, marked, ()
    ends = [number for number, kind in enumerate(kinds) if isinstance(kind, str) and kind]
    last = len(kinds) - 1
    return last in ends[-1:], marked, tuple(number for number in ends if number < last)


def _encoded(block: Json) -> bytes:
    return b"=" + msgspec.json.encode(block, order="deterministic")


def _whole(raw: bytes | memoryview) -> bytes:
    return b"?" + bytes(raw)


def _by_bytes(body: bytes, shape: bytes, at: Range) -> Link:
    """The same of a message in which msgspec cannot read everything."""
    message = wire.message(shape, at)
    if message is None or not message.role:
        return Link("", [_whole(at.of(body))])
    items = [wire.item(shape, message, place) for place in message.items]
    if message.is_string:
        blocks = [_string(message.items[0].of(body))]
    else:
        blocks = [_block(body, shape, place) for place in message.items]
    kinds = [item.kind for item in items]
    marked = any(item.marker is not None and item.marked for item in items)
    return Link(message.role, blocks, *_prompts(message.role, kinds, marked=marked))


def _string(raw: bytes) -> bytes:
    try:
        return _encoded({"type": "text", "text": msgspec.json.decode(raw)})
    except UNREADABLE:
        return _fields([("text", raw), ("type", b'"text"')])


def _block(body: bytes, shape: bytes, at: Range) -> bytes:
    raw = at.of(body)
    try:
        block = msgspec.json.decode(raw)
        if isinstance(block, dict):
            block.pop(_MARKER, None)
        return _encoded(block)
    except UNREADABLE:
        pass
    parts = wire.fields(shape, at)
    # A key with half a pair of surrogates in it is not its own in the shape.
    if parts is None or any("\ufffd" in name for name in parts):
        return _whole(raw)
    return _fields([(name, parts[name].of(body)) for name in sorted(parts) if name != _MARKER])


def _fields(parts: list[tuple[str, bytes]]) -> bytes:
    """No JSON value holds a NUL byte, which stands between them."""
    return b"!" + b"\0".join(part for name, raw in parts for part in (msgspec.json.encode(name), raw))
