import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from loom_shell.recent import RecentTurns
from tests.support.turns_picture import SESSION, finished, running, span

PROGRAM = """
import typer
from loom_shell.cli.turns import turns
app = typer.Typer()
app.command()(turns)
app()
"""
END = (("input.value", "Now the weft, too."), ("loom.turn.outcome", "complete"))


class Answers:
    """A page of turns on 127.0.0.1, or whatever `body` and `status` say."""

    def __init__(self) -> None:
        self.recent = RecentTurns()
        self.status, self.body = 200, b""
        self.asked: list[dict[str, list[str]]] = []
        self.lock = threading.Lock()
        self.url = ""

    def keep(self, *spans: object) -> None:
        with self.lock:
            for one in spans:
                self.recent.keep(one)  # type: ignore[arg-type]

    def answer(self, path: str) -> bytes:
        asked = parse_qs(urlsplit(path).query, keep_blank_values=True)
        self.asked.append(asked)
        with self.lock:
            page = self.recent.page(asked["session"][0], int(asked["limit"][0]), int(asked["after"][0]))
        return self.body or msgspec.json.encode(page)


@contextmanager
def answering() -> Iterator[Answers]:
    answers = Answers()

    class Once(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.answer(self.path) if self.path.startswith("/loom/turns?") else b"elsewhere"
            self.send_response(answers.status)
            self.send_header("content-length", f"{len(body)}")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Once) as server:
        answers.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield answers
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def page() -> Iterator[Answers]:
    with answering() as answers:
        yield answers


def started(*arguments: str, home: Path, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={
            "HOME": str(home),
            "PYTHONIOENCODING": "utf-8",
            "PATH": os.environ["PATH"],
            "TZ": "UTC",
            **environ,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def ran(*arguments: str, home: Path, **environ: str) -> tuple[int, str, str]:
    with started(*arguments, home=home, **environ) as program:
        out, err = program.communicate(timeout=30)
    return program.returncode, out, err


@pytest.mark.spec("turns.command")
def test_the_turns_of_a_running_loom_are_printed(page: Answers, tmp_path: Path) -> None:
    page.keep(*finished(), *running())
    code, out, err = ran("5e55", "--limit", "7", "--url", page.url, home=tmp_path)
    assert (code, err) == (0, "")
    assert "● Why is the warp test red? Mend it, please.\n" in out
    assert "◌ Now the weft, too.\n" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out
    assert page.asked == [{"session": ["5e55"], "limit": ["7"], "after": ["0"]}]


@pytest.mark.spec("turns.command")
def test_the_configured_loom_is_asked_and_nothing_yet_is_no_failure(page: Answers, tmp_path: Path) -> None:
    port = f"{urlsplit(page.url).port}"
    code, out, _err = ran("none-such", home=tmp_path, LOOM_PORT=port, LOOM_HOST="127.0.0.1")
    assert (code, out) == (0, "No turns of session none-such yet.\n")
    assert len(page.asked) == 1


@pytest.mark.spec("turns.command")
def test_json_is_a_line_for_each_trace(page: Answers, tmp_path: Path) -> None:
    page.keep(*finished(), *running())
    code, out, _err = ran("--json", "--url", page.url, home=tmp_path)
    told = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [trace["sessions"] for trace in told] == [[SESSION], [SESSION]]
    assert told[0]["spans"][0]["name"] == "hook:collect-metadata"


@pytest.mark.spec("turns.follow")
def test_follow_prints_each_turn_once_when_it_is_over_until_ctrl_c(page: Answers, tmp_path: Path) -> None:
    page.keep(*finished(), *running())
    with started("--follow", "--url", page.url, home=tmp_path, PYTHONUNBUFFERED="1") as program:
        try:
            assert program.stdout
            for line in program.stdout:
                if "19.4k in" in line:
                    break
            page.keep(span("user-turn:5e551071", 1, 0, (20, 22), END, trace=2))
            second = next(program.stdout)
            program.send_signal(signal.SIGINT)
            out, err = program.communicate(timeout=20)
        finally:
            program.kill()
    assert second == "● Now the weft, too.\n"
    assert (program.returncode, err) == (0, "")
    assert "●" not in out
    assert "running" not in out


@pytest.mark.spec("turns.unreachable")
def test_without_a_loom_there_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code, out, err = ran("--url", f"http://127.0.0.1:{port}", home=tmp_path)
    assert (code, out) == (1, "")
    where = f"http://127.0.0.1:{port}"
    assert err == f"loom: no Loom answers at {where}: start it with `loom serve`, or name it with --url\n"


@pytest.mark.spec("turns.unreachable")
@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (403, b"{}", "on its own machine only"),
        (404, b"{}", "is no Loom that shows turns (status 404)"),
        (200, b"<html>", "is no Loom that shows turns (status 200)"),
        (200, b'{"last": 1, "turns": [{"trace_id": 1}]}', "is no Loom that shows turns (status 200)"),
    ],
)
def test_another_answer_is_told_in_one_line(
    page: Answers, tmp_path: Path, status: int, body: bytes, told: str
) -> None:
    page.status, page.body = status, body
    code, out, err = ran("--url", page.url, home=tmp_path)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert told in err


@pytest.mark.spec("turns.unreachable")
@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1", "nonsense", "http://", "http://127.0.0.1:nine", "http://[x"]
)
def test_a_url_that_is_none_is_told_in_one_line(tmp_path: Path, url: str) -> None:
    code, out, err = ran("--url", url, home=tmp_path)
    assert (code, out, err.count("\n")) == (1, "", 1)
