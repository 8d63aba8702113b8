"""The endpoints of a well upstream: what `ok` answers, by method and path."""

from collections.abc import Iterator, Mapping

import msgspec

from loom_core.meter import count_tokens
from loom_shell.simulator.replies import Asked, error, json_answer, plain, stream_answer
from loom_shell.simulator.steps import Step

MODELS: tuple[Mapping[str, str], ...] = tuple(
    {"type": "model", "id": called, "display_name": shown, "created_at": "2026-01-01T00:00:00Z"}
    for called, shown in (
        ("claude-opus-5-5", "Claude Opus 5.5"),
        ("claude-sonnet-5", "Claude Sonnet 5"),
        ("claude-haiku-4-5", "Claude Haiku 4.5"),
    )
)


def ok(asked: Asked) -> Iterator[Step]:
    """Answers as a well upstream does: by path, and streaming when the request says `stream`."""
    match asked.method, asked.path:
        case _, path if path == "/echo" or path.startswith("/echo/"):
            kind = "application/octet-stream"
            yield from plain(asked, asked.body, kind=kind)
        case "POST", "/v1/messages":
            yield from _messages(asked)
        case "POST", "/v1/messages/count_tokens":
            if _is_request(asked):
                counted = {"input_tokens": count_tokens(asked.parsed)}
                yield from plain(asked, msgspec.json.encode(counted))
            else:
                yield from error(asked, 400)
        case "GET" | "HEAD", "/v1/models":
            yield from plain(asked, msgspec.json.encode(_models()))
        case "GET" | "HEAD", "/api/hello":
            yield from plain(asked, b'{"message":"hello"}')
        case method, path:
            yield from error(asked, 404, f"{method} {path} is not simulated")


def _messages(asked: Asked) -> Iterator[Step]:
    if not _is_request(asked):
        yield from error(asked, 400)
    elif asked.streams:
        yield from stream_answer(asked)
    else:
        yield from json_answer(asked)


def _is_request(asked: Asked) -> bool:
    messages = asked.message.get("messages")
    return isinstance(messages, list) and bool(messages)


def _models() -> Mapping[str, object]:
    return {
        "data": MODELS,
        "has_more": False,
        "first_id": MODELS[0]["id"],
        "last_id": MODELS[-1]["id"],
    }
