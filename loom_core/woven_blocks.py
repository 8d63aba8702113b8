"""Which bytes of a request that went up are the Loom's own blocks, and what each of them is.

Worked out only when somebody asks to see: weaving itself needs no more than its edits.
"""

import re

import msgspec
from msgspec import Struct

from loom_core.actions import Keep
from loom_core.ledger import Decision
from loom_core.profile import Life
from loom_core.wrapper import tokens

_BLOCK = re.compile(rb'\{"type":"text","text":("[^"\\]*(?:\\.[^"\\]*)*")\}')
"""A block as `weave` writes it, whole; the group is its text."""


class WovenBlock(Struct, frozen=True):
    """A block of the Loom's in a body, from the byte `start` up to `end`.

    Of sticky text also what is in it: ids of `memories`, and how many `memorables` and `pieces`.
    """

    life: Life
    start: int
    end: int
    tokens: int
    memories: tuple[str, ...] = ()
    memorables: int = 0
    pieces: int = 0


def woven_blocks(kept: Keep) -> tuple[WovenBlock, ...]:
    """The Loom's blocks in the order in which they stand in the body."""
    decided = {decision.text: decision for decision in kept.decisions if decision and decision.text}
    found: list[WovenBlock] = []
    moved = 0
    for edit in sorted(kept.edits, key=lambda edit: (edit.start, edit.end)):
        begun = edit.start + moved
        for block in _BLOCK.finditer(edit.new):
            text = msgspec.json.decode(block[1], type=str)
            start, end = begun + block.start(), begun + block.end()
            if text in decided:
                found.append(_sticky(start, end, decided[text]))
            else:
                life = Life.EPHEMERAL if text == kept.ephemeral else Life.IDENTITY
                found.append(WovenBlock(life, start, end, tokens(text)))
        moved += len(edit.new) - (edit.end - edit.start)
    return tuple(found)


def _sticky(start: int, end: int, decision: Decision) -> WovenBlock:
    """A piece's mark names the piece, a memorable's does not (`compose`)."""
    pieces = sum(":" in mark for mark in decision.marks)
    return WovenBlock(
        Life.STICKY,
        start,
        end,
        tokens(decision.text),
        memories=decision.ids,
        memorables=len(decision.marks) - pieces,
        pieces=pieces,
    )
