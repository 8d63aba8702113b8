import json
import socket
import time

import pytest

from loom_shell.hook_report import FIELD_LIMIT, FIELDS, place, request, send

HERE = ("127.0.0.1", 80)


@pytest.mark.spec("hook.report-place")
@pytest.mark.parametrize(
    ("loom_url", "base_url", "found"),
    [
        ("", "http://127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("", "http://localhost:8080/path", ("localhost", 8080)),
        ("", "http://[::1]:1", ("::1", 1)),
        ("", "http://example.org:8080", None),
        ("", "https://127.0.0.1", None),
        ("", "https://api.anthropic.com", None),
        ("", "", None),
        ("http://loom.example.org:7", "http://127.0.0.1:8080", ("loom.example.org", 7)),
        ("https://loom.example.org", "http://127.0.0.1:8080", None),
        ("nonsense", "http://127.0.0.1:8080", None),
    ],
)
def test_where_a_report_goes(loom_url: str, base_url: str, found: tuple[str, int] | None) -> None:
    assert place(loom_url, base_url) == found


def test_a_request_is_one_small_json_object() -> None:
    told = {"session_id": "s", "tool_name": "é" * 1000, "reason": ""}
    head, _, body = request(("::1", 9), "", "Stop", told, 5).partition(b"\r\n\r\n")
    assert json.loads(body) == {"hook": "Stop", "session_id": "s", "tool_name": "é" * FIELD_LIMIT, "at": 5}
    lines = head.decode().split("\r\n")
    assert lines[:2] == ["POST /loom/hooks HTTP/1.1", "host: [::1]:9"]
    assert f"content-length: {len(body)}" in lines
    assert not any("authorization" in line for line in lines)


@pytest.mark.parametrize(
    ("token", "sent"), [("loom_x", True), ("a b", False), ("a\r\nx: y", False), ("é", False)]
)
def test_a_token_that_would_break_the_head_is_not_sent(token: str, *, sent: bool) -> None:
    written = request(HERE, token, "Stop", {}, 5)
    assert (f"authorization: Bearer {token}\r\n".encode() in written) is sent
    assert written.partition(b"\r\n\r\n")[0].count(b"\r\n") == 4 + sent


@pytest.mark.spec("hook.report")
def test_no_text_of_the_conversation_is_among_the_fields() -> None:
    assert not {"prompt", "last_assistant_message", "tool_input", "tool_response", "compact_summary"} & set(
        FIELDS
    )


@pytest.mark.spec("hook.report-fails")
def test_a_loom_that_never_answers_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            send(("127.0.0.1", silent.getsockname()[1]), b"x", 0.05)
        assert time.monotonic() - began < 1
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(10) == b"x"
