import pytest

from loom_core.events import ClientGone, UpstreamChunkReceived
from loom_core.exchange import Idle
from loom_core.loom import begin
from loom_shell.inspect import dialogue
from loom_shell.inspect.dialogue import FURTHEST, Dialogue, since
from loom_shell.inspect.shown import Line
from loom_shell.inspect.texts import Texts
from loom_shell.replay.record import Recorded
from loom_shell.replay.running import Stepped
from tests.support.conversations import prompt, text
from tests.support.inspected import Story
from tests.support.samples import KEY
from tests.support.weaving import AT


def lines(story: Story, name: str) -> list[Line]:
    held = Dialogue(AT)
    for step in story.steps:
        if getattr(step.key, "id", "") == name:
            held.take(step)
    return held.lines(Texts())


@pytest.fixture(scope="module")
def whole() -> list[Line]:
    return lines(Story().calls("x-1", [prompt("Tea?")], text("one two three four")), "x-1")


@pytest.mark.spec("inspect.dialogue")
def test_events_and_actions_stand_in_their_order(whole: list[Line]) -> None:
    told = [(line.sign, line.name) for line in whole]
    assert told[:5] == [
        (">>", "RequestReceived"),
        (">>", "RequestChunkReceived"),
        (">>", "RequestEnded"),
        ("<<", "LookUp"),
        (">>", "LookupsAnswered"),
    ]
    assert (told[-1], ("~>", "TurnJoined") in told) == (("<<", "LogExchange"), True)
    assert [line.at for line in whole] == sorted(line.at for line in whole)


@pytest.mark.spec("inspect.dialogue")
def test_a_line_says_what_the_machine_became(whole: list[Line]) -> None:
    became = [line.state for line in whole if line.state]
    assert became == ["Receiving", "Composing", "AwaitingHead", "Streaming", "Concluding", "Finished"]


@pytest.mark.spec("inspect.runs")
def test_relayed_chunks_are_one_line_that_counts_them(whole: list[Line]) -> None:
    (came,) = (line for line in whole if line.name == "UpstreamChunkReceived")
    (went,) = (line for line in whole if line.name == "SendChunk")
    assert came.count == went.count > 5
    assert came.size == went.size > 500


def test_a_run_ends_where_something_else_happens() -> None:
    story = Story()
    key = story.asks("x-1", [prompt("Tea?")])
    story.gets(key, b"event: ping\n\n")
    names = [line.name for line in lines(story, "x-1")]
    assert names.count("RequestChunkReceived") == 1
    assert names.count("UpstreamChunkReceived") == 1


@pytest.mark.spec("inspect.bounded")
def test_what_is_too_much_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "MOST_LINES", 3)
    held = Dialogue(AT)
    for number in range(8):
        held.take(stepped(ClientGone(AT + number)))
    assert (len(held), held.left) == (3, 5)


def stepped(event: ClientGone | UpstreamChunkReceived) -> Stepped:
    return Stepped(Recorded(1, event.at, KEY, event), KEY, event, begin(KEY), Idle(), ())


def test_times_are_microseconds_within_what_a_script_can_tell() -> None:
    assert since(AT, AT + 1_500_000) == 1_500
    assert since(0, 10**30) == FURTHEST
    assert since(10**30, 0) == -FURTHEST
