import re
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core import sse
from loom_core.sse import Frame, Reader, feed

BOM = b"\xef\xbb\xbf"

# Each case: the stream, and the frames a browser would deliver of it.
CASES: dict[str, tuple[bytes, list[Frame]]] = {
    "nothing": (b"", []),
    "one frame": (b"event: ping\ndata: {}\n\n", [Frame(b"ping", b"{}")]),
    "CR": (b"event: a\rdata: 1\r\rdata: 2\r\r", [Frame(b"a", b"1"), Frame(b"", b"2")]),
    "CR LF": (b"event: a\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n", [Frame(b"a", b"1"), Frame(b"", b"2")]),
    "LF, CR and CR LF mixed": (
        b"data: 1\n\rdata: 2\r\n\ndata: 3\r\r\ndata: 4\n\r\n",
        [Frame(b"", value) for value in (b"1", b"2", b"3", b"4")],
    ),
    "CR LF after CR LF is no blank line": (b"data: 1\r\ndata: 2\r\n\r\n", [Frame(b"", b"1\n2")]),
    "without the space": (b"event:a\ndata:1\ndata: 2\n\n", [Frame(b"a", b"1\n2")]),
    "one space only": (b"data:  1\n\n", [Frame(b"", b" 1")]),
    "names without a colon": (b"event: a\nevent\ndata\ndata\n\n", [Frame(b"", b"\n")]),
    "empty data": (b"data:\n\n", [Frame(b"", b"")]),
    "the last event name": (b"event: a\nevent: b\ndata: 1\n\n", [Frame(b"b", b"1")]),
    "the name ends with its frame": (
        b"event: a\ndata: 1\n\ndata: 2\n\n",
        [Frame(b"a", b"1"), Frame(b"", b"2")],
    ),
    "comments": (b": keep-alive\n\n:data: 0\ndata: 1\n: x\n\n", [Frame(b"", b"1")]),
    "other fields": (b"id: 7\ndatum: 1\nevents: a\ndata: 1\n\n", [Frame(b"", b"1")]),
    "a comment and another field inside": (b"event: a\n: x\nid: 7\ndata: 1\n\n", [Frame(b"a", b"1")]),
    "a name alone": (b"event: ping\n\ndata: 1\n\n", [Frame(b"", b"1")]),
    "blank lines": (b"\n\n\n\ndata: 1\n\n\n\n\ndata: 2\n\n", [Frame(b"", b"1"), Frame(b"", b"2")]),
    "a mark at the start": (BOM + b"data: 1\n\n", [Frame(b"", b"1")]),
    "a second mark": (BOM + BOM + b"data: 1\n\ndata: 2\n\n", [Frame(b"", b"2")]),
    "a mark later on": (b"data: 1\n\n" + BOM + b"data: 2\n\n", [Frame(b"", b"1")]),
    "a mark after a blank line": (b"\n" + BOM + b"data: 1\n\n", []),
    "a mark inside": (b"data: " + BOM + b"\n\n", [Frame(b"", BOM)]),
    "half a mark": (BOM[:2] + b"\ndata: 1\n\n", [Frame(b"", b"1")]),
    "a mark and no more": (BOM, []),
    "unfinished": (b"data: 1\n\ndata: 2\n", [Frame(b"", b"1")]),
    "unfinished in a line": (b"data: 1\n\ndata: 2", [Frame(b"", b"1")]),
    "multi-byte text": ("data: ü–😀\n\n".encode(), [Frame(b"", "ü–😀".encode())]),
    "zero bytes": (b"data: \0\n\n", [Frame(b"", b"\0")]),
    "too long": (b"data: " + b"x" * 40 + b"\n\ndata: 2\n\n", [Frame(b"", b"2")]),
    "too long, with CR LF": (b"data: " + b"x" * 40 + b"\r\n\r\ndata: 2\r\n\r\n", [Frame(b"", b"2")]),
    "too long in two lines": (b"data: " + b"x" * 20 + b"\ndata: 12345\n\ndata: 2\n\n", [Frame(b"", b"2")]),
    "too long twice": (b"x" * 33 + b"\n\n" + b"y" * 70 + b"\n\n\ndata: 2\n\n", [Frame(b"", b"2")]),
    "just short enough": (b"data: " + b"x" * 26 + b"\n\n", [Frame(b"", b"x" * 26)]),
}
SKIPPED = {"too long": 1, "too long, with CR LF": 1, "too long in two lines": 1, "too long twice": 2}
EACH_CASE = pytest.mark.parametrize(("stream", "frames"), CASES.values(), ids=CASES)

WORDS = (b"\n", b"\r", b"\r\n", b"\n\n", b"data", b"data:", b"data: x", b"event: y", b":", b"z" * 9)
pieces = st.sampled_from([*WORDS, BOM, BOM[:1]])
streams = st.lists(pieces, max_size=40).map(b"".join) | st.binary(max_size=60)


@pytest.fixture(autouse=True)
def _short_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_FRAME", 32)


def read(*chunks: bytes) -> tuple[Reader, list[Frame]]:
    reader, frames = Reader(), []
    for chunk in chunks:
        reader, more = feed(reader, chunk)
        frames += more
    return reader, frames


def single_bytes(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


@EACH_CASE
@pytest.mark.spec(
    "observer.lines",
    "observer.frame-fields",
    "observer.comments",
    "observer.bom",
    "observer.unfinished",
    "observer.oversize",
)
def test_a_stream_read_whole_gives_its_frames(stream: bytes, frames: list[Frame]) -> None:
    assert read(stream)[1] == frames


@EACH_CASE
@pytest.mark.spec("observer.lines", "observer.bom", "observer.oversize", "observer.split")
def test_a_stream_read_byte_by_byte_gives_the_same(stream: bytes, frames: list[Frame]) -> None:
    assert read(*single_bytes(stream)) == read(stream)


@EACH_CASE
@pytest.mark.spec("observer.split", "observer.unfinished")
def test_what_trails_behind_does_not_change_the_frames_before(stream: bytes, frames: list[Frame]) -> None:
    assert read(stream + b"data: trailing, without an end")[1] == frames
    assert read(stream, b"\xff")[1] == frames


@EACH_CASE
@pytest.mark.spec("observer.split")
def test_empty_chunks_change_nothing(stream: bytes, frames: list[Frame]) -> None:
    assert read(b"", stream, b"", b"") == read(stream)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.spec("observer.oversize")
def test_frames_too_long_are_counted(case: str) -> None:
    assert read(CASES[case][0])[0].skipped == SKIPPED.get(case, 0)


@given(streams, st.lists(st.integers(0, 100)))
@pytest.mark.spec("observer.split", "exchange.split")
def test_any_split_gives_the_same_frames_and_the_same_left_over(stream: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    chunks = [stream[a:b] for a, b in pairwise(edges)]
    assert read(*chunks) == read(stream)


@given(st.binary())
@pytest.mark.spec("observer.no-raise", "exchange.total")
def test_any_bytes_can_be_read(stream: bytes) -> None:
    read(stream)


@pytest.mark.spec("observer.oversize")
def test_of_a_frame_too_long_nothing_is_kept() -> None:
    reader, frames = read(b"data: ", *[b"x" * 10] * 1_000)
    assert (reader.rest, reader.skipping, frames) == (b"x", True, [])
    assert reader.skipped == 0, "it is counted once its end has come"


@pytest.mark.spec("observer.oversize")
def test_a_long_frame_of_a_usual_answer_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    long = b"x" * 1_500_000
    assert read(b"data: " + long + b"\n\n")[1] == [Frame(b"", long)]
    reader, frames = read(b"data: " + b"x" * 10_000_000 + b"\n\ndata: 2\n\n")
    assert (reader.skipped, frames) == (1, [Frame(b"", b"2")])


@pytest.mark.parametrize(
    "line",
    [
        b"data: " + b"event: " * 60_000,
        b"event: " * 60_000,
        b"event: a\n" * 50_000,
        b"event: a\ndata: b\n" * 25_000,
        b'data: {"text":"' + b"event: a\\ndata: " * 25_000 + b'"}',
    ],
)
@pytest.mark.spec("observer.bomb-effort")
def test_beginnings_of_frames_by_the_thousand_cost_no_more_than_other_bytes(
    monkeypatch: pytest.MonkeyPatch, line: bytes
) -> None:
    """Each of them looked at to the end of all the others would take minutes."""
    monkeypatch.undo()
    began = time.thread_time()
    feed(Reader(), line + b"\n\n")
    feed(Reader(), line)
    assert time.thread_time() - began < 2.0


frames = st.sampled_from(
    [
        b"event: a\ndata: b\n\n",
        b"event: \ndata: \n\n",
        b"data: x\n\n",
        b"event: a\ndata: b\n",
        b"\n",
        b"\n\n",
        b"x",
    ]
)


@given(st.lists(frames | pieces, max_size=30).map(b"".join))
@pytest.mark.spec("observer.split")
def test_the_short_way_takes_the_same_frames_as_the_long_one(stream: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sse, "MAX_FRAME", 2_000)
        short = read(stream)
        patch.setattr(sse, "_PLAIN", re.compile(b"(?!)"))
        assert read(stream) == short
