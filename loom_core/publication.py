"""Lines of a transcript on their way to the bus: each knows its id, and the position behind it."""

from msgspec import Struct

from loom_core import transcript_line
from loom_core.jsonl import RawLine
from loom_core.position import WITNESS, Position, digest

MAX_LINES = 256
MAX_BYTES = 1024 * 1024
"""Of one batch; a line that is longer goes alone."""
ROOM_LINES = 4 * MAX_LINES
ROOM_BYTES = 4 * MAX_BYTES
"""Of all lines that were read and not published: with so many nothing more is read."""


class PublishedLine(Struct, frozen=True):
    """One line as the bus has it (contracts section 5). `kind` is its type.

    `raw` is without the metadata block and the newline, b"" where the line was too long; `offset` is that of
    its first byte in `file`.
    `line_id` is the same however often the line is published: its uuid, else made of where and what it is.
    """

    session: str
    kind: str
    role: str
    content_types: tuple[str, ...]
    raw: bytes
    file: str
    offset: int
    line_id: str


class Unpublished(Struct, frozen=True):
    """A line, and the position once it is published."""

    line: PublishedLine
    position: Position


class Source(Struct, frozen=True):
    """Whose lines they are: the session, the path, and the file it led to."""

    session: str
    path: str
    file: str


def unpublished(source: Source, lines: tuple[RawLine, ...]) -> tuple[Unpublished, ...]:
    """What is to be published of these lines: all of them but blank ones."""
    return tuple(_made(source, line) for line in lines if line.too_long or line.data.strip())


def batch(lines: tuple[Unpublished, ...]) -> tuple[Unpublished, ...]:
    """The first lines, as many as go at once: at least one."""
    size = 0
    for count, one in enumerate(lines[:MAX_LINES]):
        size += len(one.line.raw)
        if count and size > MAX_BYTES:
            return lines[:count]
    return lines[:MAX_LINES]


def has_room(*lines: tuple[Unpublished, ...]) -> bool:
    """Whether more may be read beside these."""
    return (
        sum(map(len, lines)) < ROOM_LINES
        and sum(len(one.line.raw) for part in lines for one in part) < ROOM_BYTES
    )


def _made(source: Source, raw: RawLine) -> Unpublished:
    said = transcript_line.read(raw.data)
    line = PublishedLine(
        session=source.session,
        kind=said.kind,
        role=said.role,
        content_types=said.content_types,
        raw=said.raw,
        file=source.path,
        offset=raw.offset,
        line_id=said.id or _id(source, raw),
    )
    ending = (raw.data + b"\n")[-WITNESS:]
    position = Position(raw.end, source.file, digest(ending), len(ending))
    return Unpublished(line, position)


def _id(source: Source, raw: RawLine) -> str:
    """Of a line without a uuid: what it says, and where. A file that is written anew keeps its lines' ids."""
    where = source.path.encode("utf-8", "surrogatepass") + b"\n"
    return f"{digest(where + (raw.data or b'%d' % raw.end))}:{raw.offset}"
