"""How far a transcript was published: what outlives the process, so that a restart goes on where it was."""

from hashlib import blake2b

import msgspec
from msgspec import Struct

WITNESS = 256
"""Bytes before a position that show whether a file is still the one it was."""


class Position(Struct, frozen=True):
    """The byte behind the last line that was published; the default is that of a file nobody has read.

    `file` names the file that had the path then. `witness` is the digest of the `witnessed` bytes before
    `offset`.
    """

    offset: int = 0
    file: str = ""
    witness: str = ""
    witnessed: int = 0


def digest(data: bytes) -> str:
    return blake2b(data, digest_size=12).hexdigest()


def encode(position: Position) -> str:
    """The position as one line of text, the same each time; "" for the default."""
    return "" if position == Position() else msgspec.json.encode(position).decode()


def decode(text: str) -> Position:
    """The position that a text stands for; the default for any text that is not one of ours."""
    try:
        position = msgspec.json.decode(text, type=Position)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return Position()
    is_possible = 0 <= position.witnessed <= min(WITNESS, position.offset) and position.offset < 1 << 63
    return position if is_possible else Position()
