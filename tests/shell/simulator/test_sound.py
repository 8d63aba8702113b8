import msgspec
import pytest

from loom_shell.simulator.sound import SOUND
from loom_shell.simulator.steps import Paced, Send
from tests.shell.simulator.raw import PROMPT, STREAMED, TOOL, Heard, asked, heard, payloads

BY_NAME = {scenario.name: scenario for scenario in SOUND}
STREAM = b"text/event-stream; charset=utf-8"


def play(name: str, body: object = None, **options: str) -> Heard:
    return heard(BY_NAME[name].script(asked(body, **options)))


@pytest.mark.parametrize("body", [PROMPT, STREAMED])
def test_stream_and_json_are_forced(body: object) -> None:
    assert play("ok-stream", body).headers[b"content-type"] == STREAM
    assert play("ok-json", body).headers[b"content-type"] == b"application/json"


@pytest.mark.parametrize("name", ["ok", "tool-use", "thinking"])
def test_the_form_follows_the_request(name: str) -> None:
    assert play(name, PROMPT).headers[b"content-type"] == b"application/json"
    assert play(name, STREAMED).headers[b"content-type"] == STREAM


@pytest.mark.parametrize(("tools", "called"), [([], "lookup"), ([TOOL], "look")])
def test_tools_are_called_in_parallel_whatever_is_offered(tools: object, called: str) -> None:
    said = msgspec.json.decode(play("tool-use", {**PROMPT, "tools": tools}).rest)
    assert [block["name"] for block in said["content"]] == [called, called]
    assert said["stop_reason"] == "tool_use"


@pytest.mark.parametrize("more", [{}, {"thinking": {"type": "enabled"}}])
def test_thinking_comes_once_and_first(more: dict[str, object]) -> None:
    said = msgspec.json.decode(play("thinking", {**PROMPT, **more}).rest)
    assert [block["type"] for block in said["content"]] == ["thinking", "text"]


def test_signs_of_life_stand_between_the_frames_and_change_none() -> None:
    lively, calm = play("pings-and-comments", STREAMED).body, play("ok", STREAMED).body
    assert all(frame in lively for frame in calm.split(b"\n\n"))
    assert lively.count(b"ping") > calm.count(b"ping")
    for sign in (b"\n: a comment", b"event: loom_unheard_of", b"\r\n\r\n", b"retry: 3000", b"\n:\n"):
        assert sign in lively


@pytest.mark.spec("simulator.paced")
def test_a_paced_stream_has_the_frames_and_the_rate_asked_for() -> None:
    steps = list(BY_NAME["paced"].script(asked(STREAMED, frames="3", rate="9")))
    (pace,) = [step for step in steps if isinstance(step, Paced)]
    assert (pace.count, pace.rate) == (3, 9)
    at = steps.index(pace)
    stamps = [b"%b%020d%b" % (pace.before, n, pace.after) for n in range(3)]
    written = [Send(stamp) for stamp in stamps]
    said = heard([*steps[:at], *written, *steps[at + 1 :]])
    assert said.whole
    shown = payloads(said.body)
    assert [one["delta"]["text"] for one in shown[3:6]] == [f"{n:020}" for n in range(3)]
    kinds = [one["type"] for one in shown]
    assert kinds == [
        "message_start",
        "ping",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_a_paced_stream_for_http_10_has_no_chunks() -> None:
    (pace,) = [
        step for step in BY_NAME["paced"].script(asked(STREAMED, http10=True)) if isinstance(step, Paced)
    ]
    assert pace.before.startswith(b"event: ")


@pytest.mark.spec("simulator.sized")
@pytest.mark.parametrize("size", [1000, 200_000])
def test_a_sized_answer_is_a_message_of_exactly_that_size(size: int) -> None:
    said = play("sized", PROMPT, size=str(size))
    assert len(said.rest) == size
    assert msgspec.json.decode(said.rest)["type"] == "message"


def test_a_size_too_small_for_a_message_gives_the_smallest() -> None:
    assert 300 < len(play("sized", size="1").rest) <= 400
