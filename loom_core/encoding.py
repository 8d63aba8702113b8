"""Content codings (RFC 9110 section 8.4.1), undone for observation only; never on the relay path."""

import zlib
from collections.abc import Callable

import brotli
import zstandard

MAX_DECODED = 8 * 1024 * 1024
"""Bytes one decoding may yield: what follows is cut, so that no answer can be a bomb."""
MAX_CODINGS = 4
"""Codings undone one after the other; an answer with more is not read."""
MAX_MEMBERS = 100
"""Members read of one gzip series: to find the next costs a copy of all that follows."""
MAX_WINDOW = 8 * 1024 * 1024
"""Bytes of window a zstd frame may ask for (RFC 9659 section 3)."""


def decoded(codings: tuple[str, ...], data: bytes, limit: int = MAX_DECODED) -> bytes | None:
    """Undo `codings` (in the order they were applied); None if one is unknown or the bytes are not its.

    Bytes that break off in the middle give what can be decoded of them.
    """
    if len(codings) > MAX_CODINGS:
        return None
    for coding in reversed(codings):
        undo = _CODINGS.get(coding)
        if undo is None:
            return None
        try:
            data = undo(data, limit)
        except (zlib.error, brotli.error, zstandard.ZstdError, MemoryError):
            return None
    return data


def _gzip(data: bytes, limit: int) -> bytes:
    """A gzip file is a series of members (RFC 1952 section 2.2)."""
    parts: list[bytes] = []
    left = limit
    for _ in range(MAX_MEMBERS):
        if not data or left <= 0:
            break
        member = zlib.decompressobj(wbits=31)
        part = member.decompress(data, left)
        parts.append(part)
        left -= len(part)
        data = member.unused_data
    return b"".join(parts)


def _deflate(data: bytes, limit: int) -> bytes:
    """The zlib form (RFC 9110 section 8.4.1.2), and the bare form that some servers send."""
    try:
        return zlib.decompressobj().decompress(data, limit)
    except zlib.error:
        return zlib.decompressobj(wbits=-15).decompress(data, limit)


def _brotli(data: bytes, limit: int) -> bytes:
    undo = brotli.Decompressor()
    parts: list[bytes] = [undo.process(data, output_buffer_limit=limit)]
    left = limit - len(parts[0])
    while parts[-1] and left > 0:
        # What breaks off comes out piece by piece: the decoder waits for more bytes before the last.
        parts.append(undo.process(b"", output_buffer_limit=left))
        left -= len(parts[-1])
    return b"".join(parts)[:limit]


def _zstd(data: bytes, limit: int) -> bytes:
    undo = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    with undo.stream_reader(data, read_across_frames=True) as reader:
        return reader.read(limit)


def _identity(data: bytes, limit: int) -> bytes:
    return data[:limit]


_CODINGS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
    "identity": _identity,
}
