"""Where the texts lie that a model said in pieces: in a stream, the deltas of each block."""

import re
from collections.abc import Iterator

SIGN = b"content_block_delta"
_INDEX = re.compile(rb'"index":\s*([0-9]+)')
_DELTA = re.compile(rb'"(?:text|thinking|partial_json)":\s*"((?:[^"\\]++|\\.)*+)(?:"|\\?\Z)', re.DOTALL)
_BLANK = re.compile(rb"\n\r?\n")
Places = list[tuple[int, int]]


def texts(stream: bytes) -> dict[bytes, Places]:
    """The pieces of each text by its index, and last all that is between; a stream may break off anywhere."""
    said, between = dict[bytes, Places](), Places()
    done = 0
    for begin, end in _frames(stream):
        index, delta = _INDEX.search(stream, begin, end), _DELTA.search(stream, begin, end)
        if index and delta and (delta.end() < end or end == len(stream)):
            said.setdefault(index[1], []).append(delta.span(1))
            between.append((done, delta.start(1)))
            done = delta.end(1)
    return {**said, b"": [*between, (done, len(stream))]}


def _frames(stream: bytes) -> Iterator[tuple[int, int]]:
    """Where the frames lie that have a delta."""
    done, at = 0, stream.find(SIGN)
    while at >= 0:
        blank = _BLANK.search(stream, at)
        end = blank.start() if blank else len(stream)
        yield max(done, stream.rfind(b"\n\n", done, at), stream.rfind(b"\n\r\n", done, at)), end
        done, at = end, stream.find(SIGN, end)
