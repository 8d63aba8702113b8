import msgspec
import pytest

from loom_shell.simulator.faults import FAULTS
from loom_shell.simulator.scenarios import Ending
from loom_shell.simulator.sound import SOUND
from loom_shell.simulator.steps import PAUSE, Finish, Reset, Spoil, Step, Wait
from tests.shell.simulator.raw import PROMPT, STREAMED, Heard, asked, heard, payloads

BY_NAME = {scenario.name: scenario for scenario in (*SOUND, *FAULTS)}


def steps(name: str, body: object = STREAMED, **options: str) -> list[Step]:
    return list(BY_NAME[name].script(asked(body, **options)))


def play(name: str, body: object = STREAMED, **options: str) -> Heard:
    return heard(steps(name, body, **options))


PLAIN = play("ok-stream").body


@pytest.mark.parametrize(
    ("status", "kind", "again"),
    [
        (400, "invalid_request_error", b"false"),
        (401, "authentication_error", b"false"),
        (404, "not_found_error", b"false"),
        (413, "request_too_large", b"false"),
        (429, "rate_limit_error", b"true"),
        (500, "api_error", b"true"),
        (529, "overloaded_error", b"true"),
    ],
)
def test_a_refusal_has_its_status_and_kind(status: int, kind: str, again: bytes) -> None:
    said = play(f"error-{status}")
    assert said.status == status
    assert msgspec.json.decode(said.rest)["error"]["type"] == kind
    assert said.headers[b"x-should-retry"] == again


def test_a_rate_limit_says_when_to_come_back() -> None:
    assert play("error-429").headers[b"retry-after"] == b"1"
    assert play("error-429", retry_after="7").headers[b"retry-after"] == b"7"
    assert b"retry-after" not in play("error-529").headers


def test_an_error_frame_ends_a_stream_that_had_begun() -> None:
    said = play("error-frame")
    *before, last = payloads(said.body)
    assert said.whole
    assert last["error"]["type"] == "overloaded_error"
    assert before[0]["type"] == "message_start"
    assert b"event: error\n" in said.body


@pytest.mark.parametrize("name", ["fin-mid-stream", "fin-mid-chunk", "rst-mid-stream", "stall-mid-stream"])
def test_a_broken_stream_has_begun_and_has_no_last_chunk(name: str) -> None:
    said = play(name)
    assert said.status == 200
    assert b"event: content_block_delta" in said.rest
    assert not said.whole


def test_a_stream_may_break_within_a_chunk() -> None:
    assert play("fin-mid-stream").rest.endswith(b"\n\n\r\n")
    assert play("fin-mid-chunk").rest.endswith(b"event: message_stop\ndata")


@pytest.mark.parametrize("name", ["fin-mid-json", "rst-mid-json"])
def test_a_broken_json_answer_is_shorter_than_promised(name: str) -> None:
    said = play(name, PROMPT)
    assert 0 < len(said.rest) < int(said.headers[b"content-length"])


def test_a_reset_alone_tells_that_a_body_without_framing_is_cut() -> None:
    said = play("rst-close-delimited")
    assert PLAIN.startswith(said.rest)
    assert not {b"content-length", b"transfer-encoding"} & set(said.headers)


def test_a_stream_may_end_cleanly_and_too_early() -> None:
    said = play("no-message-stop")
    assert said.whole
    assert b"message_delta" not in said.body
    assert b"message_stop" not in said.body


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("fin-mid-stream", [Finish()]),
        ("fin-mid-chunk", [Finish()]),
        ("fin-mid-json", [Finish()]),
        ("fin-before-head", [Finish()]),
        ("fin-mid-head", [Finish()]),
        ("garbage-head", [Finish()]),
        ("rst-before-head", [Reset()]),
        ("rst-mid-stream", [Wait(PAUSE), Reset()]),
        ("rst-mid-json", [Wait(PAUSE), Reset()]),
        ("rst-close-delimited", [Wait(PAUSE), Reset()]),
        ("early-413-rst", [Wait(PAUSE), Reset()]),
        ("early-413", [Finish()]),
        ("stall-before-head", [Wait(30.0), Finish()]),
        ("stall-mid-stream", [Wait(30.0), Finish()]),
        ("stale-keepalive", [Spoil()]),
        ("stale-keepalive-rst", [Spoil(reset=True)]),
    ],
)
def test_a_fault_ends_in_its_way(name: str, end: list[Step]) -> None:
    assert steps(name)[-len(end) :] == end


def test_a_stall_lasts_as_long_as_the_query_says() -> None:
    assert steps("stall-before-head", seconds="0.5") == [Wait(0.5), Finish()]


def test_no_head_is_a_valid_one() -> None:
    for scenario in FAULTS:
        if scenario.ending is Ending.NO_HEAD:
            said = heard(scenario.script(asked(STREAMED)))
            assert not (said.raw.startswith(b"HTTP/") and b"\r\n\r\n" in said.raw)


def test_broken_frames_stand_between_whole_ones() -> None:
    said = play("broken-json-frame")
    assert said.whole
    assert all(frame in said.body for frame in PLAIN.split(b"\n\n"))
    for broken in (b'"del\n\n', b"data:\n\n", b"data: \xff\xfe{}\n\n", b'["not","an","object"]'):
        assert broken in said.body


def test_the_done_line_comes_last() -> None:
    assert play("done-sentinel").body == PLAIN + b"data: [DONE]\n\n"


@pytest.mark.parametrize("name", ["early-413", "early-413-rst"])
def test_an_early_refusal_says_that_the_connection_ends(name: str) -> None:
    said = play(name)
    assert (said.status, said.headers[b"connection"]) == (413, b"close")


@pytest.mark.parametrize("name", ["slow-reader", "stale-keepalive", "stale-keepalive-rst"])
def test_faults_of_the_connection_answer_as_usual(name: str) -> None:
    assert play(name).raw == play("ok").raw
