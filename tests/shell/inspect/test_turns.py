from loom_core.trace import SpanRecord
from loom_core.values import TurnKey
from loom_shell.inspect.texts import NONE, Texts
from loom_shell.inspect.turns import RUNNING, Parts, tool
from tests.support.inspected import Story, told
from tests.support.weaving import AT


def parts(story: Story) -> Parts:
    found = Parts(AT)
    for step in story.steps:
        if isinstance(step.key, TurnKey):
            found.take(step.key, step)
    return found


def test_each_agent_has_a_part_of_the_turn_and_each_prompt_a_turn() -> None:
    found = list(parts(told()).found.values())
    assert [(part.key.agent, part.outcome) for part in found] == [
        ("", "complete"),
        ("a-1", RUNNING),
        ("", "abandoned: next prompt"),
        ("", "complete"),
        ("", RUNNING),
    ]
    assert found[0].account.trace_id == found[1].account.trace_id != found[2].account.trace_id


def test_a_tool_is_of_the_part_that_asked_for_it() -> None:
    main, agent, *_ = parts(told()).found.values()
    assert [span.name for span in main.tools] == [
        "execute_tool Bash",
        "execute_tool Read",
        "execute_tool Task",
    ]
    texts = Texts()
    shown = tool(agent.tools[0], AT, 1, texts)
    assert (shown.name, shown.lane, shown.error) == ("Bash", 1, "")
    assert shown.start < shown.end
    assert (texts.listed[shown.given][0], texts.listed[shown.result][0]) == ('{"command": "rg test"}', "t4")


def test_without_room_a_tool_and_a_part_lose_their_texts_and_lines() -> None:
    main = next(iter(parts(told()).found.values()))
    texts = Texts(most=0)
    shown = tool(main.tools[0], AT, 0, texts)
    assert (shown.given, shown.result) == (NONE, NONE)
    lane = main.lane(texts)
    assert (lane.lines, lane.left > 5) == ([], True)


def test_a_tool_without_a_name_is_a_tool() -> None:
    span = SpanRecord("a" * 32, "b" * 16, "", "", "internal", AT, AT, ())
    assert tool(span, AT, 0, Texts()).name == "tool"


def test_what_is_told_to_a_turn_that_is_over_stands_with_it() -> None:
    story = told()
    before = len(next(iter(parts(story).found.values())).dialogue)
    story = told().hook("Notification")
    assert before > 5
    assert any(
        line.name == "HookReported" for line in list(parts(story).found.values())[-1].dialogue.lines(Texts())
    )
