import pytest

from loom_core.jsonl import Reader
from loom_core.position import WITNESS, Position, digest
from loom_core.tail import READ, Tail, resumed

TEXT = b'{"a":1}\n{"b":2}\n{"c"'
AT = Position(16, "7", digest(TEXT[8:16]), 8)


def test_reading_on_begins_with_what_was_read_last() -> None:
    tail, lines = Tail("7").fed(TEXT)
    assert [line.data for line in lines] == [b'{"a":1}', b'{"b":2}']
    assert (tail.begins, tail.most, tail.known) == (0, len(TEXT) + READ, TEXT)
    tail, lines = tail.fed(TEXT + b":3}\n")
    assert [(line.offset, line.data) for line in lines] == [(16, b'{"c":3}')]


@pytest.mark.spec("transcripts.bounded")
def test_of_what_was_read_little_is_known() -> None:
    tail, _ = Tail("7").fed(b"x" * 1_000)
    assert (tail.begins, len(tail.known)) == (1_000 - WITNESS, WITNESS)
    tail, _ = tail.fed(tail.known + b"y")
    assert tail.known == b"x" * (WITNESS - 1) + b"y"


@pytest.mark.parametrize(
    ("file", "size", "data", "goes_on"),
    [
        ("7", 20, TEXT, True),
        ("7", 24, TEXT + b":3}\n", True),
        ("8", 20, TEXT, False),
        ("7", 19, TEXT[:-1], False),
        ("7", 19, TEXT, False),
        ("7", 0, b"", False),
        ("7", 24, TEXT[:-1] + b"?more", False),
    ],
)
@pytest.mark.spec("transcripts.anew")
def test_a_file_goes_on_if_it_still_is_what_was_read(
    file: str, size: int, data: bytes, *, goes_on: bool
) -> None:
    tail, _ = Tail("7").fed(TEXT)
    assert tail.goes_on(file, size, data) is goes_on


@pytest.mark.parametrize(
    ("position", "file", "size", "data", "found"),
    [
        (Position(), "7", 20, TEXT, Tail("7")),
        (AT, "7", 20, TEXT[8:], Tail("7", Reader(16), TEXT[8:16])),
        (AT, "7", 16, TEXT[8:16], Tail("7", Reader(16), TEXT[8:16])),
        (AT, "8", 20, TEXT[8:], None),
        (AT, "7", 15, TEXT[8:15], None),
        (AT, "7", 15, TEXT[8:16], None),
        (AT, "7", 20, b'{"b":3}\n{"c"', None),
    ],
)
@pytest.mark.spec("transcripts.resume", "transcripts.anew")
def test_a_file_is_resumed_where_it_was_left_if_it_is_the_same(
    position: Position, file: str, size: int, data: bytes, found: Tail | None
) -> None:
    assert resumed(position, file, size, data) == found
