import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.inspect.texts import NONE, Texts, visible
from tests.support.conversations import hostile


def test_a_text_has_one_place_and_an_empty_one_none() -> None:
    texts = Texts()
    assert [texts.add(it) for it in ("tea", "milk", "tea", "")] == [0, 1, 0, NONE]
    assert texts.listed == [("tea", 0), ("milk", 0)]


@pytest.mark.spec("inspect.cut")
def test_a_long_text_is_cut_and_says_how_long_it_was() -> None:
    texts = Texts()
    texts.add("a" * 30, 10)
    assert texts.listed == [("a" * 10, 30)]


def test_two_texts_of_one_beginning_have_places_of_their_own() -> None:
    texts = Texts()
    assert texts.add("abc" * 2, 3) != texts.add("abc" * 3, 3)


@pytest.mark.spec("inspect.bounded")
def test_there_is_room_until_it_is_spent() -> None:
    texts = Texts(most=10)
    texts.add("12345")
    assert texts.has_room
    texts.spend(5)
    assert not texts.has_room


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\u202egpj", "a⟨U+202E⟩gpj"),
        ("\x1b[2J\x00", "⟨U+001B⟩[2J⟨U+0000⟩"),
        ("\ud83d!", "⟨U+D83D⟩!"),
        ("one\r\ntwo\tthree", "one\ntwo\tthree"),
        ("a\rb", "a⟨U+000D⟩b"),
        ("über \N{GRINNING FACE}", "über \N{GRINNING FACE}"),
        ("\u200b\ufeff\U000e0041", "⟨U+200B⟩⟨U+FEFF⟩⟨U+E0041⟩"),
    ],
)
@pytest.mark.spec("inspect.visible")
def test_what_cannot_be_seen_is_shown_by_its_number(text: str, seen: str) -> None:
    assert visible(text) == seen


@given(st.one_of(hostile, st.text()))
@pytest.mark.spec("inspect.visible")
def test_what_is_shown_is_valid_text_that_keeps_its_direction(text: str) -> None:
    seen = visible(text)
    seen.encode()
    assert not set(seen) & set("\x00\x1b\x7f\x85\r\u200b\u2028\u202e\u2066\ufeff")
    assert visible(seen) == seen
