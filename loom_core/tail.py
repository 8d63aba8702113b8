"""How far one file was read, and whether what is read next belongs to what was read before."""

from msgspec import Struct

from loom_core import jsonl
from loom_core.jsonl import RawLine, Reader
from loom_core.position import WITNESS, Position, digest

READ = 128 * 1024
"""Bytes of one read, besides those that were read before."""


class Tail(Struct, frozen=True):
    """A file that was read up to the reader's position. `known` is what was read last, to be read again."""

    file: str
    reader: Reader = Reader()
    known: bytes = b""

    @property
    def begins(self) -> int:
        """Where the next read begins."""
        return self.reader.position - len(self.known)

    @property
    def most(self) -> int:
        """Bytes of the next read."""
        return len(self.known) + READ

    def goes_on(self, file: str, size: int, data: bytes) -> bool:
        """Whether the file is the one that was read: not another, not shorter, the last bytes still there."""
        return file == self.file and size >= self.reader.position and data.startswith(self.known)

    def fed(self, data: bytes) -> tuple["Tail", tuple[RawLine, ...]]:
        """Read on: `data` begins with what is known."""
        new = data[len(self.known) :]
        reader, lines = jsonl.feed(self.reader, new)
        return Tail(self.file, reader, (self.known + new[-WITNESS:])[-WITNESS:]), lines


def resumed(position: Position, file: str, size: int, data: bytes) -> Tail | None:
    """The file as it was left at a position, if it is that one; `data` begins with the witnessed bytes."""
    if position.offset == 0:
        return Tail(file)
    known = data[: position.witnessed]
    is_same = file == position.file and size >= position.offset and digest(known) == position.witness
    return Tail(file, Reader(position.offset), known) if is_same else None
