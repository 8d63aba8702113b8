import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.position import WITNESS, Position, decode, digest, encode

positions = st.integers(1, 2**63 - 1).flatmap(
    lambda offset: st.builds(
        Position, st.just(offset), st.text("0123456789:"), st.text("0123456789abcdef"), st.integers(0, 1)
    )
)


@given(positions)
@pytest.mark.spec("transcripts.position")
def test_a_position_is_read_as_it_was_written_and_written_the_same_each_time(position: Position) -> None:
    assert decode(encode(position)) == position
    assert encode(decode(encode(position))) == encode(position)


def test_no_position_is_written_as_nothing() -> None:
    assert encode(Position()) == ""
    assert decode("") == Position()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "7",
        "[]",
        "\ud800",
        "[" * 100_000,
        '{"offset":"7"}',
        '{"offset":-1}',
        '{"offset":9223372036854775808}',
        '{"offset":9,"witnessed":10}',
        '{"offset":9,"witnessed":-1}',
        f'{{"offset":9999,"witnessed":{WITNESS + 1}}}',
    ],
)
@pytest.mark.spec("transcripts.position")
def test_a_text_that_is_no_position_reads_as_none(text: str) -> None:
    assert decode(text) == Position()


def test_a_digest_tells_bytes_apart() -> None:
    assert digest(b"a") == digest(b"a") != digest(b"b")
    assert len(digest(b"")) == 24
