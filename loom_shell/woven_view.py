"""A request that went up, read for a person: its blocks in order, and which of them are the Loom's.

What cannot be read is one block of the kind `unreadable`; nothing raises.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from loom_core import wire
from loom_core.block import decoded
from loom_core.conversation import words
from loom_core.reading import Json, as_dict, as_text
from loom_core.wire import UNREADABLE, Range
from loom_core.woven_blocks import WovenBlock

UNREAD = "unreadable"


class Block(Struct, frozen=True):
    """A block from the byte `start` up to `end`. `kind`: its type on the wire.

    `marker`: the life of the client's cache marker on it, or in it, "" without one; `woven`: of the Loom's
    own blocks what they are.
    """

    kind: str
    text: str
    start: int
    end: int
    marker: str = ""
    woven: WovenBlock | None = None


class Message(Struct, frozen=True):
    """A message, or the system prompt under the role `system prompt`."""

    role: str
    blocks: tuple[Block, ...]


class View(Struct, frozen=True):
    """A request: `tools` are their names; `tools_marker` and `marker` are markers on those and on all."""

    model: str
    tools: tuple[str, ...]
    tools_marker: str
    marker: str
    system: tuple[Block, ...]
    messages: tuple[Message, ...]


def view(body: bytes, woven: Sequence[WovenBlock]) -> View:
    """Read a body; `woven` are the Loom's blocks in it."""
    shape, found = wire.shaped(body)
    top = found or {}
    reader = _Reader(shape, {block.start: block for block in woven})
    tools = _value(shape, top.get("tools"))
    listed = [as_dict(tool) for tool in tools] if isinstance(tools, list) else []
    markers = [marker for tool in listed if (marker := _life(tool.get("cache_control")))]
    return View(
        model=as_text(_value(shape, top.get("model"))),
        tools=tuple(as_text(tool.get("name")) or as_text(tool.get("type")) for tool in listed),
        tools_marker=markers[-1] if markers else "",
        marker=_life(_value(shape, top.get("cache_control"))),
        system=reader.blocks(top["system"]) if "system" in top else (),
        messages=reader.messages(top.get("messages")),
    )


class _Reader:
    """Reads the values of one body. `shape` as in `wire.shaped`; `woven` by where they start."""

    def __init__(self, shape: bytes, woven: Mapping[int, WovenBlock]) -> None:
        self._shape = shape
        self._woven = woven

    def messages(self, at: Range | None) -> tuple[Message, ...]:
        return tuple(map(self._message, wire.elements(self._shape, at) or ())) if at else ()

    def blocks(self, at: Range) -> tuple[Block, ...]:
        """The blocks of a list; a string is one of text."""
        if self._shape.startswith(b'"', at.start):
            text = as_text(_value(self._shape, at))
            return (Block("text", text, at.start, at.end),)
        return tuple(map(self._block, wire.elements(self._shape, at) or ()))

    def _message(self, at: Range) -> Message:
        parts = wire.fields(self._shape, at)
        if parts is None or "content" not in parts:
            return Message(UNREAD, (Block(UNREAD, "", at.start, at.end),))
        role = as_text(_value(self._shape, parts.get("role")))
        return Message(role, self.blocks(parts["content"]))

    def _block(self, at: Range) -> Block:
        said = _value(self._shape, at)
        kind = as_text(as_dict(said).get("type")) or UNREAD
        return Block(kind, words(said), at.start, at.end, _marker(said), self._woven.get(at.start))


def _value(shape: bytes, at: Range | None) -> Json:
    """None for what is not there, or cannot be held."""
    try:
        return decoded(at.of(shape)) if at else None
    except UNREADABLE:
        return None


def _marker(block: Json) -> str:
    """The life of the marker on a block, else of the last one on a block inside it."""
    fields = as_dict(block)
    within = fields.get("content")
    inner = [_life(as_dict(one).get("cache_control")) for one in within] if isinstance(within, list) else []
    return _life(fields.get("cache_control")) or next(filter(None, reversed(inner)), "")


def _life(marker: Json) -> str:
    """How long what is before a marker stays cached; "" if this is none."""
    if marker is None:
        return ""
    return as_text(as_dict(marker).get("ttl")) or "5m"
