import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core import wire
from loom_core.wire import Edit, Item, Message, Range

NO_JSON = [
    b"",
    b"x",
    b'{"a":1',
    b'{"a":1}}',
    b'{"a":1,}',
    b'{"a" 1}',
    b'{"a":01}',
    b'{"a":"\n"}',
    b'{"a":"\\x"}',
    b"\xef\xbb\xbf{}",
    b'{"\xff":1}',
    b"[" * 100_000,
    b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
]
REPEATED = [
    b'{"a":1,"a":1}',
    b'{"a":1,"a":12}',
    b'{"a":12,"a":1}',
    b'{"a":1,"b":2,"a":1}',
    b'{"b":2,"a":1,"a":1}',
    b'{"a":1,"\\u0061":1}',
    b'{"a":{"a":1},"a":{"a":1}}',
]

words = st.text(st.characters(codec="utf-8") | st.sampled_from('\ud800\\"/{}[],: \n'), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
styles = st.sampled_from(
    [{}, {"separators": (",", ":")}, {"indent": 2}, {"indent": "\t"}, {"separators": (" , ", " : ")}]
)


def written(value: object, style: dict[str, Any], around: str = "") -> bytes:
    return (around + json.dumps(value, **style) + around).encode()


@pytest.mark.spec("metadata.untouched")
def test_no_edits_give_the_very_same_object() -> None:
    body = bytes(bytearray(b'{"a":1}'))
    assert wire.apply(body, ()) is body
    assert wire.apply(body, []) is body


@pytest.mark.spec("metadata.untouched")
def test_edits_change_their_ranges_and_nothing_else() -> None:
    edits = (Edit(8, 8, b"!"), Edit(0, 1), Edit(3, 5, b"xyz"), Edit(5, 5, b"+"), Edit(5, 6))
    assert wire.apply(b"01234567", edits) == b"12xyz+67!"


@given(st.binary(max_size=30), st.lists(st.tuples(st.integers(0, 30), st.binary(max_size=3)), max_size=6))
@pytest.mark.spec("metadata.untouched")
def test_edits_are_made_in_the_order_of_the_body(body: bytes, given_edits: list[tuple[int, bytes]]) -> None:
    edges = sorted({min(at, len(body)) for at, _ in given_edits})
    edits = [Edit(a, b, new) for (a, b), (_, new) in zip(pairwise(edges), given_edits, strict=False)][::2]
    expected, done = b"", 0
    for edit in edits:
        expected += body[done : edit.start] + edit.new
        done = edit.end
    assert wire.apply(body, edits[::-1]) == expected + body[done:]


@given(st.dictionaries(words, values), styles, st.sampled_from(["", " \n\t\r"]))
@pytest.mark.spec("metadata.exact")
def test_the_ranges_of_an_object_hold_its_values(
    value: dict[str, Any], style: dict[str, Any], around: str
) -> None:
    body = written(value, style, around)
    ranges = wire.shaped(body)[1]
    assert ranges is not None
    assert [json.loads(at.of(body)) for at in ranges.values()] == list(value.values())
    if "\ud800" not in str(value):
        assert list(ranges) == list(value)


@given(st.lists(values), styles, st.sampled_from(["", " \n\t\r"]))
@pytest.mark.spec("metadata.exact")
def test_the_ranges_of_an_array_hold_its_elements(
    value: list[Any], style: dict[str, Any], around: str
) -> None:
    body = written({"a": value}, style, around)
    shape, top = wire.shaped(body)
    assert top is not None
    ranges = wire.elements(shape, top["a"])
    assert ranges is not None
    assert [json.loads(at.of(body)) for at in ranges] == value
    assert all(at.of(body) == at.of(body).strip() for at in ranges)


@pytest.mark.parametrize("body", NO_JSON, ids=lambda body: repr(body[:12]))
@pytest.mark.spec("metadata.no-json")
def test_what_is_not_json_has_no_ranges(body: bytes) -> None:
    assert wire.shaped(body)[1] is None
    assert wire.elements(body, Range(0, len(body))) is None
    assert wire.message(body, Range(0, len(body))) is None


@pytest.mark.parametrize("body", REPEATED)
@pytest.mark.spec("metadata.repeated-keys")
def test_an_object_with_a_repeated_key_has_no_ranges(body: bytes) -> None:
    assert wire.shaped(body)[1] is None
    outer = wire.fields(b'{"x": ' + body + b"}")
    assert outer == {"x": Range(6, 6 + len(body))}, "it can be passed over"


@pytest.mark.parametrize(("wrong", "right"), [(b"[1]", b"{}"), (b'"a"', b" { } "), (b"null", b'{"a":null}')])
@pytest.mark.spec("metadata.exact")
def test_an_object_is_an_object_and_an_array_an_array(wrong: bytes, right: bytes) -> None:
    assert wire.fields(wrong) is None
    assert wire.fields(right) is not None
    assert wire.elements(right, Range(0, len(right))) is None
    assert wire.elements(b" [ ] ", Range(0, 5)) == []


def test_a_string_is_read_and_nothing_else_is() -> None:
    assert wire.string(b'"us\\u0065r"', Range(0, 11)) == "user"
    assert wire.string(b"12", Range(0, 2)) is None
    assert wire.string(b"", Range(0, 0)) is None


@given(st.binary() | st.lists(st.sampled_from([*b'{}[],:"\\ ua0', 0xFF])).map(bytes))
@pytest.mark.spec("metadata.no-raise")
def test_any_bytes_can_be_asked_for_ranges(body: bytes) -> None:
    whole = Range(0, len(body))
    for ranges in (wire.elements(body, whole), list((wire.fields(body) or {}).values())):
        for at in ranges or ():
            json.loads(at.of(body).decode("latin-1"))


@pytest.mark.parametrize(
    "escape",
    ["\\ud800", "\\uDFFF", "\\ud83d\\ude00", "\\\\ud800", "\\\\\\ud800", '\\ud800\\"', "\\udc00\\\\"],
)
@pytest.mark.spec("metadata.surrogates")
def test_surrogates_alone_hide_no_range(escape: str) -> None:
    body = f'{{"a":"x{escape}","b":[1,"{escape}"]}}'.encode()
    shape = wire.shaped(body)[0]
    ranges = wire.fields(shape)
    assert ranges is not None
    assert len(shape) == len(body)
    assert ranges["a"].of(body) == f'"x{escape}"'.encode()
    assert wire.elements(shape, ranges["b"]) is not None


def test_a_body_that_can_be_read_is_its_own_shape() -> None:
    body = b'{"a":"\\ud83d\\ude00"}'
    assert wire.shaped(body)[0] is body


@given(st.lists(st.integers(), max_size=6), st.sets(st.integers(0, 5)), styles)
@pytest.mark.spec("metadata.block-goes")
def test_elements_go_with_their_commas(numbers: list[int], gone: set[int], style: dict[str, Any]) -> None:
    body = written(numbers, style)
    items = wire.elements(body, Range(0, len(body)))
    assert items is not None
    left = wire.apply(body, wire.without(items, frozenset(gone)))
    assert json.loads(left) == [number for place, number in enumerate(numbers) if place not in gone]


def test_a_message_is_its_role_and_its_items() -> None:
    body = b'{"role":"user","content":"hi","more":[]}'
    assert wire.message(body, Range(0, len(body))) == Message("user", [Range(25, 29)], is_string=True)
    body = b'{"content":["a", {"type":"text"}],"role":"\\u0073ystem"}'
    assert wire.message(body, Range(0, len(body))) == Message(
        "system", [Range(12, 15), Range(17, 32)], is_string=False
    )
    for odd in (b'{"role":"user"}', b'{"content":"x"}', b'{"role":"user","content":null}', b"[]"):
        assert wire.message(odd, Range(0, len(odd))) is None
    body = b'{"role":5,"content":"x"}'
    message = wire.message(body, Range(0, len(body)))
    assert message is not None
    assert message.role == ""


def item(body: bytes) -> Item:
    return wire.item(body, Message("user", [], is_string=False), Range(0, len(body)))


def test_an_item_is_its_kind_its_text_and_its_marker() -> None:
    assert item(b'{"type":"text","text":"hi"}') == Item("text", Range(22, 26), None, marked=False)
    assert item(b'{"type":"text","text":5}') == Item("text", None, None, marked=False)
    assert item(b'{"type":"x","cache_control":{}}') == Item("x", None, Range(28, 30), marked=True)
    assert item(b'{"type":"x","cache_control":null}') == Item("x", None, Range(28, 32), marked=False)
    assert item(b'{"type":null}') == Item("", None, None, marked=False)


@pytest.mark.spec("metadata.marker-served")
def test_an_item_that_cannot_be_read_may_be_marked() -> None:
    assert item(b'{"text":"hi"}').marked
    assert item(b'{"type":"text","type":"text"}').marked
    assert item(b"5").marked
