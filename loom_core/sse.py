"""Server-sent events: bytes to frames, incremental and split-proof.

The rules are those of the HTML standard, section 9.2.6 (interpreting an event stream): lines end
with CR LF, LF or CR; a blank line ends a frame; `data` lines join with LF; a line that starts
with a colon is a comment; one leading byte-order mark is dropped; a frame without data, or one
the stream breaks off in, is not delivered.
"""

import re
from itertools import starmap

from msgspec import Struct
from msgspec.structs import replace as evolve

MAX_FRAME = 2 * 1024 * 1024
"""Bytes of one frame that are kept; a longer frame is skipped up to its end."""

_BOM = b"\xef\xbb\xbf"


class Frame(Struct, frozen=True):
    """One server-sent event: its name (b"" when none was given) and its joined data lines."""

    event: bytes
    data: bytes


class Reader(Struct, frozen=True):
    """What is left over between two feeds. `skipped` counts frames that were too long."""

    rest: bytes = b""
    at_start: bool = True
    after_cr: bool = False
    skipping: bool = False
    skipped: int = 0


def feed(reader: Reader, data: bytes) -> tuple[Reader, tuple[Frame, ...]]:
    """Read more bytes; any split of a stream gives the same frames in the same order."""
    if not data:
        return reader, ()
    lines, after_cr = _with_lf_only(data, after_cr=reader.after_cr)
    text = reader.rest + lines
    if reader.at_start:
        if len(text) < len(_BOM):
            return evolve(reader, rest=text, after_cr=after_cr), ()
        text = text.removeprefix(_BOM)
    skipping, skipped = reader.skipping, reader.skipped
    frames: list[Frame] = []
    if not skipping:
        text = _plain_frames(text, frames)
    *whole, rest = text.split(b"\n\n")
    for part in whole:
        if skipping or len(part) > MAX_FRAME:
            skipping, skipped = False, skipped + 1
        elif (frame := _frame(part)) is not None:
            frames.append(frame)
    if skipping or len(rest) - rest.endswith(b"\n") > MAX_FRAME:
        skipping, rest = True, rest[-1:]
    return Reader(rest, at_start=False, after_cr=after_cr, skipping=skipping, skipped=skipped), tuple(frames)


_PLAIN = re.compile(rb"^event: ([^\n]*+)\ndata: ([^\n]*+)\n\n", re.MULTILINE)
"""A frame as Messages API streams have them, nearly all of theirs.

Only where a line begins, and never back over one: else lines full of beginnings would cost their square.
"""
_ENDS = b"\n\n"
_AROUND = len(b"event: \ndata: \n\n")


def _plain_frames(text: bytes, frames: list[Frame]) -> bytes:
    """Take the plain frames off the front of `text`, the short way; what is left needs the long one.

    Where all before the last blank line is plain, as nearly always, the frames found fill it without a gap.
    """
    end = text.rfind(_ENDS) + len(_ENDS)
    found = _PLAIN.findall(text, 0, end) if _ENDS in text and len(text) <= MAX_FRAME else []
    if sum([len(event) + len(data) for event, data in found]) + _AROUND * len(found) == end:
        frames += starmap(Frame, found)
        return text[end:]
    done = 0
    while (frame := _PLAIN.match(text, done)) is not None and frame.end() - done - 2 <= MAX_FRAME:
        frames.append(Frame(frame[1], frame[2]))
        done = frame.end()
    return text[done:]


def _with_lf_only(data: bytes, *, after_cr: bool) -> tuple[bytes, bool]:
    """Every line end as LF, at once: a CR counts when it comes, a LF right after it does not."""
    ends_in_cr = data.endswith(b"\r")
    if after_cr and data.startswith(b"\n"):
        data = data[1:]
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data, ends_in_cr


def _frame(part: bytes) -> Frame | None:
    event = b""
    values: list[bytes] = []
    for line in part.split(b"\n"):
        if line.startswith(b"data:"):
            values.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line.startswith(b"event:"):
            event = line[7:] if line.startswith(b"event: ") else line[6:]
        elif line == b"data":
            values.append(b"")
        elif line == b"event":
            event = b""
    return Frame(event, b"\n".join(values)) if values else None
