"""The chain keys of a conversation, and the places where something can be woven into it.

The rules (weaving.md, "The ledger" and "The invariant"):

* c0 = H(version, scope), c(i+1) = H(c(i), role, block without `cache_control`). A string is one text
  block. So a string that becomes a list and a marker that moves change no key, and equal texts at two
  places have keys of their own.
* An anchor is the place after the last block of a real user prompt: role user, at least one block,
  no tool_result in the message. Where more was typed before any answer came, in the same message, the place
  where it once ended stays an anchor.

Reading goes on from what is known of earlier calls (`prefix.Memo`).
"""

from collections.abc import Sequence
from hashlib import blake2b

import msgspec
from msgspec import Struct

from loom_core import link, system, wire
from loom_core.ledger import anchor_field
from loom_core.link import Link
from loom_core.prefix import Memo, staying
from loom_core.system import System
from loom_core.wire import Range
from loom_core.wordings import CONTINUED

VERSION = b"loom chain 1\0"
MOST_ANCHORS = 1_024
"""Anchors of one conversation; so the earlier ones stay what they are."""
_MARKER = b'"cache_control"'
_CONTINUED = CONTINUED.encode()
_WHITE = b" \t\r\n"


class Anchor(Struct, frozen=True, gc=False):
    """After the last block of message number `message`; bytes count from the body's beginning.

    `place` is the byte after that block. Where the content is a string, `opens` is its first byte
    and `place` the byte after its last; else `opens` is -1. `is_past`: the message goes on behind it.
    """

    key: str
    message: int
    place: int
    opens: int = -1
    is_past: bool = False


class _Links(Struct, frozen=True):
    """What the first messages come to: `key` and `first`, the chain at their end and after the first.

    `opening`: where the first lies; it may hold a summary if it `goes_on`. `spoken`: the last message that
    is neither the user's nor the system's, -1 for none. `users`: how many are the user's; `shorter`: the
    chain before the first message's last block.
    """

    key: bytes
    messages: int = 0
    first: bytes = b""
    anchors: tuple[Anchor, ...] = ()
    names: tuple[str, ...] = ()
    spoken: int = -1
    marker: int = -1
    opening: Range | None = None
    goes_on: bool = False
    users: int = 0
    shorter: bytes = b""


MEMO: Memo[_Links] = Memo()


class Conversation(Struct, frozen=True):
    """What a body of `size` bytes comes to.

    `beginning` is the key of its first message, which lies at `opening`; `root` is the key that its identity
    is pinned under, which depends on the model too. `names` are the ledger's fields of the anchors. `newest`
    is the last anchor, if nobody has answered it. `last_marker` is the byte of the client's last cache marker
    in the messages, -1 for none; of one written in escapes the first of its message. A marker on the request
    as a whole stands for one on its last block: there it is their end.
    """

    size: int
    beginning: str
    root: str
    system: System
    anchors: tuple[Anchor, ...] = ()
    names: tuple[str, ...] = ()
    newest: Anchor | None = None
    last_marker: int = -1
    opening: Range | None = None
    goes_on: bool = False


def read(body: bytes, scope: str, *, instructs: bool = False) -> Conversation | None:
    """Read a conversation, the metadata block cut out before; None if it is no Messages-API body.

    `scope` says of which account and session it is. `instructs`: its last block but for a system message
    asks for a summary, and is no part of the conversation. Never raises.
    """
    skimmed = MEMO.skim(scope, body)
    if skimmed is None:
        return None
    top, known = skimmed.top, skimmed.known
    fold = _Fold(body, skimmed.shape, known.value if known else _Links(_beginning(scope)))
    if count := staying(skimmed):
        fold.add(skimmed.ranges[:count])
        MEMO.keep(scope, body, skimmed, count, fold.links())
    fold.add(skimmed.ranges[count:])
    overall = top.get("cache_control")
    automatic = overall is not None and overall.of(body) != b"null"
    model = top["model"].of(body) if "model" in top else b""
    beginning = fold.beginning(instructs=instructs)
    return Conversation(
        size=len(body),
        beginning=beginning.hex(),
        root=_hash(beginning, b"root\0", model).hex(),
        system=system.read(body, top),
        anchors=tuple(fold.anchors),
        names=tuple(fold.names),
        newest=fold.newest,
        last_marker=top["messages"].end if automatic else fold.marker,
        opening=fold.opening,
        goes_on=fold.goes_on,
    )


def _hash(*parts: bytes) -> bytes:
    return blake2b(b"".join(parts), digest_size=16).digest()


def _beginning(scope: str) -> bytes:
    return _hash(VERSION, scope.encode("utf-8", "surrogatepass"))


class _Fold:
    """The mutable inside of one `read`: what the messages so far come to."""

    def __init__(self, body: bytes, shape: bytes, begun: _Links) -> None:
        self.body = body
        self.shape = shape
        self.messages = begun.messages
        self.key = begun.key
        self.first = begun.first
        self.anchors = list(begun.anchors)
        self.names = list(begun.names)
        self.spoken = begun.spoken
        self.marker = begun.marker
        self.opening = begun.opening
        self.goes_on = begun.goes_on
        self.users = begun.users
        self.shorter = begun.shorter

    def add(self, ranges: Sequence[Range]) -> None:
        for at in ranges:
            said = link.read(self.body, self.shape, at)
            place, keys = msgspec.json.encode(said.role) + b"\0", []
            for block in said.blocks:
                self.key = _hash(self.key, place, block)
                keys.append(self.key)
            if self.messages == 0:
                self.first, self.opening = self.key, at
                # A quick look, which no other text passes but by chance.
                self.goes_on = self.body.find(_CONTINUED, at.start, at.end) >= 0
                self.shorter = keys[-2] if len(keys) > 1 else self.key
            self.users += said.role == "user"
            if said.asks or said.pauses:
                self._anchor(at, said, keys)
            if said.role not in {"user", "system"}:
                self.spoken = self.messages
            self.messages += 1
            if said.marked:
                found = self.shape.rfind(_MARKER, at.start, at.end)
                self.marker = found if found >= 0 else at.start  # Written in escapes.
        if ranges:
            # One that is nested in a block counts too.
            self.marker = max(self.marker, self.shape.rfind(_MARKER, ranges[0].start, ranges[-1].end))

    def beginning(self, *, instructs: bool) -> bytes:
        """The chain after the first message; without its last block where that is the instruction."""
        if instructs and self.messages <= 2 and self.users == 1:
            return self.shorter
        return self.first or self.key

    @property
    def newest(self) -> Anchor | None:
        last = self.anchors[-1] if self.anchors else None
        return last if last and not last.is_past and self.spoken < last.message else None

    def _anchor(self, at: Range, said: Link, keys: list[bytes]) -> None:
        """A prompt whose fields are not plain to see, as with a repeated key, has none."""
        parts = wire.fields(self.shape, at)
        if parts is None:
            return
        content, number, key = parts["content"], self.messages, keys[-1].hex()
        if self.shape.startswith(b'"', content.start):
            found = [Anchor(key, number, content.end, content.start)]
        else:
            blocks = (wire.elements(self.shape, content) if said.pauses else None) or []
            found = [
                Anchor(keys[it].hex(), number, blocks[it].end, is_past=True)
                for it in said.pauses
                if it < len(blocks)
            ]
            last = content.start + len(self.shape[content.start : content.end - 1].rstrip(_WHITE))
            found += [Anchor(key, number, last)] if said.asks else []
        found = found[: MOST_ANCHORS - len(self.anchors)]
        self.anchors += found
        self.names += [anchor_field(it.key) for it in found]

    def links(self) -> _Links:
        return _Links(
            key=self.key,
            messages=self.messages,
            first=self.first,
            anchors=tuple(self.anchors),
            names=tuple(self.names),
            spoken=self.spoken,
            marker=self.marker,
            opening=self.opening,
            goes_on=self.goes_on,
            users=self.users,
            shorter=self.shorter,
        )
