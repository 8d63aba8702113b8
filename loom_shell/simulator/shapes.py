"""Scenarios of answers that are right, and shaped in ways a relay can get wrong."""

import zlib
from collections.abc import Callable, Iterable, Iterator

import brotli
import zstandard

from loom_shell.simulator.frames import chunk, message_frames, message_json, typed
from loom_shell.simulator.replies import (
    Asked,
    closing,
    head,
    json_answer,
    opening,
    plain,
    stream,
    stream_head,
)
from loom_shell.simulator.scenarios import Scenario
from loom_shell.simulator.steps import Finish, Script, Send, Step, Wait

GAP = 0.002
"""Seconds between two writes that are to arrive as two reads."""

PIECE = 1 << 16


def _close_delimited(asked: Asked) -> Iterator[Step]:
    """Streams a body without length or chunks; the end of the connection ends it."""
    yield Send(stream_head(asked, chunked=False))
    yield from (Send(piece) for piece in message_frames(asked.answer()))
    yield Finish()


def _one_byte_chunks(asked: Asked) -> Iterator[Step]:
    """Streams the answer in chunks of one byte, each a write of its own."""
    whole = b"".join(message_frames(asked.answer()))
    return stream(asked, (whole[i : i + 1] for i in range(len(whole))))


def _split_utf8(asked: Asked) -> Iterator[Step]:
    """Streams the answer with every character of several bytes cut in two chunks, two writes apart."""
    yield Send(stream_head(asked))
    for piece in _cut_characters(b"".join(message_frames(asked.answer()))):
        yield Send(piece if asked.http10 else chunk(piece))
        yield Wait(GAP)
    yield from closing(asked)


def _cut_characters(whole: bytes) -> Iterator[bytes]:
    """Pieces that each end behind the first byte of a character of several (0xC2..0xF4)."""
    start = 0
    for place, byte in enumerate(whole):
        if byte >= 0xC2:
            yield whole[start : place + 1]
            start = place + 1
    yield whole[start:]


Squeeze = Callable[[Iterable[bytes]], Iterator[bytes]]


def _zlib(wbits: int) -> Squeeze:
    def squeeze(pieces: Iterable[bytes]) -> Iterator[bytes]:
        packer = zlib.compressobj(wbits=wbits)
        for piece in pieces:
            yield packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH)
        yield packer.flush()

    return squeeze


GZIP, DEFLATE = _zlib(31), _zlib(15)
"""`deflate` is the zlib format (RFC 9110 section 8.4.1.2)."""


def _brotli(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packer = brotli.Compressor(quality=4)
    for piece in pieces:
        yield packer.process(piece) + packer.flush()
    yield packer.finish()


def _zstd(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packer = zstandard.ZstdCompressor().compressobj()
    for piece in pieces:
        yield packer.compress(piece) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    yield packer.flush()


def _encoded(coding: str, squeeze: Squeeze) -> Scenario:
    def script(asked: Asked) -> Script:
        pieces = squeeze(message_frames(asked.answer()))
        return stream(asked, filter(None, pieces), lines=[("content-encoding", coding)])

    script.__doc__ = f"Streams the answer in `content-encoding: {coding}`, flushed after each frame."
    return Scenario(f"{coding}-stream", script)


def _gzip_json(asked: Asked) -> Iterator[Step]:
    """Answers with one JSON message in gzip."""
    payload = b"".join(GZIP([message_json(asked.answer())]))
    return plain(asked, payload, lines=[("content-encoding", "gzip")])


def _huge_json(asked: Asked) -> Iterator[Step]:
    """Answers with a JSON message of about `size=N` bytes (8 MB)."""
    filling = b"x" * int(asked.option("size", 8_000_000))
    whole = message_json(asked.answer())
    return plain(asked, whole[:-1] + b',"filling":"%b"}' % filling)


def _huge_frame(asked: Asked) -> Iterator[Step]:
    """Streams the answer with one frame of about `size=N` bytes (10 MB) in it."""
    frames = message_frames(asked.answer())
    text = "x" * int(asked.option("size", 10_000_000))
    huge = typed("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
    parts = (huge[i : i + PIECE] for i in range(0, len(huge), PIECE))
    return stream(asked, [*frames[:4], *parts, *frames[4:]])


def _informational(asked: Asked) -> Iterator[Step]:
    """Sends 100 and 103 before the final head."""
    if not asked.http10:
        yield Send(b"HTTP/1.1 100 Continue\r\n\r\n")
        yield Send(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n")
    yield from json_answer(asked)


def _trailers(asked: Asked) -> Iterator[Step]:
    """Streams the answer with trailer fields behind the last chunk."""
    yield from opening(asked, message_frames(asked.answer()), lines=[("trailer", "x-checksum")])
    yield from closing(asked, b"0\r\nx-checksum: 5f3a\r\nx-took: 12ms\r\n\r\n")


def _many_headers(asked: Asked) -> Iterator[Step]:
    """Answers with 90 header lines more than usual, cookies and names in odd case among them."""
    cookies = [("set-cookie", f"visit{n}={n}; path=/; HttpOnly") for n in range(3)]
    many = [(f"X-Loom-{n}", f"value {n}") for n in range(87)]
    return plain(asked, message_json(asked.answer()), lines=[*many, *cookies])


def _long_header(asked: Asked) -> Iterator[Step]:
    """Answers with one header line of 12 KB, two cookies, and a value that is not UTF-8."""
    long = [("x-long", "l" * 12_000), ("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-latin", "caf\xe9")]
    return plain(asked, message_json(asked.answer()), lines=long)


def _bodiless(status: int, *lines: tuple[str, str]) -> Callable[[Asked], Script]:
    def script(asked: Asked) -> Script:
        return [Send(head(asked, status, lines))]

    script.__doc__ = f"Answers {status}, which has no body (RFC 9112 section 6.3)."
    return script


def _status_302(asked: Asked) -> Iterator[Step]:
    """Redirects; following it is the client's business."""
    return plain(asked, b'{"moved":true}', status=302, lines=[("location", "/v1/elsewhere?to=1")])


def _head_with_length(asked: Asked) -> Iterator[Step]:
    """Answers with a content-length of 4711; to a HEAD request without the body."""
    return plain(asked, b"l" * 4711, kind="text/plain")


def _http10(asked: Asked) -> Iterator[Step]:
    """Answers in HTTP/1.0 without length; the end of the connection ends the body."""
    payload = b"".join(message_frames(asked.answer())) if asked.streams else message_json(asked.answer())
    kind = "text/event-stream; charset=utf-8" if asked.streams else "application/json"
    start = head(asked, 200, [("content-type", kind)], version="HTTP/1.0")
    yield from (Send(start + payload), Finish())


SHAPES = (
    Scenario("close-delimited", _close_delimited),
    Scenario("one-byte-chunks", _one_byte_chunks),
    Scenario("split-utf8", _split_utf8),
    _encoded("gzip", GZIP),
    _encoded("deflate", DEFLATE),
    _encoded("br", _brotli),
    _encoded("zstd", _zstd),
    Scenario("gzip-json", _gzip_json),
    Scenario("huge-json", _huge_json),
    Scenario("huge-frame", _huge_frame),
    Scenario("informational", _informational),
    Scenario("trailers", _trailers),
    Scenario("many-headers", _many_headers),
    Scenario("long-header", _long_header),
    Scenario("status-204", _bodiless(204)),
    Scenario("status-304", _bodiless(304, ("etag", '"loom"'))),
    Scenario("status-304-length", _bodiless(304, ("etag", '"loom"'), ("content-length", "4711"))),
    Scenario("status-302", _status_302),
    Scenario("head-with-length", _head_with_length),
    Scenario("http10", _http10),
)
