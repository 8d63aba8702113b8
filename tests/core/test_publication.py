import pytest

from loom_core.jsonl import RawLine
from loom_core.position import WITNESS, Position, digest
from loom_core.publication import (
    MAX_BYTES,
    MAX_LINES,
    ROOM_BYTES,
    ROOM_LINES,
    Source,
    Unpublished,
    batch,
    has_room,
    unpublished,
)

SOURCE = Source("s-1", "/p/s-1.jsonl", "7")


def made(data: bytes, offset: int = 0, source: Source = SOURCE) -> Unpublished:
    (one,) = unpublished(source, (RawLine(offset, offset + len(data) + 1, data),))
    return one


def sized(size: int) -> Unpublished:
    return made(b'"' + b"x" * (size - 2) + b'"')


@pytest.mark.spec("transcripts.publish")
def test_a_line_has_the_fields_of_the_bus_and_the_position_behind_it() -> None:
    data = b'{"type":"user","sessionId":"another","message":{"role":"user","content":[{"type":"text"}]}}'
    line, position = made(data, 40).line, made(data, 40).position
    assert (line.session, line.kind, line.role, line.content_types) == ("s-1", "user", "user", ("text",))
    assert (line.raw, line.file, line.offset) == (data, "/p/s-1.jsonl", 40)
    assert position == Position(40 + len(data) + 1, "7", digest(data + b"\n"), len(data) + 1)


@pytest.mark.spec("transcripts.position")
def test_the_last_bytes_of_a_long_line_are_its_witness() -> None:
    data = b'"' + b"x" * 1_000 + b'y"'
    position = made(data).position
    assert (position.witness, position.witnessed) == (digest((data + b"\n")[-WITNESS:]), WITNESS)


@pytest.mark.spec("transcripts.long", "transcripts.problem")
def test_lines_with_a_problem_are_published_and_blank_ones_are_not() -> None:
    lines = (
        RawLine(0, 1, b""),
        RawLine(1, 4, b" \r"),
        RawLine(4, 90, b"", too_long=True),
        RawLine(90, 92, b"{"),
        RawLine(92, 94, b"\xff"),
    )
    made_ = unpublished(SOURCE, lines)
    assert [(one.line.offset, one.line.raw) for one in made_] == [
        (4, b""),
        (90, b"{"),
        (92, "\ufffd".encode()),
    ]
    assert made_[0].position == Position(90, "7", digest(b"\n"), 1)


@pytest.mark.spec("transcripts.id")
def test_a_line_is_known_by_its_uuid_else_by_where_and_what_it_is() -> None:
    assert made(b'{"uuid":"u-1"}').line.line_id == "u-1"
    ids = [
        made(b'{"a":1}').line.line_id,
        made(b'{"a":2}').line.line_id,
        made(b'{"a":1}', 8).line.line_id,
        made(b'{"a":1}', source=Source("s-1", "/p/other.jsonl", "7")).line.line_id,
    ]
    assert len(set(ids)) == 4
    assert ids[2].endswith(":8")
    assert made(b'{"a":1}', source=Source("s-1", "/p/s-1.jsonl", "8")).line.line_id == ids[0]


@pytest.mark.spec("transcripts.id")
def test_a_path_that_is_no_text_has_ids_too() -> None:
    assert made(b"{}", source=Source("s-1", "/p/\udcff.jsonl", "7")).line.line_id


@pytest.mark.spec("transcripts.batch")
def test_a_batch_is_bounded_in_lines_and_bytes_and_is_never_empty() -> None:
    small, half, large = sized(9), sized(MAX_BYTES // 2), sized(2 * MAX_BYTES)
    assert batch(()) == ()
    assert batch((small,) * 1_000) == (small,) * MAX_LINES
    assert batch((half, half, half)) == (half, half)
    assert batch((large, small)) == (large,)
    assert batch((small, large, small)) == (small,)


@pytest.mark.spec("transcripts.held")
def test_there_is_room_below_a_number_of_lines_and_of_bytes() -> None:
    small, large = sized(9), sized(ROOM_BYTES // 2)
    assert has_room((), ())
    assert has_room((small,) * (ROOM_LINES - 1))
    assert not has_room((small,), (small,) * (ROOM_LINES - 1))
    assert has_room((large,), (small,))
    assert not has_room((large,), (large,))
