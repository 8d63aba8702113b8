import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.json_edit import JsonRefusedError, add, drop, find, parse, put, put_as_is, value

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=4)
LAYOUTS = st.sampled_from([None, 0, 1, 2, 4, "\t"])


@pytest.mark.spec("install.keeps")
@given(
    before=OBJECTS, layout=LAYOUTS, crlf=st.booleans(), name=st.text(min_size=5, max_size=8), wanted=VALUES
)
def test_what_was_put_in_can_be_dropped_to_the_byte(
    before: dict[str, object], layout: int | str | None, *, crlf: bool, name: str, wanted: object
) -> None:
    text = json.dumps(before, indent=layout) + "\n"
    text = text.replace("\n", "\r\n") if crlf else text
    once = put(text, (name,), wanted)
    assert json.loads(once) == {**before, name: wanted}
    assert list(json.loads(once)) == [*before, name]
    assert put(once, (name,), wanted) == once or wanted is None or isinstance(wanted, dict | list)
    assert drop(once, (name,)) == text
    deep = put(text, (name, "inner", "most"), wanted)
    assert json.loads(deep)[name] == {"inner": {"most": wanted}}
    assert drop(deep, (name,)) == text


@pytest.mark.spec("install.keeps")
@given(st.lists(VALUES, max_size=4), LAYOUTS, VALUES)
def test_what_was_added_can_be_dropped_to_the_byte(
    before: list[object], layout: int | str | None, item: object
) -> None:
    text = json.dumps({"a": {"b": before}, "z": 1}, indent=layout)
    once = add(text, ("a", "b"), item)
    assert json.loads(once) == {"a": {"b": [*before, item]}, "z": 1}
    assert drop(once, ("a", "b", len(before))) == text


@given(st.dictionaries(st.text(max_size=4), VALUES, min_size=1, max_size=5), LAYOUTS, st.data())
def test_any_member_can_be_dropped(
    before: dict[str, object], layout: int | str | None, draw: st.DataObject
) -> None:
    name = draw.draw(st.sampled_from(sorted(before)))
    after = json.loads(drop(json.dumps(before, indent=layout), (name,)))
    assert after == {key: it for key, it in before.items() if key != name}


def test_new_lines_take_the_layout_of_the_file() -> None:
    text = '{\n\t"a": {},\n\t"b": [1, 2]\n}\n'
    assert (
        put(text, ("a", "x"), {"y": 1})
        == '{\n\t"a": {\n\t\t"x": {\n\t\t\t"y": 1\n\t\t}\n\t},\n\t"b": [1, 2]\n}\n'
    )
    assert add(text, ("b",), 3) == '{\n\t"a": {},\n\t"b": [1, 2, 3]\n}\n'
    assert put('{"a":1}', ("b",), 2) == '{"a":1, "b": 2}'
    assert put("{}", ("a",), 1) == '{\n  "a": 1\n}'
    assert put('{\r\n  "a": {}\r\n}', ("a", "b"), 1) == '{\r\n  "a": {\r\n    "b": 1\r\n  }\r\n}'


def test_a_value_is_given_back_as_it_was_written() -> None:
    assert put_as_is('{"a": 1}', ("a",), '"\\u007f"') == '{"a": "\\u007f"}'
    assert put_as_is('{"a": 1}', ("b",), "1") == '{"a": 1}'
    with pytest.raises(JsonRefusedError):
        put_as_is('{"a": 1}', ("a",), '1, "b": 2')


def test_what_is_not_there_is_none_and_is_dropped_without_a_trace() -> None:
    text = '{"a": {"b": [1]}}'
    assert find(text, ("x", "y")) is None
    assert value(text, ("a", "b", 3)) is None
    assert value(text, ("a", "b", 0)) == 1
    for path in (("x",), ("x", "y"), ("a", "b", 3)):
        assert drop(text, path) == text


@pytest.mark.spec("install.refuses")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{\n  // why\n  "a": 1\n}', "line 2: a comment"),
        ('{\n  "a": 1, /* why */\n  "b": 2\n}', "line 2: a comment"),
        ('{"a": 1}\n# why', "line 2: a comment"),
        ('{\n  "a": 1,\n}', "line 2: a comma after the last entry"),
        ('{"a": [\n1,\n2,\n\n]}', "line 3: a comma after the last entry"),
        ('{\n  "a" 1}', "line 2, column 7: not JSON"),
        ("", "line 1, column 1: not JSON"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": ' + "[" * 100_000, "nested too deeply"),
        ('{"a": ' + "[" * 2_000 + "]" * 2_000 + "}", "nested too deeply"),
        ("{'a': 1}", "not JSON"),
    ],
    ids=range(11),
)
def test_what_is_not_json_is_refused_with_its_line(text: str, told: str) -> None:
    with pytest.raises(JsonRefusedError) as refused:
        parse(text)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@given(st.text(alphabet='{}[],:"\\/ 1ae\n#*'))
def test_any_text_is_parsed_as_json_says_or_refused(text: str) -> None:
    try:
        node = parse(text)
    except JsonRefusedError:
        with pytest.raises(ValueError):
            json.loads(text)
        return
    assert json.loads(text[node.start : node.end]) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": 1}', "a must be an object"),
        ("[]", "the whole must be an object"),
        ('{"a": {}, "a": {}}', "twice"),
        ('{"a": {"b": {}}}', "a.b must be an array"),
    ],
)
def test_a_place_that_cannot_be_edited_is_refused(text: str, told: str) -> None:
    with pytest.raises(JsonRefusedError, match=told):
        add(text, ("a", "b"), 1)
