import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.meter import Figures
from loom_shell.simulator.answers import LAST_WORDS, answer
from loom_shell.simulator.frames import message_json
from loom_shell.simulator.summary import LONGEST, NOTHING, asks_for_summary, facts, summary
from tests.shell.simulator.raw import PROMPT, TOOL

ASK = "Sum it all up between <summary> and </summary>."
CALLED = {
    "role": "assistant",
    "content": [
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "name": "look"},
        {"type": "tool_use", "name": "look"},
    ],
}
RESULT = {"type": "tool_result", "content": "a loom"}
KEYS = ("role", "content", "text", "type", "name", "messages")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(ASK),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=12,
)


def user(*texts: str) -> dict[str, object]:
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


def body(*messages: object) -> dict[str, object]:
    return {**PROMPT, "messages": list(messages)}


@pytest.mark.spec("simulator.summary")
@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": ASK}],
        [user("hi"), CALLED, {"role": "user", "content": [RESULT, {"type": "text", "text": ASK}]}],
        [user("hi", ASK), {"role": "system", "content": "Today is Monday."}],
    ],
)
def test_it_is_asked_for_by_tags_in_the_last_user_message(messages: list[object]) -> None:
    assert asks_for_summary(body(*messages))


@pytest.mark.spec("simulator.summary")
@pytest.mark.parametrize(
    "messages",
    [
        [user("hi")],
        [user(ASK), CALLED, user("go on")],
        [user("hi"), {"role": "assistant", "content": ASK}],
        [user("hi"), {"role": "system", "content": ASK}],
        [user("hi"), CALLED, {"role": "user", "content": [{"type": "tool_result", "content": ASK}]}],
        [],
        ["odd", {"role": "user"}, {"role": "user", "content": [4, {"text": 4}]}],
    ],
)
def test_tags_elsewhere_ask_for_nothing(messages: list[object]) -> None:
    assert not asks_for_summary(body(*messages))


@pytest.mark.spec("simulator.summary")
@pytest.mark.parametrize("more", [{}, {"thinking": {"type": "enabled"}}])
def test_who_asks_gets_text_in_tags_and_no_call(more: dict[str, object]) -> None:
    asked = {**body(user("hi"), user(ASK)), "tools": [TOOL], **more}
    said = answer(asked, 1, Figures())
    *thoughts, text = said.blocks
    assert said.stop_reason == "end_turn"
    assert [block["type"] for block in thoughts] == (["thinking"] if more else [])
    assert text == {"type": "text", "text": summary(asked)}
    assert summary(asked).startswith("<analysis>\n")
    assert f"</analysis>\n\n<summary>\n{facts(asked)}\n</summary>" in summary(asked)


def test_who_has_the_summary_gets_the_usual_answer() -> None:
    asked = {**body(user(ASK), {"role": "assistant", "content": "So."}, user("hi")), "tools": [TOOL]}
    assert answer(asked, 1, Figures()).stop_reason == "tool_use"
    assert answer(body(user("hi")), 1, Figures()).blocks[-1]["text"] == LAST_WORDS


@pytest.mark.spec("simulator.summary-facts")
def test_it_tells_what_the_conversation_began_with_and_what_ran() -> None:
    told = facts(body(user("<reminder>\n", "\nMend the loom.\nSoon."), CALLED, user("Now?"), user(ASK)))
    assert told == "1. It began with: Mend the loom.\n2. Messages so far: 4\n3. Tools that ran: look"


@pytest.mark.spec("simulator.summary-facts")
def test_of_an_empty_conversation_it_tells_that_nothing_was_typed() -> None:
    told = f"1. It began with: {NOTHING}\n2. Messages so far: 1\n3. Tools that ran: none"
    assert facts(body(user(ASK))) == told


def test_a_long_prompt_is_cut() -> None:
    assert facts(body(user("x" * 500))).splitlines()[0] == "1. It began with: " + "x" * LONGEST


def test_a_lone_surrogate_does_not_break_the_answer() -> None:
    odd = [{"type": "tool_use", "name": "\ud800"}]
    asked = body(user("a\ud800b"), {"role": "assistant", "content": odd}, user(ASK))
    assert b"a?b" in message_json(answer(asked, 1, Figures()))


@pytest.mark.spec("simulator.summary-facts")
@given(st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_any_request_gets_the_same_summary_twice(asked: dict[str, object]) -> None:
    assert isinstance(asks_for_summary(asked), bool)
    assert summary(asked) == summary(dict(asked))
    assert summary(asked).count("<summary>") == 1
