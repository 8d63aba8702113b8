"""Scenarios of a well upstream: the usual answers, and those made for benchmarks."""

from collections.abc import Iterator

from attrs import evolve

from loom_core.meter import Figures
from loom_shell.simulator.answers import Answer, thought, tool_calls
from loom_shell.simulator.frames import PING, chunk, message_frames, message_json, typed
from loom_shell.simulator.replies import Asked, closing, json_answer, opening, plain, stream, stream_answer
from loom_shell.simulator.routes import ok
from loom_shell.simulator.scenarios import Scenario
from loom_shell.simulator.steps import Paced, Send, Step

TIME = "0" * 20
"""Stands where a paced frame carries the time it was sent."""

TOOL = {"name": "lookup", "input_schema": {"type": "object"}}
"""Called by `tool-use` when the request offers no tool of its own."""

BLANK = Answer("msg_01PACED", "claude-simulated-1", ({"type": "text", "text": ""},), "end_turn", Figures(), 1)
"""The answer of the benchmark scenarios: nothing in it is computed from the request."""


def _stream(asked: Asked) -> Iterator[Step]:
    """Streams the answer, also when the request does not ask for a stream."""
    return stream_answer(asked)


def _json(asked: Asked) -> Iterator[Step]:
    """Answers with one JSON message, also when the request asks for a stream."""
    return json_answer(asked)


def _tool_use(asked: Asked) -> Iterator[Step]:
    """Answers with two tool calls in parallel, whatever the request offers."""
    calls = tool_calls(asked.message, asked.number) or tool_calls({"tools": [TOOL]}, asked.number)
    said = evolve(asked.answer(), blocks=tuple(calls), stop_reason="tool_use")
    return stream(asked, message_frames(said)) if asked.streams else plain(asked, message_json(said))


def _thinking(asked: Asked) -> Iterator[Step]:
    """Answers with a signed thinking block before its text."""
    said = asked.answer()
    if said.blocks[0]["type"] != "thinking":
        said = evolve(said, blocks=(thought(asked.number), *said.blocks))
    return stream(asked, message_frames(said)) if asked.streams else plain(asked, message_json(said))


def _pings(asked: Asked) -> Iterator[Step]:
    """Streams the answer with pings, comments, unknown event types and odd line ends between its frames."""
    between = [
        PING,
        b": a comment is a sign of life\n\n",
        typed("loom_unheard_of", note="clients skip what they do not know"),
        b'event: ping\r\ndata: {"type": "ping"}\r\n\r\n',
        b"retry: 3000\nid: 7\n\n",
        b":\n\n",
    ]
    pieces: list[bytes] = []
    for place, frame in enumerate(message_frames(asked.answer())):
        pieces += [frame, between[place % len(between)]]
    return stream(asked, pieces)


def _paced(asked: Asked) -> Iterator[Step]:
    """Streams `frames=N` deltas at `rate=R` a second, each carrying its time of sending."""
    frames = message_frames(BLANK)
    delta = typed("content_block_delta", index=0, delta={"type": "text_delta", "text": TIME})
    before, after = (delta if asked.http10 else chunk(delta)).split(TIME.encode())
    unpaced = evolve(asked, options={})
    yield from opening(unpaced, frames[:3])
    yield Paced(before, after, int(asked.option("frames", 50)), asked.option("rate", 50))
    ends = b"".join(frames[3:])
    yield Send(ends if asked.http10 else chunk(ends))
    yield from closing(asked)


def _sized(asked: Asked) -> Iterator[Step]:
    """Answers with one JSON message of exactly `size=N` bytes (least 400), without metering the request."""
    said = message_json(evolve(BLANK, blocks=({"type": "text", "text": "@"},)))
    filling = max(0, int(asked.option("size", 1000)) - len(said) + 1)
    return plain(asked, said.replace(b"@", b"x" * filling))


SOUND = (
    Scenario("ok", ok),
    Scenario("ok-stream", _stream),
    Scenario("ok-json", _json),
    Scenario("tool-use", _tool_use),
    Scenario("thinking", _thinking),
    Scenario("pings-and-comments", _pings),
    Scenario("paced", _paced),
    Scenario("sized", _sized),
)
