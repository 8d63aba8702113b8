from typing import Any

import msgspec
import pytest
from attrs import evolve

from loom_core.meter import count_tokens
from loom_shell.simulator.routes import ok
from tests.shell.simulator.raw import PROMPT, STREAMED, Heard, asked, heard


def call(method: str, path: str, body: object = None, *, raw: bytes = b"") -> Heard:
    return heard(ok(evolve(asked(body, method), path=path, body=raw)))


def test_messages_are_answered_as_stream_or_json_as_asked() -> None:
    assert call("POST", "/v1/messages", STREAMED).headers[b"content-type"].startswith(b"text/event-stream")
    said: Any = call("POST", "/v1/messages", PROMPT).json()
    assert (said["type"], said["role"], said["usage"]["input_tokens"]) == ("message", "assistant", 7)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize("body", [[], {"messages": []}, {"messages": "hi"}, {"model": "x"}])
def test_a_request_without_messages_is_refused(path: str, body: object) -> None:
    assert call("POST", path, body).status == 400


def test_tokens_are_counted_by_the_meter() -> None:
    said = call("POST", "/v1/messages/count_tokens", PROMPT)
    assert said.json() == {"input_tokens": count_tokens(PROMPT)}


def test_models_are_listed() -> None:
    said: Any = call("GET", "/v1/models").json()
    ids = [model["id"] for model in said["data"]]
    assert (said["has_more"], said["first_id"], said["last_id"]) == (False, ids[0], ids[-1])


def test_the_probe_is_answered_without_a_body() -> None:
    said = call("HEAD", "/api/hello")
    assert (said.status, said.rest) == (200, b"")


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "BREW"])
@pytest.mark.parametrize("path", ["/echo", "/echo/deeper"])
def test_echo_gives_back_the_bytes_of_the_body(method: str, path: str) -> None:
    assert call(method, path, raw=b"\x00\xff any").rest == b"\x00\xff any"


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/v1/messages"), ("POST", "/echoes")])
def test_anything_else_is_not_found(method: str, path: str) -> None:
    said = call(method, path)
    shape = msgspec.json.decode(said.rest)
    assert (said.status, shape["error"]["type"]) == (404, "not_found_error")
    assert f"{method} {path}" in shape["error"]["message"]
