import json
from typing import Any

import pytest
from hypothesis import given

from loom_core.newest import MAX_RESULT, Newest, ToolResult, as_object, newest
from tests.support import conversations
from tests.support.behind import first
from tests.support.compactions import CASES, NEW_CLIENT, Case, continued, instruction

SAID = instruction(NEW_CLIENT)


def of(*messages: object, wants_last: bool = False, **fields: object) -> Newest:
    body = json.dumps({"messages": messages, **fields}).encode()
    return newest(body, None, wants_prompt=True, wants_last=wants_last)


def user(*content: object) -> dict[str, Any]:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def text(words: object) -> dict[str, object]:
    return {"type": "text", "text": words}


def result(tool: str, **more: object) -> dict[str, object]:
    return {"type": "tool_result", "tool_use_id": tool, **more}


@pytest.mark.spec("turn.results")
def test_a_tool_result_has_its_words_whatever_form_they_have() -> None:
    def said(content: object) -> str:
        (found,) = of(user({"type": "tool_result", "tool_use_id": "t", "content": content})).results
        return found.text

    assert said("plain") == "plain"
    picture = {"type": "image", "source": {"type": "base64", "data": "AAAA"}}
    assert said([{"type": "text", "text": "one"}, picture, {"type": "text", "text": "two"}]) == "one\n\ntwo"
    for odd in (None, [], 5, [None, {"type": "text", "text": 7}]):
        assert said(odd) == ""
    assert said("x" * (MAX_RESULT + 1)) == "x" * MAX_RESULT


@pytest.mark.spec("turn.call")
def test_the_prompt_is_the_last_text_a_person_typed() -> None:
    loop = (
        user(text("<system-reminder>be good</system-reminder>"), text("List files."), text("")),
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1"}]},
        user(result("t1", is_error=True), result("t2"), text("a hint")),
        {"role": "system", "content": "a reminder"},
    )
    found = of(*loop)
    assert found.prompt == "List files."
    assert found.results == (ToolResult("t1", is_error=True), ToolResult("t2", is_error=False))
    assert found.messages == 4
    assert of(user("one"), user("two")).prompt == "two"
    assert of(user("one"), user("<system-reminder>x</system-reminder>")).prompt == "one"
    assert of({"role": "user", "content": 5}, {"role": "user"}, 7).prompt == ""


@pytest.mark.parametrize("trigger", ["auto", "manual"])
@pytest.mark.spec("compact.no-prompt")
def test_a_summary_to_go_on_from_is_no_prompt(trigger: str) -> None:
    told = continued(NEW_CLIENT, trigger)
    assert of(user(told)).prompt == ""
    assert of(user(text("<system-reminder>x</system-reminder>"), text(told))).prompt == ""
    assert of(user(text(told), text("Go on."))).prompt == "Go on."
    assert of(user(f"See: {told}")).prompt == f"See: {told}"


@pytest.mark.parametrize(
    ("messages", "last"),
    [
        ((user(SAID),), SAID),
        ((user("one"), user(text("two"), text(SAID))), SAID),
        ((user(result("t"), text(SAID)), {"role": "system", "content": "noted"}), SAID),
        ((user(text(SAID), text("two")),), "two"),
        ((user(text(SAID), result("t")),), ""),
        ((user(SAID), {"role": "assistant", "content": "so"}), ""),
        ((user(SAID), {"role": "system", "content": "a"}, {"role": "system", "content": "b"}), ""),
        (({"role": "user", "content": []},), ""),
        (({"role": "user"}, 7), ""),
        ((), ""),
    ],
)
@pytest.mark.spec("compact.place")
def test_the_last_words_are_those_that_the_last_user_message_ends_with(
    messages: tuple[object, ...], last: str
) -> None:
    assert of(*messages, wants_last=True).last == last
    broken = of(*messages, x="\ud800", wants_last=True)
    assert broken.last == last, "also where the body can be read only after mending"


@pytest.mark.spec("compact.signals")
def test_the_last_words_are_read_where_they_may_compact() -> None:
    assert of(user("Tea?")).last == ""
    assert of(user("Tea?"), wants_last=True).last == "Tea?"
    for case in CASES:
        asked = newest(case.body(), None, wants_prompt=False, wants_last=False)
        assert asked.last == case.said


@given(conversations.conversations(), conversations.sent)
@pytest.mark.spec("turn.call-new", "compact.signals")
def test_what_is_behind_changes_nothing(
    messages: list[conversations.Message], how: conversations.Sent
) -> None:
    for case in (CASES[0], CASES[-1]):
        body = conversations.body([*messages, *case.messages], how)
        whole = newest(body, None, wants_prompt=True, wants_last=True)
        assert whole.last == case.said
        for count in range(len(messages) + len(case.messages)):
            assert newest(body, first(body, count), wants_prompt=True, wants_last=True) == whole


@pytest.mark.spec("turn.call")
def test_lone_surrogates_and_garbage_read_as_something() -> None:
    body = rb'{"model":"m","messages":[{"role":"user","content":"a \ud800 b"}],"tools":[{}]}'
    found = newest(body, None, wants_prompt=True, wants_last=True)
    assert (found.prompt, found.last, found.model, found.offers) == ("a \ufffd b", "a \ufffd b", "m", True)
    assert as_object(b"[") == as_object(b"[]") == {}
    assert of(user("hi"), tools=[]).offers is False
    assert of(user("hi"), tools=[{}]).offers is True


def test_a_case_is_written_as_it_says() -> None:
    """The samples themselves: the instruction is where its `place` says."""
    for case in CASES:
        messages = case.messages
        users = [it["content"] for it in messages if it["role"] == "user"]
        kinds = [block["type"] for block in users[-1]]
        assert ("tool_result" in kinds) is (case.place == "result")
        assert (len(users[-1]) == 1) is (case.place == "own")
        assert Case.body(case)
