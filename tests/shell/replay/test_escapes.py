import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.replay import escapes
from loom_shell.replay.escapes import (
    DEPTHS,
    LETTERS,
    MARGIN,
    depths,
    last_words,
    regions,
    seeking,
    string_ends,
    unescaped,
    whole,
)
from tests.support.planted import nested, read, written

SEEKS = seeking(LETTERS)


@given(st.data(), st.text(st.characters(codec="utf-8"), max_size=30))
def test_a_text_is_what_json_says_it_is(how: st.DataObject, text: str) -> None:
    form = how.draw(written(text))
    layer = unescaped(form)
    assert (layer.text if layer else form) == json.loads(f'"{form}"') == text


@given(st.text(st.sampled_from('\\u0061dnD8x"/'), max_size=40))
def test_whatever_it_is_each_place_is_found_again(text: str) -> None:
    for depth in depths(text):
        places = [depth.written(at) for at in range(len(depth.text) + 1)]
        assert places == sorted(set(places))
        assert (places[0], places[-1]) == (0, len(text))


def test_it_is_looked_at_as_deep_as_there_are_escapes_and_no_deeper_than_three() -> None:
    text = said = "\\ "
    for _ in range(4):
        text = json.dumps(text)[1:-1]
    found = list(depths(text))
    assert [it.number for it in found] == [1, 2, 3]
    assert len(found) == DEPTHS
    assert json.loads(f'"{found[-1].text}"') == said
    assert list(depths("tea")) == []


def test_a_backslash_that_begins_no_escape_stays() -> None:
    layer = unescaped("\\d\\u12 \\n\\")
    assert layer is not None
    assert layer.text == "\\d\\u12 \n\\"


def test_a_string_ends_at_a_quote_without_escape_at_any_depth() -> None:
    text = 'a\\"b":["c'
    assert string_ends(text, 0, len(text)) == 4
    assert string_ends(text, 0, 3) == 3
    (depth,) = depths(text)
    assert depth.text == 'a"b":["c'
    assert depth.ends(0, len(depth.text)) == 3
    assert depth.ends(6, 7) == 7


@pytest.mark.parametrize(
    ("text", "place", "found"),
    [
        ("a\\nb", (2, 4), (1, 4)),
        ("a\\\\nb", (3, 5), (3, 5)),
        ("\\u0061b", (4, 7), (0, 7)),
        ("ab\\u0061", (0, 3), (0, 8)),
        ("ab\\n", (0, 3), (0, 4)),
        ("ab", (0, 1), (0, 1)),
    ],
)
def test_no_place_cuts_an_escape(text: str, place: tuple[int, int], found: tuple[int, int]) -> None:
    assert whole(text, *place) == found


@pytest.mark.parametrize(
    "text", ["tea\\n" * 1000, 'C:\\\\tea\\"' * 1000, "\\u00e9\\u001b[0m" * 1000, "task-a\\n" * 1000]
)
def test_nothing_is_looked_through_where_escapes_have_no_part_in_what_may_be_a_secret(text: str) -> None:
    assert regions(text, {"sk-"}, SEEKS, MARGIN, []) == []


@pytest.mark.parametrize(
    "sign", ["\\u0073k-", "sk-a\\u0062", "KEY=\\n", ":\\/\\/", "sk-\\\\\\\\u0062", "\\u005c"]
)
def test_what_may_be_a_secret_is_looked_through_with_what_is_around_it(sign: str) -> None:
    text = "tea " * 500 + sign + " tea" * 500
    ((begin, end),) = regions(text, {"sk-", "KEY="}, SEEKS, MARGIN, [])
    assert begin + MARGIN <= text.index(sign) <= begin + 2 * MARGIN
    assert text.index(sign) + len(sign) < end < len(text) - 1000


def test_regions_that_meet_are_one() -> None:
    text = "\\u0061 tea" * 1000
    assert regions(text, set(), SEEKS, MARGIN, [(3, 9)]) == [(0, len(text))]


def test_for_marks_that_stand_close_to_each_other_ends_are_looked_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = list[int]()
    monkeypatch.setattr(escapes, "to", lambda text, at: asked.append(at) or min(at, len(text)))
    text = "KEY=\\n" * 10_000
    assert regions(text, {"KEY="}, SEEKS, MARGIN, []) == [(0, len(text))]
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("so sk-an", "sk-an"),
        ("so s\\u006b-an", "sk-an"),
        ("so s\\\\\\\\u006b-an\\\\\\\\u0", "sk-an"),
        ("so sk-an\\", "sk-an"),
    ],
)
def test_the_last_word_of_a_text_is_found_behind_its_escapes(text: str, word: str) -> None:
    assert (word, 3) in [(said[3:], written(3)) for said, written in last_words(text)]


@given(st.integers(1, 3), st.data())
def test_json_in_json_is_read_at_its_depth(depth: int, how: st.DataObject) -> None:
    text = how.draw(nested("tea", depth))
    assert read(text, depth) == "tea"
    assert any('"tea"' in it.text for it in depths(f'"{text}"')) or depth == 1
