"""Where woven text goes in a body: insertions only, so that the client's bytes stay as they are.

The rules (weaving.md, "Classes of woven text" and "The ledger"):

* The identity is one system block after the client's last one, without a marker of its own.
* Sticky text is one block after the anchor's last block; the same text at the same anchor each time.
* Ephemeral text comes after the newest anchor's block, and not at all where a client's marker would cover it.
* A string that has to take a block becomes a list, whose first block is that very string.

Anchors are places of real user prompts only: nothing is woven into an assistant's or system message, or after
a tool_result in the same message. No marker is added or moved.
"""

import msgspec
from msgspec import Struct

from loom_core.block import CANARY
from loom_core.chain import Anchor, Conversation
from loom_core.recurring import recurring
from loom_core.system import Lies, System
from loom_core.wire import Edit

_CANARY = CANARY.decode()
_OPENS = b'[{"type":"text","text":'


class Woven(Struct, frozen=True):
    """What is woven into one request, "" for nothing: at anchors what was decided there."""

    identity: str = ""
    decided: tuple[tuple[Anchor, str], ...] = ()
    ephemeral: str = ""


NOTHING = Woven()


def edits(body: bytes, conversation: Conversation, woven: Woven) -> tuple[Edit, ...]:
    """The edits that weave into the body this conversation was read from; for another body none."""
    if len(body) != conversation.size:
        return ()
    added: dict[int, tuple[Anchor, bytes]] = {}
    for anchor, text in woven.decided:
        if text and anchor.place not in added and (block := _block(text)):
            added[anchor.place] = (anchor, b"," + block)
    newest = conversation.newest
    if newest and conversation.last_marker < newest.place and (block := _block(woven.ephemeral)):
        _, before = added.get(newest.place, (newest, b""))
        added[newest.place] = (newest, before + b"," + block)
    found: list[Edit] = []
    for place, (anchor, blocks) in added.items():
        if anchor.opens < 0:
            found.append(Edit(place, place, blocks))
        else:
            found += _listed(anchor.opens, place, blocks)
    if identity := _block(woven.identity):
        found += _into(conversation.system, identity)
    return tuple(found)


@recurring
def _block(text: str) -> bytes:
    """A text block; b"" for a text upstream would refuse, and for one with the canary in it."""
    if not text.strip() or _CANARY in text:
        return b""
    try:
        token = msgspec.json.encode(text)
    except UnicodeEncodeError:
        token = msgspec.json.encode(text.encode("utf-8", "replace").decode())
    return b'{"type":"text","text":' + token + b"}"


def _listed(start: int, end: int, added: bytes) -> list[Edit]:
    """Make a list of a string, whose first block it is."""
    return [Edit(start, start, _OPENS), Edit(end, end, b"}" + added + b"]")]


def _into(system: System, block: bytes) -> list[Edit]:
    match system.lies:
        case Lies.ABSENT:
            return [Edit(system.place, system.place, b',"system":[' + block + b"]")]
        case Lies.EMPTY:
            return [Edit(system.start, system.end, b"[" + block + b"]")]
        case Lies.STRING:
            return _listed(system.start, system.end, b"," + block)
        case Lies.LIST:
            return [Edit(system.place, system.place, b"," + block)]
        case Lies.ODD:
            return []
