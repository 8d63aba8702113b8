"""A request as it went up: its blocks, what the Loom did to each, and what an earlier request had too."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace as evolve

from loom_core.block import CANARY
from loom_core.outgoing import Taken
from loom_core.woven import WovenIn
from loom_core.woven_blocks import WovenBlock, woven_blocks
from loom_core.wrapper import is_reminder, tokens
from loom_shell import woven_view
from loom_shell.inspect.shown import Asked, Block, Mark, Message
from loom_shell.inspect.texts import NONE, Texts
from loom_shell.woven_view import View, view

MOST_MESSAGES = 40
"""Messages of one request, the newest of those that are new."""
MOST_BLOCKS = 40
"""Blocks of one message."""
MOST_TOOLS = 80
NAME = 80
"""Characters of a name."""
REACH = 6
"""Blocks that are looked ahead to find where two requests agree again."""


class _Piece(Struct, frozen=True):
    """A block of a message; `place` 0 is the system prompt."""

    place: int
    role: str
    block: woven_view.Block

    def says_as(self, other: "_Piece") -> bool:
        ours, theirs = self.block, other.block
        return self.role == other.role and ours.kind == theirs.kind and ours.text == theirs.text


class _Held(Struct, frozen=True):
    """A piece, what was done to it, and what the client had in its place."""

    piece: _Piece
    mark: Mark = ""
    was: _Piece | None = None


class Requests:
    """Mutable: knows which messages each session's requests had before."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._known: defaultdict[str, set[bytes]] = defaultdict(set)

    def asked(self, session: str, client: bytes, taken: Taken) -> Asked:
        """`client`: the body as it came."""
        blocks = woven_blocks(taken.kept) if taken.kept else ()
        seen = view(taken.body or b"", blocks)
        before = view(client, ()) if taken.is_edited else seen
        held = list(_compared(_pieces(before), _pieces(seen), taken.woven))
        groups = [(place, list(those)) for place, those in groupby(held, lambda it: it.piece.place)]
        system = [it for place, those in groups if place == 0 for it in those]
        messages = [(place, those) for place, those in groups if place > 0]
        earlier = min(self._earlier(session, messages), max(0, len(messages) - 1))
        shown = [
            self._message(place, those, is_old=at < earlier) for at, (place, those) in enumerate(messages)
        ]
        told = [message for message in shown if message.blocks]
        return Asked(
            tools=[name[:NAME] for name in seen.tools[:MOST_TOOLS]],
            system=[self._block(it) for it in system[:MOST_BLOCKS]],
            earlier=earlier,
            messages=told[-MOST_MESSAGES:],
            left=max(0, len(told) - MOST_MESSAGES),
        )

    def _earlier(self, session: str, messages: Sequence[tuple[int, list[_Held]]]) -> int:
        """How many of the first messages an earlier request of the session had; all are known from now on."""
        known, chain, count = self._known[session], b"", 0
        for number, (_, those) in enumerate(messages, 1):
            digest = blake2b(chain, digest_size=16)
            for it in those:
                if it.mark not in {"ephemeral", "cut"}:
                    said = f"{it.piece.role}\0{it.piece.block.kind}\0{it.piece.block.text}\0"
                    digest.update(said.encode("utf-8", "surrogatepass"))
            chain = digest.digest()
            if count == number - 1 and chain in known:
                count = number
            known.add(chain)
        return count

    def _message(self, place: int, those: list[_Held], *, is_old: bool) -> Message:
        """Of one that was shown before only what the Loom did to it."""
        shown = [it for it in those if it.mark] if is_old else those
        blocks = [self._block(it) for it in shown[:MOST_BLOCKS]]
        return Message(place, those[0].piece.role[:NAME] or "no role", blocks, len(those) - len(blocks))

    def _block(self, it: _Held) -> Block:
        block, woven = it.piece.block, it.piece.block.woven
        self._texts.spend(40)
        count = woven.tokens if woven else tokens(block.text) if it.mark not in {"", "cut"} else 0
        return Block(
            kind=block.kind[:NAME],
            text=self._texts.add(block.text),
            mark=it.mark,
            marker=block.marker[:NAME],
            tokens=count,
            was=self._texts.add(it.was.block.text) if it.was else NONE,
            holds=_holds(woven) if woven else "",
        )


def _pieces(seen: View) -> list[_Piece]:
    system = [_Piece(0, "system", block) for block in seen.system]
    return [
        *system,
        *(
            _Piece(place, message.role, block)
            for place, message in enumerate(seen.messages, 1)
            for block in message.blocks
        ),
    ]


def _compared(client: list[_Piece], up: list[_Piece], told: WovenIn | None) -> Iterator[_Held]:
    """Each block as it went up, and those that did not, side by side with the client's."""
    at = 0
    for number, piece in enumerate(up):
        if piece.block.woven:
            yield _Held(piece, piece.block.woven.life.value)
            continue
        agrees = next(
            (it for it in range(at, min(at + REACH, len(client))) if client[it].says_as(piece)), None
        )
        if agrees is not None:
            yield from (_gone(it, piece.place, piece.role) for it in client[at:agrees])
            yield _Held(piece)
            at = agrees + 1
        elif at < len(client) and not any(client[at].says_as(it) for it in up[number : number + REACH]):
            yield _Held(piece, "cut" if _has_metadata(client[at]) else "reworded", client[at])
            at += 1
        else:
            yield _Held(piece, _added(piece, told))
    place, role = (up[-1].place, up[-1].role) if up else (1, "")
    yield from (_gone(it, place, role) for it in client[at:])


def _gone(piece: _Piece, place: int, role: str) -> _Held:
    """A block that did not go up, shown with the message that stands in its place."""
    empty = evolve(piece.block, text="", woven=None)
    return _Held(_Piece(place, role, empty), "cut", piece)


def _has_metadata(piece: _Piece) -> bool:
    return CANARY.decode() in piece.block.text


def _added(piece: _Piece, told: WovenIn | None) -> Mark:
    """What a block is that the client did not send, where nothing was kept of the weaving."""
    if told and told.identity and piece.place == 0:
        return "identity"
    return "sticky" if told and told.sticky and is_reminder(piece.block.text) else "added"


def _holds(woven: WovenBlock) -> str:
    counted = [
        f"{number} {name}{'' if number == 1 else 's'}"
        for number, name in ((woven.pieces, "piece"), (woven.memorables, "memorable"))
        if number
    ]
    ids = [f"memory {name[:NAME]}" for name in woven.memories[:8]]
    return ", ".join([*counted, *ids])
