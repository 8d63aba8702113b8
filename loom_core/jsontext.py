"""A JSON string on the wire and the text it stands for, with positions of one found in the other.

Lone surrogates are kept, as the three bytes WTF-8 gives them: a text is bytes here, not `str`.
"""

import re
from collections.abc import Sequence

import msgspec
from msgspec import Struct

_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_SHORT = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_STRING = msgspec.json.Decoder(str)


class JsonText(Struct, frozen=True):
    """The text of the string whose characters lie in the body from `start` up to `end`."""

    text: bytes
    body: bytes
    start: int
    end: int

    def places(self, positions: Sequence[int]) -> list[int]:
        """Where these positions of the text lie in the body; they ascend and begin characters."""
        found: list[int] = []
        done, at = 0, self.start
        for position in positions:
            at = self._after(at, self.text[done:position])
            done = position
            found.append(at)
        return found

    def _after(self, at: int, text: bytes) -> int:
        """Where `text` ends that begins at `at`: at C speed if it is written the usual way."""
        try:
            usual = msgspec.json.encode(text.decode())[1:-1]
        except UnicodeDecodeError:
            return _advance(self.body, at, self.end, len(text))
        if self.body.startswith(usual, at):
            return at + len(usual)
        return _advance(self.body, at, self.end, len(text))


def read(body: bytes, start: int, end: int) -> JsonText:
    """The string token body[start:end], quotes included."""
    try:
        text = _STRING.decode(memoryview(body)[start:end]).encode()
    except (msgspec.DecodeError, UnicodeDecodeError):  # A lone surrogate, or bytes that are not UTF-8.
        text = _unescaped(body, start + 1, end - 1)
    return JsonText(text, body, start + 1, end - 1)


def _unescaped(body: bytes, at: int, end: int) -> bytes:
    parts: list[bytes] = []
    while (escape := _ESCAPE.search(body, at, end)) is not None:
        parts.append(body[at : escape.start()])
        stands_for, at = _stands_for(body, escape, end)
        parts.append(stands_for)
    parts.append(body[at:end])
    return b"".join(parts)


def _advance(body: bytes, at: int, end: int, length: int) -> int:
    """The position behind what stands for the next `length` bytes of text."""
    while length > 0:
        escape = _ESCAPE.search(body, at, end)
        plain = (end if escape is None else escape.start()) - at
        if escape is None or length <= plain:
            return at + min(length, plain)
        stands_for, at = _stands_for(body, escape, end)
        length -= plain + len(stands_for)
    return at


def _stands_for(body: bytes, escape: re.Match[bytes], end: int) -> tuple[bytes, int]:
    """The bytes an escape stands for, and where what follows begins (RFC 8259 section 7)."""
    if escape[1] is None:
        code = escape[0][1:]
        return _SHORT.get(code, code), escape.end()
    point = int(escape[1], 16)
    following = _ESCAPE.match(body, escape.end(), end)
    if 0xD800 <= point < 0xDC00 and following is not None and following[1]:
        low = int(following[1], 16)
        if 0xDC00 <= low < 0xE000:
            return chr(0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00)).encode(), following.end()
    return chr(point).encode("utf-8", "surrogatepass"), escape.end()
