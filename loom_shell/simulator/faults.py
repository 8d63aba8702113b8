"""Scenarios of an upstream that refuses, breaks, stalls or lies."""

from collections.abc import Iterator

from loom_shell.simulator.frames import chunk, frame, message_frames, message_json
from loom_shell.simulator.replies import Asked, error, error_body, head, opening, stream, stream_head
from loom_shell.simulator.routes import ok
from loom_shell.simulator.scenarios import Ending, Scenario, Upload
from loom_shell.simulator.steps import PAUSE, Finish, Reset, Script, Send, Spoil, Step, Wait

STALL = 30.0
"""Seconds a stall lasts at most, unless the query says `seconds=S`."""


def _error(status: int) -> Scenario:
    def script(asked: Asked) -> Script:
        return error(asked, status, lines=_retry_lines(asked, status))

    script.__doc__ = f"Refuses with status {status} and an error in Anthropic's shape."
    return Scenario(f"error-{status}", script)


def _retry_lines(asked: Asked, status: int) -> list[tuple[str, str]]:
    if status == 429:
        return [("retry-after", str(int(asked.option("retry_after", 1)))), ("x-should-retry", "true")]
    return [("x-should-retry", "true" if status >= 500 else "false")]


def _half(asked: Asked) -> list[bytes]:
    """The frames of an answer up to its middle: it has begun to speak, and is not done."""
    frames = message_frames(asked.answer())
    return frames[: len(frames) // 2]


def _error_frame(asked: Asked) -> Iterator[Step]:
    """Streams half the answer, then an `error` frame, and ends cleanly."""
    said = error_body(asked, 529)
    return stream(asked, [*_half(asked), b"event: error\ndata: %b\n\n" % said])


def _fin_mid_stream(asked: Asked) -> Iterator[Step]:
    """Closes the connection in the middle of a chunked stream, between two chunks."""
    yield from opening(asked, _half(asked))
    yield Finish()


def _fin_mid_chunk(asked: Asked) -> Iterator[Step]:
    """Closes the connection in the middle of a chunk."""
    yield from opening(asked, _half(asked))
    whole = chunk(message_frames(asked.answer())[-1])
    yield Send(whole[: len(whole) // 2])
    yield Finish()


def _rst_mid_stream(asked: Asked) -> Iterator[Step]:
    """Resets the connection in the middle of a chunked stream."""
    yield from opening(asked, _half(asked))
    yield from (Wait(PAUSE), Reset())


def _mid_json(asked: Asked) -> Iterator[Step]:
    payload = message_json(asked.answer())
    sized = [("content-type", "application/json"), ("content-length", str(len(payload)))]
    yield Send(head(asked, 200, sized) + payload[: len(payload) // 2])


def _fin_mid_json(asked: Asked) -> Iterator[Step]:
    """Closes the connection with half of the promised JSON sent."""
    yield from _mid_json(asked)
    yield Finish()


def _rst_mid_json(asked: Asked) -> Iterator[Step]:
    """Resets the connection with half of the promised JSON sent."""
    yield from _mid_json(asked)
    yield from (Wait(PAUSE), Reset())


def _rst_close_delimited(asked: Asked) -> Iterator[Step]:
    """Resets a body that has neither length nor chunks, so that only the reset tells it is cut."""
    yield Send(stream_head(asked, chunked=False))
    yield from (Send(piece) for piece in _half(asked))
    yield from (Wait(PAUSE), Reset())


def _no_message_stop(asked: Asked) -> Iterator[Step]:
    """Ends the stream cleanly before the answer is done: no message_delta, no message_stop."""
    return stream(asked, _half(asked))


def _stall_before_head(asked: Asked) -> Iterator[Step]:
    """Says nothing at all until the client leaves or `seconds=S` are over, then closes."""
    yield from (Wait(asked.option("seconds", STALL)), Finish())


def _stall_mid_stream(asked: Asked) -> Iterator[Step]:
    """Falls silent in the middle of a stream until the client leaves or `seconds=S` are over, then closes."""
    yield from opening(asked, _half(asked))
    yield from (Wait(asked.option("seconds", STALL)), Finish())


def _fin_before_head(_: Asked) -> Iterator[Step]:
    """Closes the connection after the request without a byte of an answer."""
    yield Finish()


def _rst_before_head(_: Asked) -> Iterator[Step]:
    """Resets the connection after the request without a byte of an answer."""
    yield Reset()


def _fin_mid_head(asked: Asked) -> Iterator[Step]:
    """Closes the connection in the middle of the head."""
    yield from (Send(head(asked, 200, [])[:40]), Finish())


def _garbage_head(_: Asked) -> Iterator[Step]:
    """Answers with something that is not HTTP."""
    yield from (Send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), Finish())


def _broken_json_frame(asked: Asked) -> Iterator[Step]:
    """Streams the answer with frames between whose payload is broken JSON, empty or not UTF-8."""
    frames = message_frames(asked.answer())
    broken = [
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"del\n\n',
        b"event: content_block_delta\ndata:\n\n",
        b"event: content_block_delta\ndata: \xff\xfe{}\n\n",
        frame("content_block_delta", ["not", "an", "object"]),
    ]
    return stream(asked, [*frames[:4], *broken, *frames[4:]])


def _done_sentinel(asked: Asked) -> Iterator[Step]:
    """Streams the answer and ends it with the `[DONE]` line of another vendor's API."""
    return stream(asked, [*message_frames(asked.answer()), b"data: [DONE]\n\n"])


def _early_413(asked: Asked) -> Iterator[Step]:
    """Refuses with 413 before the upload is read, and drops the rest of it."""
    yield from error(asked, 413, lines=[("connection", "close")])
    yield Finish()


def _early_413_rst(asked: Asked) -> Iterator[Step]:
    """Refuses with 413 before the upload is read, then resets the connection."""
    yield from error(asked, 413, lines=[("connection", "close")])
    yield from (Wait(PAUSE), Reset())


def _slow_reader(asked: Asked) -> Iterator[Step]:
    """Reads the upload only once the test opens the gate, then answers as usual."""
    return ok(asked)


def _stale(asked: Asked, *, reset: bool) -> Iterator[Step]:
    yield from ok(asked)
    yield Spoil(reset)


def _stale_keepalive(asked: Asked) -> Iterator[Step]:
    """Answers as usual, then closes the kept connection when the next request comes on it."""
    return _stale(asked, reset=False)


def _stale_keepalive_rst(asked: Asked) -> Iterator[Step]:
    """Answers as usual, then resets the kept connection when the next request comes on it."""
    return _stale(asked, reset=True)


FAULTS = (
    *map(_error, (400, 401, 404, 413, 429, 500, 529)),
    Scenario("error-frame", _error_frame),
    Scenario("fin-mid-stream", _fin_mid_stream, Ending.BROKEN),
    Scenario("fin-mid-chunk", _fin_mid_chunk, Ending.BROKEN),
    Scenario("rst-mid-stream", _rst_mid_stream, Ending.BROKEN),
    Scenario("fin-mid-json", _fin_mid_json, Ending.BROKEN),
    Scenario("rst-mid-json", _rst_mid_json, Ending.BROKEN),
    Scenario("rst-close-delimited", _rst_close_delimited, Ending.BROKEN),
    Scenario("no-message-stop", _no_message_stop),
    Scenario("stall-before-head", _stall_before_head, Ending.STALLS),
    Scenario("stall-mid-stream", _stall_mid_stream, Ending.STALLS),
    Scenario("fin-before-head", _fin_before_head, Ending.NO_HEAD),
    Scenario("rst-before-head", _rst_before_head, Ending.NO_HEAD),
    Scenario("fin-mid-head", _fin_mid_head, Ending.NO_HEAD),
    Scenario("garbage-head", _garbage_head, Ending.NO_HEAD),
    Scenario("broken-json-frame", _broken_json_frame),
    Scenario("done-sentinel", _done_sentinel),
    Scenario("early-413", _early_413, upload=Upload.IGNORED),
    Scenario("early-413-rst", _early_413_rst, upload=Upload.IGNORED),
    Scenario("slow-reader", _slow_reader, upload=Upload.GATED),
    Scenario("stale-keepalive", _stale_keepalive),
    Scenario("stale-keepalive-rst", _stale_keepalive_rst),
)
