"""The bytes of the benchmark: requests as a client sends them, answers as upstream gives them.

All of it is rendered before anything is measured, but for the stamp in a streamed frame.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache

SMALL = 1_000
LARGE = 200_000
"""Bytes of a request's body."""
ANSWER = 1_000
"""Bytes of the JSON answer's body."""

STEPS = 32
"""Calls of one told conversation; each has two messages, 2,000 bytes, more than the one before."""
PROMPTS = 50
"""Prompts of a told conversation, each with its metadata block: places where something is woven in."""
PROFILE = "bench"
"""Whose requests the told ones are."""

Request = tuple[bytes, bytes]
"""Head and body."""
Requests = Sequence[Request]
"""What one caller sends, over and over."""

PATH = b"/v1/messages"
QUESTION = "The quick brown fox jumps over the lazy dog, and the dog sleeps on. "

_CLIENT = b"""\
Host: 127.0.0.1
Accept: application/json
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: *
Anthropic-Beta: interleaved-thinking-2025-05-14
Anthropic-Dangerous-Direct-Browser-Access: true
Anthropic-Version: 2023-06-01
Connection: keep-alive
Content-Type: application/json
User-Agent: bench/1.0
X-Api-Key: dummy-key-of-the-benchmark
X-App: cli
X-Stainless-Arch: x64
X-Stainless-Lang: js
X-Stainless-OS: Linux
X-Stainless-Package-Version: 1.0.0
X-Stainless-Retry-Count: 0
X-Stainless-Runtime: node
X-Stainless-Runtime-Version: v22.0.0
X-Stainless-Timeout: 600
""".replace(b"\n", b"\r\n")

_UPSTREAM = b"""\
HTTP/1.1 200 OK
Date: Thu, 01 Jan 2026 00:00:00 GMT
Connection: keep-alive
Anthropic-Organization-Id: 00000000-0000-4000-8000-000000000000
Anthropic-Ratelimit-Input-Tokens-Limit: 2000000
Anthropic-Ratelimit-Input-Tokens-Remaining: 1999000
Anthropic-Ratelimit-Input-Tokens-Reset: 2026-01-01T00:00:01Z
Anthropic-Ratelimit-Output-Tokens-Limit: 400000
Anthropic-Ratelimit-Output-Tokens-Remaining: 399000
Anthropic-Ratelimit-Output-Tokens-Reset: 2026-01-01T00:00:01Z
Anthropic-Ratelimit-Requests-Limit: 4000
Anthropic-Ratelimit-Requests-Remaining: 3999
Anthropic-Ratelimit-Requests-Reset: 2026-01-01T00:00:01Z
Request-Id: req_bench
Server: bench
Strict-Transport-Security: max-age=31536000
X-Robots-Tag: none
""".replace(b"\n", b"\r\n")

STREAM_HEAD = _UPSTREAM + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

_DELTA = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%020d"}}\n\n'
)


def callers(size: int, connections: int, *, told: bool = False) -> list[Requests]:
    """For each connection its requests, with bodies, conversations, of `size` bytes.

    Their answers are JSON. `told`: each caller names its session and its profile, the hook's blocks are
    in the conversation, and a large one grows from call to call: it is that large on average.
    """
    if not told:
        return [[_request(PATH, _conversation(size, stream=False))]] * connections
    bodies = _told_bodies(size)
    return [[_request(PATH, body, _hints(number)) for body in bodies] for number in range(connections)]


def beginnings(connections: int) -> list[Requests]:
    """How the large told conversations began: for each connection the first call of each prompt."""
    messages = _told_messages()
    ends = [number for number, message in enumerate(messages) if _is_prompt(message)]
    bodies = [_json(_body(messages[: end + 1], stream=False)) for end in ends]
    return [[_request(PATH, body, _hints(number)) for body in bodies] for number in range(connections)]


def growing(session: int, turns: int, calls: int, size: int) -> Iterator[list[Request]]:
    """A told conversation that grows to about `size` bytes, alike with each call: the calls of each turn.

    A turn is a prompt, which notes are found for, and a loop of tools. The client's cache marker moves along:
    it stands on the last block of each request.
    """
    begins, filling = _json(_body([], stream=False))[:-2], size // (turns * calls) // len(QUESTION)
    hints, settled = _hints(session), b""
    for turn in range(turns):
        requests: list[Request] = []
        for call in range(calls):
            *before, last = map(_json, _step(turn, call, filling))
            settled += b"".join(message + b"," for message in before)
            marked = last[:-3] + b',"cache_control":{"type":"ephemeral"}}]}'
            requests.append(_request(PATH, begins + settled + marked + b"]}", hints))
            settled += last + b","
        yield requests


def streams(count: int, frames: int, rate: float, *, told: bool = False) -> list[Requests]:
    """Requests that upstream answers with so many text frames, so many of them a second."""
    target = b"%s?frames=%d&rate=%g" % (PATH, frames, rate)
    if not told:
        return [[_request(target, _conversation(SMALL, stream=True))]] * count
    body = _exactly(SMALL, lambda text: _body(_prompt(0, text), stream=True))
    return [[_request(target, body, _hints(number))] for number in range(count)]


def answer() -> bytes:
    """The JSON answer, head and body."""
    body = _exactly(ANSWER, lambda text: _message([{"type": "text", "text": text}], "end_turn"))
    head = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    return _UPSTREAM + head + body


def opening() -> bytes:
    """The chunks before a stream's text."""
    started: dict[str, object] = {"type": "message_start", "message": _message([], None)}
    empty = {"type": "text", "text": ""}
    block: dict[str, object] = {"type": "content_block_start", "index": 0, "content_block": empty}
    return _chunk(_frame(started)) + _chunk(_frame(block))


def closing(frames: int) -> bytes:
    """The chunks after a stream's text, the last one included."""
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    ends: list[dict[str, object]] = [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": frames}},
        {"type": "message_stop"},
    ]
    return b"".join(_chunk(_frame(told)) for told in ends) + b"0\r\n\r\n"


def stamped(nanoseconds: int) -> bytes:
    """A chunk with one text frame, whose text is the moment it is sent at."""
    return _chunk(_DELTA % nanoseconds)


def _conversation(size: int, *, stream: bool) -> bytes:
    """Turns of some 2 KB each, as many as fit, and a last question that fills up the size."""
    count = max(0, size - SMALL) // 2_000
    turns: list[dict[str, object]] = [
        _said(("user", "assistant")[number % 2], QUESTION * 27) for number in range(count - count % 2)
    ]

    return _exactly(size, lambda text: _body([*turns, _said("user", text)], stream=stream))


@cache
def _told_bodies(size: int) -> list[bytes]:
    """The calls of one turn; the first message is as long as it takes."""
    if size < LARGE:
        return [_exactly(size, lambda text: _body(_prompt(0, text), stream=False))]
    return [_json(_body([*_told_messages(), *_tool_loop(step)], stream=False)) for step in range(STEPS)]


@cache
def _told_messages() -> list[dict[str, object]]:
    """A conversation of so many prompts, each but the last answered; the first fills up the size."""
    later = [
        message
        for number in range(1, PROMPTS)
        for message in (_said("assistant", "Yes."), *_prompt(number, QUESTION * 8))
    ]
    missing = LARGE - STEPS * 1_000 - len(_json(later))
    return [*_prompt(0, (QUESTION * (missing // len(QUESTION)))), *later]


def _is_prompt(message: dict[str, object]) -> bool:
    return message["role"] == "user"


def _prompt(
    number: int, text: str, typed: str = "How quick was the fox that day?"
) -> list[dict[str, object]]:
    """A prompt as the client sends it, with what the hook said of it."""
    mark = "LOOM_METADATA_UlVCQkVSRFVDSw"
    trace = f"{number + 1:032x}"
    words = {
        "canary": mark,
        "trace_id": trace,
        "traceparent": f"00-{trace}-{number + 1:016x}-01",
        "prompt_id": f"bench-{number}",
        "prompt": typed,
    }
    hook = f"UserPromptSubmit hook additional context: {mark} {_json(words).decode()} {mark}"
    reminder = {"type": "text", "text": f"<system-reminder>\n{hook}\n</system-reminder>"}
    return [{"role": "user", "content": [{"type": "text", "text": text}, reminder]}]


def _tool_loop(steps: int) -> list[dict[str, object]]:
    """Tool calls and their results, some 2 KB a pair."""
    messages: list[dict[str, object]] = []
    for number in range(steps):
        messages += _tool_call(f"toolu_{number}", f"{number}. {QUESTION}", 26)
    return messages


def _tool_call(known: str, words: str, times: int) -> list[dict[str, object]]:
    asked = {"type": "tool_use", "id": known, "name": "Read", "input": {"file": words}}
    given = {"type": "tool_result", "tool_use_id": known, "content": words * times}
    return [{"role": "assistant", "content": [asked]}, {"role": "user", "content": [given]}]


def _step(turn: int, call: int, filling: int) -> list[dict[str, object]]:
    """What a call of a growing conversation has more than the one before: so many times the question."""
    if call:
        return _tool_call(f"toolu_{turn}_{call}", f"{call}. {QUESTION}", filling - 4)
    answered = [_said("assistant", "Yes.")] if turn else []
    return [*answered, *_prompt(turn, QUESTION * (filling - 8), f"Was the fox quick on day {turn}?")]


def _hints(session: int) -> bytes:
    """The lines by which the client says whose call this is."""
    lines = b"X-Claude-Code-Session-Id: bench-%d\r\nX-Claude-Code-Request-Class: main\r\n" % session
    return lines + b"X-Loom-Source: %s\r\n" % PROFILE.encode()


def _said(role: str, text: str) -> dict[str, object]:
    return {"role": role, "content": [{"type": "text", "text": text}]}


def _body(messages: list[dict[str, object]], *, stream: bool) -> dict[str, object]:
    return {
        "model": "claude-bench",
        "max_tokens": 1024,
        "stream": stream,
        "metadata": {"user_id": "bench"},
        "messages": messages,
    }


def _message(content: list[dict[str, str]], stop_reason: str | None) -> dict[str, object]:
    return {
        "id": "msg_bench",
        "type": "message",
        "role": "assistant",
        "model": "claude-bench",
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 250, "output_tokens": 1, "cache_read_input_tokens": 100},
    }


def _exactly(size: int, build: Callable[[str], dict[str, object]]) -> bytes:
    """The JSON of what `build` makes of a text just long enough."""
    missing = size - len(_json(build("")))
    return _json(build((QUESTION * (missing // len(QUESTION) + 1))[:missing]))


def _request(target: bytes, body: bytes, more: bytes = b"") -> Request:
    return b"POST %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n" % (target, _CLIENT + more, len(body)), body


def _frame(told: dict[str, object]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (f"{told['type']}".encode(), _json(told))


def _chunk(frame: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(frame), frame)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
