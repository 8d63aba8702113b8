import json
from collections import Counter

import msgspec
import pytest
from attrs import evolve

from loom_core.events import FileChanged, TranscriptNamed
from loom_core.rules import Tracing
from loom_core.values import TranscriptKey
from loom_shell.inspect.shown import Recording
from loom_shell.inspect.texts import Texts
from loom_shell.inspect.timeline import Timeline
from tests.support.conversations import answer, prompt, text
from tests.support.inspected import Story, told
from tests.support.weaving import AT, MAIN, SESSION


def shown(story: Story, **how: object) -> Recording:
    timeline = Timeline(**how)  # type: ignore[arg-type]
    for step in story.steps:
        timeline.take(step)
    return timeline.recording("a journal")


def of(session: str) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"x-claude-code-session-id", session.encode()), MAIN)


def several() -> Story:
    """Two sessions, in turns."""
    story = Story()
    for number in range(6):
        story.session = f"s-{number % 2}"
        story.calls(f"x-{number}", [prompt(f"Tea {number}?")], text("Yes."), headers=of(story.session))
    return story


@pytest.fixture(scope="module")
def whole() -> Recording:
    return told().recording()


@pytest.mark.spec("inspect.timeline")
def test_exchanges_are_grouped_by_turn_and_agent_in_the_order_they_began(whole: Recording) -> None:
    assert [row.number for row in whole.exchanges] == list(range(1, 12))
    assert [row.start for row in whole.exchanges] == sorted(row.start for row in whole.exchanges)
    told_of = [[whole.exchanges[place].id for place in turn.exchanges] for turn in whole.turns]
    assert told_of == [
        ["x-hello"],
        ["x-1", "x-title", "x-2", "x-3", "x-4", "x-5"],
        ["x-6"],
        ["x-7", "x-8"],
        ["x-9"],
    ]
    first = whole.turns[1]
    assert [lane.agent for lane in first.lanes] == ["", "a-1"]
    assert [whole.exchanges[place].lane for place in first.exchanges] == [0, 0, 0, 1, 1, 0]
    assert [it.type for it in first.lanes] == ["", "Explore"]
    assert all(
        whole.exchanges[place].turn == number
        for number, it in enumerate(whole.turns)
        for place in it.exchanges
    )


@pytest.mark.spec("inspect.timeline")
def test_a_turn_has_its_prompt_its_outcome_its_tools_and_its_time(whole: Recording) -> None:
    turn = whole.turns[1]
    assert whole.texts[turn.prompt][0] == "Why is the build red? Please look, and mend it."
    assert turn.outcome == "complete"
    assert Counter((tool.name, tool.lane) for tool in turn.tools) == {
        ("Bash", 0): 1, ("Read", 0): 1, ("Task", 0): 1, ("Bash", 1): 1,
    }  # fmt: skip
    assert (
        turn.start
        <= min(tool.start for tool in turn.tools)
        <= max(tool.end for tool in turn.tools)
        <= turn.end
    )


@pytest.mark.spec("inspect.session")
def test_one_session_can_be_chosen_by_the_beginning_of_its_id() -> None:
    both = shown(several())
    assert [session.id for session in both.sessions] == ["s-0", "s-1"]
    one = shown(several(), session="s-1")
    assert [session.id for session in one.sessions] == ["s-1"]
    assert [row.id for row in one.exchanges] == ["x-1", "x-3", "x-5"]
    assert [row.number for row in one.exchanges] == [1, 2, 3]
    assert shown(several(), session="t").exchanges == []


@pytest.mark.spec("inspect.whole")
def test_without_tracing_calls_of_one_prompt_are_one_turn() -> None:
    story = Story()
    story.of = msgspec.structs.replace(story.of, tracing=Tracing(tells=False))
    story.calls("x-1", [prompt("Tea?")], text("Yes."))
    story.calls("x-2", [prompt("Tea?"), answer("Yes."), prompt("Milk?")], text("No."))
    turns = shown(story).turns
    assert [len(turn.exchanges) for turn in turns] == [1, 1]
    assert [shown(story).texts[turn.prompt][0] for turn in turns] == ["Tea?", "Milk?"]


@pytest.mark.spec("inspect.bounded")
def test_exchanges_beyond_the_bound_are_counted() -> None:
    recording = shown(several(), most=4)
    assert (len(recording.exchanges), recording.left) == (4, 2)


@pytest.mark.spec("inspect.bounded")
def test_a_page_has_a_length_that_texts_do_not_exceed() -> None:
    story = Story()
    for number in range(30):
        story.calls(f"x-{number}", [prompt(f"{number} " * 4_000)], text(f"{number} " * 400))
    recording = shown(story, texts=Texts(most=100_000))
    assert len(msgspec.json.encode(recording)) < 250_000
    inside = [row.inside is not None for row in recording.exchanges]
    assert inside[0]
    assert not inside[-1]
    assert sorted(inside, reverse=True) == inside


@pytest.mark.spec("inspect.timeline")
def test_transcripts_stand_with_their_session() -> None:
    story = Story()
    key = TranscriptKey("/t/x.jsonl")
    story.session = ""
    story.happens(key, TranscriptNamed(AT, SESSION))
    story.happens(key, FileChanged(AT + 5))
    story.calls("x-1", [prompt("Tea?")], text("Yes."))
    (session,) = shown(story).sessions
    assert (session.id, [file.path for file in session.files]) == (SESSION, ["/t/x.jsonl"])
    assert [line.name for line in session.files[0].lines if line.sign == ">>"] == [
        "TranscriptNamed",
        "FileChanged",
    ]


@pytest.mark.spec("inspect.whole")
def test_a_session_of_which_something_was_lost_says_so() -> None:
    story = several()
    story.steps = [
        evolve(it, record=evolve(it.record, whole=it.record.session != "s-1")) for it in story.steps
    ]
    assert [(it.id, it.is_torn) for it in shown(story).sessions] == [("s-0", False), ("s-1", True)]


def test_nothing_gives_an_empty_recording() -> None:
    recording = Timeline().recording("nothing")
    assert (recording.exchanges, recording.turns, recording.sessions, recording.start) == ([], [], [], 0)


def test_the_same_steps_give_the_same_recording(whole: Recording) -> None:
    assert msgspec.json.encode(told().recording()) == msgspec.json.encode(whole)
    assert json.loads(msgspec.json.encode(whole))["version"] == 1
