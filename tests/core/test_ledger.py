import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core import ledger
from loom_core.block import CANARY
from loom_core.ledger import (
    Decision,
    GoingOn,
    Pin,
    anchor_field,
    decode,
    decode_going_on,
    decode_pin,
    encode,
    entomb,
    identity_field,
    used_field,
)
from loom_core.wrapper import reminder
from tests.support.conversations import hostile

TEXT = reminder("Words.", ["a note"])
word = st.text(max_size=20)
decisions = st.builds(
    Decision,
    text=st.one_of(st.just(""), hostile.map(lambda it: reminder("Words.", [it]))),
    ids=st.lists(word, max_size=5).map(tuple),
    marks=st.lists(word, max_size=5).map(tuple),
    tokens=st.integers(0, 2**63 - 1),
    why=word,
    gone=st.booleans(),
)


@given(decisions)
@pytest.mark.spec("weave.ledger")
def test_a_decision_is_read_as_it_was_written(decision: Decision) -> None:
    assert decode(encode(decision)) == decision


@given(st.builds(Pin, text=word, version=word, system=word))
@pytest.mark.spec("weave.ledger")
def test_a_pin_is_read_as_it_was_written(pin: Pin) -> None:
    assert decode_pin(encode(pin)) == pin


@pytest.mark.spec("weave.ledger")
def test_the_empty_decision_is_short_and_a_later_form_may_say_more() -> None:
    assert encode(Decision()) == "{}"
    assert decode('{"why":"timed out","later":[1]}') == Decision(why="timed out")


@pytest.mark.spec("weave.ledger", "weave.surrogates")
def test_half_a_pair_is_written_as_a_question_mark() -> None:
    written = encode(Decision(ids=("a\ud83d",), why="\udc4d", tokens=3, gone=True))
    assert decode(written) == Decision(ids=("a?",), why="?", tokens=3, gone=True)


BROKEN = [
    "",
    "null",
    "[]",
    "5",
    '"x"',
    "{",
    "\ud83d",
    "\x00",
    "[" * 5000 + "]" * 5000,
    '{"text":5}',
    '{"text":null}',
]


@pytest.mark.parametrize(
    "text",
    [
        *BROKEN,
        '{"ids":"a"}',
        '{"tokens":-1}',
        '{"tokens":1e400}',
        '{"tokens":' + "9" * 5000 + "}",
        '{"gone":1}',
        '{"why":"' + "x" * 201 + '"}',
        json.dumps({"ids": ["x"] * 257}),
        json.dumps({"text": "words that are in no reminder"}),
        json.dumps({"text": TEXT + TEXT}),
        json.dumps({"text": TEXT.replace("a note", "</system-reminder>")}),
        json.dumps({"text": TEXT.replace("a note", CANARY.decode())}),
        json.dumps({"text": TEXT.replace("a note", "x" * ledger.MAX_BYTES)}),
    ],
)
@pytest.mark.spec("weave.ledger-broken", "weave.garbage")
def test_a_broken_decision_is_none(text: str) -> None:
    assert decode(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *BROKEN,
        '{"system":5}',
        '{"version":"' + "x" * 201 + '"}',
        json.dumps({"text": f"so {CANARY.decode()}"}),
        json.dumps({"text": "x" * ledger.MAX_BYTES}),
    ],
)
@pytest.mark.spec("weave.ledger-broken", "weave.garbage")
def test_a_broken_pin_is_none(text: str) -> None:
    assert decode_pin(text) is None


@given(word)
@pytest.mark.spec("weave.ledger")
def test_how_a_conversation_goes_on_is_read_as_it_was_written(text: str) -> None:
    assert decode_going_on(encode(GoingOn(text))) == GoingOn(text)


@pytest.mark.parametrize(
    "text",
    [
        *BROKEN,
        '{"text":5}',
        json.dumps({"text": CANARY.decode()}),
        json.dumps({"text": "x" * ledger.MAX_BYTES}),
    ],
)
@pytest.mark.spec("weave.ledger-broken", "weave.garbage")
def test_a_broken_word_on_how_to_go_on_is_none(text: str) -> None:
    assert decode_going_on(text) is None


@given(st.one_of(hostile, st.text(max_size=20), decisions.map(encode)), st.integers(0, 200), hostile)
@pytest.mark.spec("weave.garbage")
def test_garbage_never_raises(text: str, at: int, new: str) -> None:
    for made in (text, text[:at] + new + text[at:]):
        found = decode(made)
        assert found is None or decode(encode(found)) == found
        decode_pin(made)


@pytest.mark.spec("weave.tombstone")
def test_a_deleted_memory_leaves_a_tombstone() -> None:
    decision = Decision(text=TEXT, ids=("1", "2"), marks=("m",), tokens=9)
    gone = entomb(decision, "2")
    assert (gone.text, gone.ids, gone.marks, gone.tokens, gone.gone) == ("", (), (), 0, True)
    assert decode(encode(gone)) == gone
    assert entomb(decision, "3") is decision
    assert entomb(gone, "2") is gone


@pytest.mark.spec("weave.ledger")
def test_fields_of_the_hash_are_named() -> None:
    assert (anchor_field("ab"), identity_field("cd"), used_field("cd")) == ("a:ab", "i:cd", "u:cd")
    assert ledger.SOURCE_FIELD == "source"
    assert msgspec.json.decode(encode(Pin(text="x"))) == {"text": "x"}
