import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.gathered import Gathered


def gathered(chunks: list[bytes]) -> Gathered:
    whole = Gathered()
    for chunk in chunks:
        whole = whole.add(chunk)
    return whole


@given(
    st.lists(st.binary(max_size=300) | st.sampled_from([b"", b"x" * 65_535, b"y" * 65_536, b"z" * 70_000]))
)
@pytest.mark.spec("exchange.bytes", "exchange.request")
def test_what_was_added_comes_back_in_order_with_its_size(chunks: list[bytes]) -> None:
    whole = gathered(chunks)
    assert whole.joined() == b"".join(chunks)
    assert whole.size == sum(map(len, chunks))


@pytest.mark.spec("exchange.linear")
def test_a_body_that_comes_byte_by_byte_is_kept_in_few_pieces_and_a_short_tail() -> None:
    whole = gathered([b"x"] * 200_000)
    assert [len(piece) for piece in whole.pieces] == [65_536] * 3
    assert len(whole.tail) == 200_000 - 3 * 65_536


@pytest.mark.spec("exchange.linear")
def test_large_chunks_become_pieces_and_are_not_copied_again() -> None:
    chunk = b"x" * 65_536
    once = Gathered().add(chunk)
    twice = once.add(chunk)
    assert (once.tail, twice.tail) == (b"", b"")
    assert twice.pieces[0] is once.pieces[0]


def test_adding_leaves_the_earlier_value_as_it_was() -> None:
    start = Gathered().add(b"a")
    assert start.add(b"b").joined() == b"ab"
    assert start.joined() == b"a"
