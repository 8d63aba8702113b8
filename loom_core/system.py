"""How a request's `system` lies on the wire: what it says, and where a block can be put after it."""

from enum import Enum

from msgspec import Struct

from loom_core.block import decoded
from loom_core.reading import Json, as_dict, as_text
from loom_core.wire import UNREADABLE, Range

ATTRIBUTION = "x-anthropic-billing-header:"
"""How the client's first block may begin, which upstream strips by its place; the rest of it may differ each
time (contracts section 1)."""
_WHITE = b" \t\r\n"
_EMPTY = frozenset({b"null", b'""'})


class Lies(Enum):
    """What `system` is; null, and a string or a list with nothing in it, are empty."""

    ABSENT = "absent"
    EMPTY = "empty"
    STRING = "string"
    LIST = "list"
    ODD = "odd"


class System(Struct, frozen=True):
    """The client's `system`: the bytes `raw`, from `start` to `end`.

    `place` is the byte after the last block of a list. Where there is no `system` all three are the
    byte after `messages`.
    """

    lies: Lies
    start: int
    end: int
    place: int
    raw: bytes = b""

    def says(self, words: str) -> bool:
        """Whether one of its texts holds these words."""
        if not words or self.lies not in {Lies.STRING, Lies.LIST}:
            return not words
        try:
            told = decoded(self.raw)
        except UNREADABLE:
            return False
        texts = [told] if isinstance(told, str) else map(_text, told)
        return any(words in text for text in texts)


def read(body: bytes, top: dict[str, Range]) -> System:
    """Find it among the fields of a body that has `messages`."""
    at = top.get("system")
    if at is None:
        end = top["messages"].end
        return System(Lies.ABSENT, end, end, end)
    raw = at.of(body)
    place = at.start + len(raw[:-1].rstrip(_WHITE))
    if raw in _EMPTY or (raw.startswith(b"[") and place == at.start + 1):
        lies = Lies.EMPTY
    else:
        lies = {b'"': Lies.STRING, b"[": Lies.LIST}.get(raw[:1], Lies.ODD)
    return System(lies, at.start, at.end, place, raw)


def _text(block: Json) -> str:
    return as_text(as_dict(block).get("text"))
