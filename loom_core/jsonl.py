"""Lines of a growing file: bytes to lines, incremental and split-proof.

A line is what ends with a newline (LF), and only that: what stands behind the last newline is still being
written.
"""

from msgspec import Struct, field

from loom_core.gathered import Gathered

MAX_LINE = 8 * 1024 * 1024
"""Bytes of a line that are kept; of a longer one only where it lies."""


class RawLine(Struct, frozen=True):
    """One line: where its first byte lies in the file, and where the byte after its newline.

    `data` is without the newline, and b"" when the line is `too_long`.
    """

    offset: int
    end: int
    data: bytes
    too_long: bool = False


class Reader(Struct, frozen=True):
    """The line that has no newline yet: it begins at `offset`, and `size` bytes of it were read.

    `held` are these bytes, or none once the line is longer than `MAX_LINE`.
    """

    offset: int = 0
    size: int = 0
    held: Gathered = field(default_factory=Gathered)

    @property
    def position(self) -> int:
        """Where the next byte to read lies in the file."""
        return self.offset + self.size


def feed(reader: Reader, data: bytes) -> tuple[Reader, tuple[RawLine, ...]]:
    """Read more bytes; any split of a file gives the same lines in the same order."""
    first = data.find(b"\n")
    if first < 0:
        return _longer(reader, data) if data else reader, ()
    lines = [_line(_longer(reader, data[:first]))]
    base = reader.position
    begin = first + 1
    while (end := data.find(b"\n", begin)) >= 0:
        is_long = end - begin > MAX_LINE
        words = b"" if is_long else data[begin:end]
        lines.append(RawLine(base + begin, base + end + 1, words, is_long))
        begin = end + 1
    return _longer(Reader(base + begin), data[begin:]), tuple(lines)


def _longer(reader: Reader, data: bytes) -> Reader:
    size = reader.size + len(data)
    held = reader.held.add(data) if size <= MAX_LINE else Gathered()
    return Reader(reader.offset, size, held)


def _line(whole: Reader) -> RawLine:
    is_long = whole.size > MAX_LINE
    return RawLine(whole.offset, whole.position + 1, whole.held.joined(), is_long)
