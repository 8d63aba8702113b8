import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.lookup import Memory, Provenance, Question
from loom_shell.memory.answered import MOST_ITEMS, NonsenseError, Several, Told, is_id, one, several, stored

ITEM = {"id": "m-1", "content": "The loom.", "created_at": "2025-03-07T09:00:00Z", "tags": [], "score": 2}
AT = 1_741_338_000_000_000_000


def body(**changed: object) -> bytes:
    return json.dumps({**ITEM, **changed}).encode()


@pytest.mark.spec("memory.remote")
def test_a_memory_is_read_with_what_its_tags_say() -> None:
    assert one(body()) == Told(Memory("m-1", "The loom.", AT, Provenance.ASSISTANT, 2.0))
    tagged = one(body(id=7, tags=["x", 3, "provenance:web", "scope:alpha:b", None]))
    assert tagged == Told(Memory("7", "The loom.", AT, Provenance.WEB, 2.0), "alpha:b")


@pytest.mark.parametrize(
    ("told", "at"),
    [
        ("2025-03-07T09:00:00+00:00", AT),
        ("2025-03-07T10:00:00+01:00", AT),
        ("2025-03-07T09:00:00.000001", AT + 1_000),
        ("2025-03-07", AT - 9 * 3_600_000_000_000),
    ],
)
def test_a_moment_without_a_zone_is_utc(told: str, at: int) -> None:
    assert stored(json.dumps({"id": 1, "created_at": told}).encode()) == ("1", at)


@pytest.mark.spec("memory.remote-bounds")
@pytest.mark.parametrize(
    "changed",
    [
        {"id": None},
        {"id": ""},
        {"id": "a/b"},
        {"id": "a" * 65},
        {"id": "\u0663"},
        {"id": True},
        {"content": None},
        {"content": ""},
        {"content": " \n"},
        {"content": "ä" * 32_769},
        {"created_at": 1},
        {"created_at": "yesterday"},
        {"created_at": "9999-99-99"},
        {"created_at": "1969-12-31T23:59:59"},
        {"created_at": "9999-01-01"},
        {"created_at": "0001-01-01T00:00:00+23:59"},
        {"score": -1},
        {"score": 1e10},
        {"score": "high"},
        {"tags": "provenance:web"},
        {"tags": ["provenance:king"]},
    ],
)
def test_an_odd_memory_is_nonsense_and_left_out_of_a_list(changed: dict[str, object]) -> None:
    with pytest.raises(NonsenseError):
        one(body(**changed))
    found = several(b'{"memories": [%s, %s]}' % (body(**changed), body()))
    assert ([it.memory.id for it in found.told], found.odd) == (["m-1"], 1)


@pytest.mark.spec("memory.remote-bounds")
def test_a_list_is_read_bare_or_named_and_no_longer_than_its_bound() -> None:
    assert len(several(b"[%s]" % body()).told) == 1
    assert several(b"{}") == Several()
    assert len(several(b"[%s]" % b",".join([body()] * (MOST_ITEMS + 5))).told) == MOST_ITEMS


@pytest.mark.spec("memory.remote-forgotten", "memory.remote-bounds")
@pytest.mark.parametrize(
    ("told", "ids"),
    [(None, ()), ("4", ()), ({}, ()), ([4, "m-1", True, 2.0, None, "a/b", [], "x" * 65], ("4", "m-1"))],
)
def test_what_a_list_says_is_forgotten_is_read_where_it_makes_sense(
    told: object, ids: tuple[str, ...]
) -> None:
    assert several(json.dumps({"memories": [], "forgotten": told}).encode()).forgotten == ids


@pytest.mark.spec("memory.remote-bounds")
@pytest.mark.parametrize(
    "answer",
    [b"", b"null", b"3", b'{"memories": 3}', b"<html>", b'{"memories": [', b"\xff\xfe", b"[" * 100_000],
)
def test_what_is_no_list_is_nonsense(answer: bytes) -> None:
    for read in (several, one, stored):
        with pytest.raises(NonsenseError):
            read(answer)


@pytest.mark.spec("memory.remote-bounds")
def test_nesting_without_end_inside_a_memory_is_nonsense_of_that_memory() -> None:
    deep = b'{"id": "1", "created_at": "2025-03-07", "tags": ' + b"[" * 2_000 + b"]" * 2_000 + b"}"
    with pytest.raises(NonsenseError):
        one(deep)


@pytest.mark.spec("memory.redacted")
def test_a_secret_in_an_answer_is_taken_out() -> None:
    assert one(body(content="sk-ant-abcdef123456")).memory.text == "[redacted: anthropic key]"


@pytest.mark.spec("memory.remote-bounds")
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*ITEM, "memories", "x"]), inner, max_size=5)
        ),
        max_leaves=12,
    )
)
def test_no_answer_raises_anything_else(value: Any) -> None:  # noqa: ANN401 - any JSON at all
    answer = json.dumps(value).encode()
    for read in (several, one, stored):
        try:
            read(answer)
        except NonsenseError:
            continue


@pytest.mark.spec("memory.wanted")
@pytest.mark.parametrize(
    ("question", "is_wanted"),
    [
        (Question("q"), True),
        (Question("q", scope="alpha"), True),
        (Question("q", scope="beta"), False),
        (Question("q", exclude=("2",)), True),
        (Question("q", exclude=("1",)), False),
        (Question("q", min_score=2.0), True),
        (Question("q", min_score=2.1), False),
        (Question("q", provenance=frozenset({Provenance.WEB})), False),
    ],
)
def test_a_memory_is_wanted_or_not(question: Question, *, is_wanted: bool) -> None:
    told = Told(Memory("1", "x", 1, Provenance.USER, 2.0), "alpha")
    assert told.is_wanted(question) is is_wanted


def test_everybodys_memory_is_wanted_in_every_scope() -> None:
    assert Told(Memory("1", "x", 1)).is_wanted(Question("q", scope="beta"))


@pytest.mark.parametrize(("text", "good"), [("a", True), ("A-1_b", True), ("", False), ("a b", False)])
def test_an_id_is_of_letters_digits_and_dashes(text: str, *, good: bool) -> None:
    assert is_id(text) is good
