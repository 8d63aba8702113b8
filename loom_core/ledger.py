"""What the ledger holds: the decision at an anchor, and the identity pinned for a conversation.

Both are JSON texts in one hash of the store (`lookup.ledger_key`). What is read from there is
untrusted: what is broken, too long, or no longer whole reads as None. A decision's text is the very
text that was woven (weaving.md, "Store rendered bytes, not templates").
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from loom_core.block import CANARY
from loom_core.recurring import recurring
from loom_core.wire import UNREADABLE
from loom_core.wrapper import is_reminder

SOURCE_FIELD = "source"
"""Holds the name of the profile that the session belongs to."""
MAX_BYTES = 256 * 1024
"""Bytes (UTF-8) of an encoded value: a longer one is not read."""
MAX_LISTED = 256
"""Ids of one decision, and marks."""
MAX_WORDS = 200
"""Characters of an id, a mark, a version or a reason."""
_CANARY = CANARY.decode()

_Word = Annotated[str, Meta(max_length=MAX_WORDS)]
_Words = Annotated[tuple[_Word, ...], Meta(max_length=MAX_LISTED)]
_Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class Decision(Struct, frozen=True, omit_defaults=True):
    """What was decided at an anchor, once and for all.

    `text` is the rendered block, "" for the empty decision, and `why` says why it is empty. `ids` are
    the memories in it, `marks` short hashes of the other texts in it, `tokens` what memories and memorables
    count against the session's budget. `gone`: it was woven, and then deleted.
    """

    text: str = ""
    ids: _Words = ()
    marks: _Words = ()
    tokens: _Count = 0
    why: _Word = ""
    gone: bool = False


class Pin(Struct, frozen=True, omit_defaults=True):
    """The identity of a conversation as it was rendered, of which version of the profile.

    `system` tells the client's system prompt it stands after (`subject.system_mark`).
    """

    text: str = ""
    version: _Word = ""
    system: _Word = ""


class GoingOn(Struct, frozen=True, omit_defaults=True):
    """How a conversation goes on from a summary: the words in the place of the client's, "" for its own."""

    text: str = ""


_DECISION = msgspec.json.Decoder(Decision)
_PIN = msgspec.json.Decoder(Pin)
_GOING_ON = msgspec.json.Decoder(GoingOn)


def anchor_field(key: str) -> str:
    return f"a:{key}"


def identity_field(root: str) -> str:
    return f"i:{root}"


def going_on_field(beginning: str) -> str:
    """By the first message, whatever the model and the time: what was said since is bound to its words."""
    return f"c:{beginning}"


def used_field(root: str) -> str:
    """When the conversation was last woven, in nanoseconds since the epoch."""
    return f"u:{root}"


def encode(value: Decision | Pin | GoingOn) -> str:
    """As it is stored; half of a pair of surrogates becomes a question mark."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return msgspec.json.encode(_whole(msgspec.to_builtins(value))).decode()


@recurring
def decode(text: str) -> Decision | None:
    """A decision; its text is one whole reminder, or "": no other text has been woven at an anchor."""
    octets = text.encode("utf-8", "replace")
    try:
        found = _DECISION.decode(octets) if len(octets) <= MAX_BYTES else None
    except UNREADABLE:
        return None
    return found if found and (not found.text or is_reminder(found.text)) else None


@recurring
def decode_pin(text: str) -> Pin | None:
    octets = text.encode("utf-8", "replace")
    try:
        found = _PIN.decode(octets) if len(octets) <= MAX_BYTES else None
    except UNREADABLE:
        return None
    return found if found and _CANARY not in found.text else None


@recurring
def decode_going_on(text: str) -> GoingOn | None:
    octets = text.encode("utf-8", "replace")
    try:
        found = _GOING_ON.decode(octets) if len(octets) <= MAX_BYTES else None
    except UNREADABLE:
        return None
    return found if found and _CANARY not in found.text else None


def entomb(decision: Decision, memory: str) -> Decision:
    """What stays of a decision when a memory is deleted: its tombstone, if it was woven there."""
    return Decision(why="a memory in it was deleted", gone=True) if memory in decision.ids else decision


def _whole(value: object) -> object:
    """The same without halves of pairs."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {name: _whole(item) for name, item in value.items()}
        case list() | tuple():
            return [_whole(item) for item in value]
        case _:
            return value
