import pytest

from loom_core.actions import LogExchange
from loom_core.values import Cause, ExchangeKey
from loom_shell.inspect.dialogue import Dialogue
from loom_shell.inspect.exchange import RUNNING, Gathering
from loom_shell.inspect.request import Requests
from loom_shell.inspect.shown import Exchange
from loom_shell.inspect.texts import Texts
from tests.support.conversations import prompt, text
from tests.support.inspected import Story, frames, use
from tests.support.weaving import AT, SESSION

TEXTS = Texts()


def gathered(story: Story, name: str) -> Gathering:
    found = Gathering(ExchangeKey(name), AT, "", Dialogue(AT))
    for step in story.steps:
        if step.key == found.key:
            found.take(step)
    return found


def row(story: Story, name: str = "x-1", texts: Texts = TEXTS) -> Exchange:
    return gathered(story, name).shown(3, 1, texts, Requests(texts))


@pytest.mark.spec("inspect.exchange")
def test_a_row_says_what_the_exchange_was_and_what_it_cost() -> None:
    blocks = (text("I look."), use("Bash", "t1", command="ls"))
    story = Story().calls("x-1", [prompt("Tea?")], *blocks, stop="tool_use", out=85)
    shown = row(story)
    (logged,) = (it for step in story.steps for it in step.actions if isinstance(it, LogExchange))
    assert (shown.kind, shown.method, shown.path, shown.model) == (
        "main",
        "POST",
        "/v1/messages",
        "claude-opus-5",
    )
    assert (shown.status, shown.outcome, shown.stop, shown.attempts, shown.index) == (
        200,
        "complete",
        "tool_use",
        1,
        1,
    )
    assert (shown.read, shown.written, shown.fresh, shown.out) == (18_000, 900, 40, 85)
    assert (shown.received, shown.relayed) == (logged.received, logged.relayed)
    assert (shown.turn, shown.lane) == (3, 1)
    assert shown.woven is not None
    assert (shown.woven.profile, shown.woven.outcome, shown.woven.memories) == ("ann", "woven", 1)
    assert shown.inside is not None
    assert [TEXTS.listed[block.text][0] for block in shown.inside.answer] == [
        "I look.",
        'Bash {"command": "ls"}',
    ]


@pytest.mark.spec("inspect.exchange")
def test_its_states_follow_each_other_without_a_gap() -> None:
    story = Story()
    key = story.asks("x-1", [prompt("Tea?")])
    story.fails(key, Cause.RESET).gets(key, *frames(text("Yes.")))
    shown = row(story)
    names = [state for state, _, _ in shown.phases]
    assert names == [
        "Receiving",
        "Composing",
        "AwaitingHead",
        "BackingOff",
        "AwaitingHead",
        "Streaming",
        "Concluding",
    ]
    assert all(one[2] == other[1] for one, other in zip(shown.phases, shown.phases[1:], strict=False))
    assert (shown.phases[0][1], shown.phases[-1][2], shown.attempts) == (shown.start, shown.end, 2)


def test_a_failure_says_why() -> None:
    story = Story()
    error = b'{"type":"error","error":{"type":"overloaded_error","message":"Busy"}}'
    story.gets(
        story.asks("x-1", [prompt("Tea?")]),
        error,
        status=529,
        headers=((b"content-type", b"application/json"),),
    )
    shown = row(story)
    assert (shown.status, TEXTS.listed[shown.why][0]) == (529, "overloaded_error")


@pytest.mark.spec("inspect.whole")
def test_one_that_is_not_over_is_shown_as_far_as_it_came() -> None:
    story = Story()
    story.asks("x-1", [prompt("Tea?")])
    shown = row(story)
    assert (shown.outcome, shown.status, shown.kind) == (RUNNING, None, "main")
    assert shown.inside is not None
    assert shown.inside.asked is not None


@pytest.mark.spec("inspect.whole")
def test_one_whose_beginning_is_not_there_is_shown_too() -> None:
    whole = Story().calls("x-1", [prompt("Tea?")], text("Yes."))
    story = Story()
    for record in whole.records[-4:]:
        story.happens(record.key, record.event)
    shown = row(story)
    assert (shown.method, shown.kind, shown.outcome) == ("", "other", RUNNING)


def test_a_request_that_is_no_call_has_no_blocks() -> None:
    shown = row(Story().probes("x-1"))
    assert (shown.kind, shown.method, shown.path, shown.fresh) == ("other", "HEAD", "/api/hello", None)
    assert shown.inside is not None
    assert shown.inside.asked is None


@pytest.mark.spec("inspect.bounded")
def test_without_room_only_its_row_is_shown() -> None:
    assert row(Story().probes("x-1"), texts=Texts(most=0)).inside is None


def test_its_session_is_the_one_that_the_request_names() -> None:
    story = Story(session="").calls("x-1", [prompt("Tea?")], text("Yes."))
    assert gathered(story, "x-1").session == SESSION
