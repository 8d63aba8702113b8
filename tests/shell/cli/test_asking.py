import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import typer
from msgspec import Struct

from loom_shell.cli.asking import NoAnswerError, ask, configured, fail


class Page(Struct):
    words: str


@contextmanager
def answering(status: int, body: bytes) -> Iterator[tuple[str, list[str]]]:
    """An HTTP server that answers so; its URL, and the targets it was asked for."""
    asked: list[str] = []

    class Once(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("content-length", f"{len(body)}")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Once) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.spec("turns.command", "woven.command")
def test_a_page_is_asked_for_with_its_query() -> None:
    with answering(200, b'{"words": "\xc3\xbc"}') as (url, asked):
        assert ask(f"{url}/below/", "page", {"session": "a&b ü", "n": 1}, Page, "words") == Page("ü")
    assert asked == ["/below/loom/page?session=a%26b+%C3%BC&n=1"]


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (403, b"{}", "the Loom at URL shows its words on its own machine only"),
        (404, b"{}", "what answers at URL is no Loom that shows words (status 404)"),
        (200, b"<html>", "what answers at URL is no Loom that shows words (status 200)"),
        (200, b'{"words": 1}', "what answers at URL is no Loom that shows words (status 200)"),
        (200, b'{"words": "\xff"}', "what answers at URL is no Loom that shows words (status 200)"),
    ],
)
@pytest.mark.spec("turns.unreachable", "woven.none")
def test_another_answer_is_told_in_a_sentence(status: int, body: bytes, told: str) -> None:
    with answering(status, body) as (url, _), pytest.raises(NoAnswerError) as why:
        ask(url, "page", {}, Page, "words")
    assert str(why.value) == told.replace("URL", url)


@pytest.mark.spec("turns.unreachable", "woven.none")
def test_where_nobody_listens_the_sentence_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(NoAnswerError, match="start it with `loom serve`, or name it"):
        ask(url, "page", {}, Page, "words")


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1", "nonsense", "", "http://", "http://127.0.0.1:nine", "http://[x", "http://\x1b"]
)
@pytest.mark.spec("turns.unreachable", "woven.none", "woven.clean")
def test_a_url_that_is_none_is_told_in_a_sentence(url: str) -> None:
    with pytest.raises(NoAnswerError) as why:
        ask(url, "page", {}, Page, "words")
    assert str(why.value).isprintable()


@pytest.mark.spec("turns.command", "woven.command")
def test_the_configured_loom_is_asked_where_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for host, place in (("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")):
        monkeypatch.setenv("LOOM_HOST", host)
        monkeypatch.setenv("LOOM_PORT", "4711")
        assert configured() == f"http://{place}:4711"


@pytest.mark.spec("turns.unreachable", "woven.none")
def test_a_failure_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        fail("[bold]one\nline[/bold]")
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == "loom: [bold]one line[/bold]\n"
