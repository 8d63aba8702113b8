from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core import jsonl
from loom_core.jsonl import RawLine, Reader, feed

LIMIT = 32

CASES: dict[str, tuple[bytes, list[RawLine]]] = {
    "nothing": (b"", []),
    "no end": (b'{"a":1}', []),
    "one line": (b"{}\n", [RawLine(0, 3, b"{}")]),
    "several": (b"a\nbc\n", [RawLine(0, 2, b"a"), RawLine(2, 5, b"bc")]),
    "an end and a beginning": (b"a\nb", [RawLine(0, 2, b"a")]),
    "blank": (b"\n\na\n", [RawLine(0, 1, b""), RawLine(1, 2, b""), RawLine(2, 4, b"a")]),
    "CR stays": (b"a\r\n", [RawLine(0, 3, b"a\r")]),
    "other ends end nothing": ("a\u2028b\x0bc\n".encode(), [RawLine(0, 8, "a\u2028b\x0bc".encode())]),
    "bytes that are no text": (b"\xff\xfe\0\n", [RawLine(0, 4, b"\xff\xfe\0")]),
    "as long as may be": (b"x" * 32 + b"\n", [RawLine(0, 33, b"x" * 32)]),
    "too long": (b"x" * 33 + b"\ny\n", [RawLine(0, 34, b"", too_long=True), RawLine(34, 36, b"y")]),
    "too long behind another": (
        b"a\n" + b"x" * 70 + b"\nb\n",
        [RawLine(0, 2, b"a"), RawLine(2, 73, b"", too_long=True), RawLine(73, 75, b"b")],
    ),
    "too long without an end": (b"a\n" + b"x" * 99, [RawLine(0, 2, b"a")]),
}
EACH_CASE = pytest.mark.parametrize(("stream", "lines"), CASES.values(), ids=CASES)
streams = st.lists(
    st.sampled_from([b"\n", b"\n\n", b"\r\n", b"{}", b"x" * 9, b"y" * 31, b"z" * 70, b"\xff"]), max_size=30
).map(b"".join)


@pytest.fixture(autouse=True, scope="module")
def short_lines() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "MAX_LINE", LIMIT)
        yield


def read(*pieces: bytes, reader: Reader | None = None) -> tuple[Reader, list[RawLine]]:
    reader, found = reader or Reader(), []
    for piece in pieces:
        reader, lines = feed(reader, piece)
        found += lines
    return reader, found


@EACH_CASE
@pytest.mark.spec("transcripts.line", "transcripts.long")
def test_a_file_read_whole_gives_its_lines(stream: bytes, lines: list[RawLine]) -> None:
    assert read(stream)[1] == lines


@EACH_CASE
@pytest.mark.spec("transcripts.split")
def test_a_file_read_byte_by_byte_gives_the_same_lines(stream: bytes, lines: list[RawLine]) -> None:
    assert read(*(stream[at : at + 1] for at in range(len(stream))))[1] == lines


@given(streams, st.lists(st.integers(0, 300)))
@pytest.mark.spec("transcripts.split", "transcripts.line", "transcripts.long")
def test_any_split_gives_the_same_lines_and_they_are_those_of_the_file(
    stream: bytes, cuts: list[int]
) -> None:
    edges = sorted({0, len(stream), *(at % (len(stream) + 1) for at in cuts)})
    reader, lines = read(*(stream[begin:end] for begin, end in pairwise(edges)))
    whole, rest = stream.split(b"\n")[:-1], stream.rpartition(b"\n")[2]
    assert [line.too_long for line in lines] == [len(line) > LIMIT for line in whole]
    assert [line.data for line in lines] == [line if len(line) <= LIMIT else b"" for line in whole]
    assert [stream[line.offset : line.end] for line in lines] == [line + b"\n" for line in whole]
    assert reader.position == len(stream)
    assert (reader.offset, reader.size) == (len(stream) - len(rest), len(rest))
    assert reader.held.joined() == (rest if len(rest) <= LIMIT else b"")


@given(streams, streams)
@pytest.mark.spec("transcripts.line")
def test_reading_on_from_the_end_of_a_line_gives_the_lines_behind_it(before: bytes, after: bytes) -> None:
    known = len(before + b"\n")
    _, lines = read(before + b"\n" + after)
    assert read(after, reader=Reader(known))[1] == [line for line in lines if line.offset >= known]


@pytest.mark.spec("transcripts.bounded")
def test_of_a_line_that_never_ends_nothing_is_kept() -> None:
    reader, _ = read(*[b"x" * 7] * 1000)
    assert reader.size == 7000
    assert reader.held.size == 0
