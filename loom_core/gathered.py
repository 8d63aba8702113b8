"""Bytes gathered piece by piece, as a frozen value whose cost stays linear."""

from msgspec import Struct

_PIECE = 65_536
_LARGE = 16_384
"""Bytes of an addition that becomes a piece of its own, since it costs more to copy than to keep apart."""


class Gathered(Struct, frozen=True):
    """Bytes so far, in order: whole `pieces`, then a `tail` under 64 KiB.

    Small additions grow the tail and large ones become pieces, so that neither a client that
    sends byte by byte nor one that sends megabytes costs quadratic time.
    """

    pieces: tuple[bytes, ...] = ()
    tail: bytes = b""
    size: int = 0

    def add(self, more: bytes) -> "Gathered":
        size = self.size + len(more)
        if len(more) >= _LARGE:
            return Gathered((*self.pieces, self.tail, more) if self.tail else (*self.pieces, more), b"", size)
        tail = self.tail + more
        if len(tail) < _PIECE:
            return Gathered(self.pieces, tail, size)
        return Gathered((*self.pieces, tail), b"", size)

    def joined(self) -> bytes:
        return b"".join((*self.pieces, self.tail))
