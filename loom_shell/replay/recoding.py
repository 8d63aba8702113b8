"""A compressed body without its secrets: undone, looked through, and done again in the same codings.

It is another than it was only where a secret was in it. What cannot be read to its end may hold what nobody
found: it goes, but for one that broke off and holds none as far as it came.
"""

import zlib
from collections.abc import Callable

import brotli
import zstandard

from loom_core.encoding import MAX_CODINGS, MAX_DECODED, MAX_MEMBERS, MAX_WINDOW, decoded
from loom_shell.replay.scrubbing import Scrubber

_GZIP = 31
"""The window of zlib's, behind the header of gzip: one without a time, so that it is always the same."""
_BROTLI_QUALITY, _ZSTD_LEVEL = 4, 3


def recoded(codings: tuple[str, ...], body: bytes, scrubber: Scrubber) -> bytes | None:
    """None where it must not be written at all."""
    found = _layers(codings, body)
    if found is None:
        return None
    (*coded, text), is_whole = found
    clean = scrubber.body(text, is_whole=is_whole)
    # A coding may hold bytes that are no part of the text, such as the name of a file.
    if clean == text and all(scrubber.content(it) == it for it in coded):
        return body
    return done(codings, clean) if is_whole else None


def undone(codings: tuple[str, ...], body: bytes) -> tuple[bytes, bool] | None:
    """What it says, and whether that is all; None if nobody knows, or it is more than may be read."""
    found = _layers(codings, body)
    return (found[0][-1], found[1]) if found else None


def _layers(codings: tuple[str, ...], body: bytes) -> tuple[list[bytes], bool] | None:
    """It in all of its codings, then without one after the other."""
    if len(codings) > MAX_CODINGS:
        return None
    layers, is_whole = [body], True
    for coding in reversed(codings):
        text = decoded((coding,), layers[-1])
        if text is None or len(text) >= MAX_DECODED:
            return None
        ends = _ENDS[coding](layers[-1])
        if ends is None:
            return None
        layers.append(text)
        is_whole = is_whole and ends
    return layers, is_whole


def done(codings: tuple[str, ...], text: bytes) -> bytes:
    """The same bytes for the same text."""
    for coding in codings:
        text = _DO[coding](text)
    return text


# Whether a body ends where its coding does; None if there is more, or something is not to be read.


def _gzip_ends(body: bytes) -> bool | None:
    for _ in range(MAX_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        member.decompress(body)
        if not member.unused_data:
            return member.eof
        body = member.unused_data
    return None


def _deflate_ends(body: bytes) -> bool | None:
    undo = zlib.decompressobj()
    try:
        undo.decompress(body)
    except zlib.error:
        undo = zlib.decompressobj(wbits=-15)
        undo.decompress(body)
    return None if undo.unused_data else undo.eof


def _brotli_ends(body: bytes) -> bool | None:
    undo = brotli.Decompressor()
    undo.process(body)
    return bool(undo.is_finished())


def _zstd_ends(body: bytes) -> bool | None:
    """One that breaks off has a block that cannot be read, and may be."""
    while body:
        frame = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj()
        frame.decompress(body)
        if not frame.eof:
            return None
        body = frame.unused_data
    return True


def _gzip(text: bytes) -> bytes:
    do = zlib.compressobj(wbits=_GZIP)
    return do.compress(text) + do.flush()


def _brotli(text: bytes) -> bytes:
    return bytes(brotli.compress(text, quality=_BROTLI_QUALITY))


def _zstd(text: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(text)


_ENDS: dict[str, Callable[[bytes], bool | None]] = {
    "gzip": _gzip_ends,
    "x-gzip": _gzip_ends,
    "deflate": _deflate_ends,
    "br": _brotli_ends,
    "zstd": _zstd_ends,
    "identity": lambda _: True,
}
_DO: dict[str, Callable[[bytes], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": zlib.compress,
    "br": _brotli,
    "zstd": _zstd,
    "identity": bytes,
}
