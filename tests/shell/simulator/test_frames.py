from typing import Any

import pytest

from loom_core.meter import Figures
from loom_shell.simulator.answers import answer
from loom_shell.simulator.frames import chunk, frame, message_frames, message_json, typed
from tests.shell.simulator.raw import PROMPT, TOOL, payloads

FIGURES = Figures(3, 40, 500, 6000)
SAID = answer({**PROMPT, "tools": [TOOL], "thinking": {"type": "enabled"}}, 1, FIGURES)


def rebuilt(frames: list[dict[str, Any]]) -> dict[str, Any]:
    """The message a client makes of a stream, by the documented rules."""
    message: dict[str, Any] = {}
    written = ""
    for one in frames:
        match one["type"]:
            case "message_start":
                message = one["message"]
            case "content_block_start":
                assert one["index"] == len(message["content"])
                message["content"].append(one["content_block"])
                written = ""
            case "content_block_delta":
                block, delta = message["content"][one["index"]], one["delta"]
                for part in ("text", "thinking", "signature"):
                    if part in delta:
                        block[part] += delta[part]
                written += delta.get("partial_json", "")
            case "content_block_stop" if written:
                message["content"][one["index"]]["input"] = payloads(b"data: " + written.encode())[0]
            case "message_delta":
                message.update(one["delta"])
                message["usage"].update(one["usage"])
    return message


@pytest.mark.spec("simulator.stream")
def test_frames_come_in_the_documented_order() -> None:
    kinds = [one["type"] for one in payloads(b"".join(message_frames(SAID)))]
    assert kinds[:3] == ["message_start", "ping", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == len(SAID.blocks)


@pytest.mark.spec("simulator.stream")
def test_a_stream_says_the_same_as_the_message() -> None:
    streamed = rebuilt(payloads(b"".join(message_frames(SAID))))
    (whole,) = payloads(b"data: " + message_json(SAID))
    assert streamed == whole
    assert [block["type"] for block in whole["content"]] == ["thinking", "text", "tool_use", "tool_use"]


def test_every_frame_repeats_its_name_in_its_payload() -> None:
    for one in message_frames(SAID):
        event, data, *rest = one.decode().split("\n")
        assert event.removeprefix("event: ") == payloads(data.encode())[0]["type"]
        assert rest == ["", ""]


def test_usage_has_the_split_of_what_was_written_and_begins_with_one_token_out() -> None:
    (start, *_), last = payloads(b"".join(message_frames(SAID))), payloads(message_frames(SAID)[-2])[0]
    assert start["message"]["usage"] == {
        "input_tokens": 3,
        "cache_creation_input_tokens": 6500,
        "cache_read_input_tokens": 40,
        "cache_creation": {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 6000},
        "output_tokens": 1,
        "service_tier": "standard",
    }
    assert last["usage"] == {
        "input_tokens": 3,
        "cache_creation_input_tokens": 6500,
        "cache_read_input_tokens": 40,
        "output_tokens": SAID.output_tokens,
    }


def test_bytes_of_frames_and_chunks() -> None:
    assert frame("a", [1]) == b"event: a\ndata: [1]\n\n"
    assert typed("ping") == b'event: ping\ndata: {"type":"ping"}\n\n'
    assert chunk(b"x" * 17) == b"11\r\n" + b"x" * 17 + b"\r\n"
