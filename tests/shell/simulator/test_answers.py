import base64

import pytest

from loom_core.meter import Figures
from loom_shell.simulator.answers import LAST_WORDS, MODEL, Answer, answer, name
from tests.shell.simulator.raw import PROMPT, TOOL

BASH = {
    "name": "Bash",
    "input_schema": {
        "type": "object",
        "properties": {"command": {"type": "string"}},
        "required": ["command"],
    },
}
OTHER = {"name": "jump", "input_schema": {"type": "object"}}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
FIGURES = Figures(input_tokens=5)


def say(number: int = 1, **more: object) -> Answer:
    return answer({**PROMPT, **more}, number, FIGURES)


def kinds(said: Answer) -> list[object]:
    return [block["type"] for block in said.blocks]


def test_a_prompt_gets_text_and_the_model_it_named() -> None:
    said = say()
    assert kinds(said) == ["text"]
    assert said.blocks[0]["text"] == LAST_WORDS
    assert (said.stop_reason, said.model, said.figures) == ("end_turn", PROMPT["model"], FIGURES)
    assert said.output_tokens > 0


def test_an_empty_request_gets_an_answer_too() -> None:
    assert answer({}, 1, FIGURES).model == MODEL


def test_the_last_words_have_characters_of_two_three_and_four_bytes() -> None:
    assert {len(letter.encode()) for letter in LAST_WORDS} == {1, 2, 3, 4}


@pytest.mark.spec("simulator.tools")
def test_offered_bash_is_called_twice_at_once_with_commands_that_do_no_harm() -> None:
    said = say(tools=[TOOL, BASH])
    assert (kinds(said), said.stop_reason) == (["text", "tool_use", "tool_use"], "tool_use")
    calls = said.blocks[1:]
    assert [call["name"] for call in calls] == ["Bash", "Bash"]
    assert [call["input"]["command"] for call in calls] == ["echo loom", "echo weave"]
    assert calls[0]["id"] != calls[1]["id"]


@pytest.mark.spec("simulator.tools")
def test_other_tools_are_called_with_what_their_schema_requires() -> None:
    assert [(call["name"], call["input"]) for call in say(tools=[TOOL, OTHER]).blocks[1:]] == [
        ("look", {"at": "loom"}),
        ("jump", {}),
    ]
    assert [call["name"] for call in say(tools=[TOOL]).blocks[1:]] == ["look", "look"]


@pytest.mark.spec("simulator.tools")
@pytest.mark.parametrize("more", [{"type": "text", "text": "go on"}, {"type": "tool_result"}, "odd"])
def test_results_of_tools_get_the_last_words(more: object) -> None:
    results = [{"type": "tool_result", "tool_use_id": "toolu_01", "content": "loom"}, more]
    said = say(messages=[*PROMPT["messages"], {"role": "user", "content": results}], tools=[BASH])
    assert (kinds(said), said.stop_reason) == (["text"], "end_turn")


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ({"type": "none"}, []),
        ({"type": "tool", "name": "jump"}, ["jump", "jump"]),
        ({"type": "tool", "name": "unheard of"}, []),
        ({"type": "any"}, ["look", "jump"]),
        ({"type": "auto", "disable_parallel_tool_use": True}, ["look"]),
        ("odd", ["look", "jump"]),
    ],
)
def test_the_choice_of_tools_is_obeyed(choice: object, called: list[str]) -> None:
    said = say(tools=[TOOL, OTHER], tool_choice=choice)
    assert [block["name"] for block in said.blocks if block["type"] == "tool_use"] == called


@pytest.mark.parametrize("tools", [[SEARCH], [], "odd", ["odd"], [{"name": 4, "input_schema": {}}]])
def test_tools_the_client_cannot_run_are_not_called(tools: object) -> None:
    assert kinds(say(tools=tools)) == ["text"]


@pytest.mark.parametrize("kind", ["enabled", "adaptive"])
def test_thinking_comes_first_when_asked_for_and_is_signed(kind: str) -> None:
    said = say(thinking={"type": kind}, tools=[BASH])
    assert kinds(said) == ["thinking", "text", "tool_use", "tool_use"]
    assert len(base64.b64decode(said.blocks[0]["signature"], validate=True)) > 64
    assert kinds(say(thinking={"type": "disabled"})) == ["text"]


@pytest.mark.parametrize("field", ["output_config", "output_format"])
def test_a_request_for_a_json_shape_gets_json(field: str) -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    shape = {"type": "json_schema", "schema": schema}
    said = say(**{field: {"format": shape} if field == "output_config" else shape})
    assert said.blocks[0]["text"] == '{"title":"loom"}'


def test_a_small_limit_cuts_the_answer() -> None:
    said = say(max_tokens=1)
    assert (said.stop_reason, said.blocks[0]["text"]) == ("max_tokens", LAST_WORDS[:1])


@pytest.mark.spec("simulator.repeatable")
def test_ids_depend_on_the_number_alone() -> None:
    assert say(3) == say(3)
    assert say(3).id != say(4).id
    assert name("msg", 1).startswith("msg_01")
    assert len({name("toolu", n, part) for n in range(9) for part in range(9)}) == 81
