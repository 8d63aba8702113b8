import asyncio
import base64
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from loom_shell.cli.simulate import log_line, simulate
from loom_shell.simulator import SCENARIOS, Received
from tests.shell.simulator.raw import PROMPT, Heard, request, talk

PROGRAM = "import typer; from loom_shell.cli.simulate import simulate; typer.run(simulate)"


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], list[str], int]]:
    """The command on a free port: the process, the lines of its screen, the port."""
    command = [sys.executable, "-c", PROGRAM, "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        screen = []
        for line in process.stdout:
            screen.append(line)
            if "loom serve --upstream" in line:
                break
        (address,) = (line for line in screen if "listening" in line)
        try:
            yield process, screen, int(address.rsplit(":", 1)[1])
        finally:
            process.kill()


def ask(port: int, sent: bytes) -> Heard:
    return asyncio.run(talk(port, sent))


@pytest.mark.spec("simulator.command")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_until_a_signal_and_ends_well(number: signal.Signals) -> None:
    with running("--scenario", "error-529") as (process, _, port):
        assert ask(port, request(body=PROMPT)).status == 529
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.spec("simulator.command")
def test_a_signal_ends_it_also_in_the_middle_of_an_answer() -> None:
    with running() as (process, _, port):

        async def leave_open() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request(target="/?simulate=stall-mid-stream"))
            await reader.readexactly(1)
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                await reader.read()
            writer.close()

        asyncio.run(leave_open())
        assert process.wait(10) == 0


def test_the_screen_names_address_scenarios_and_how_to_point_a_client_at_it() -> None:
    with running("--scenario", "thinking") as (_, lines, port):
        screen = "".join(lines)
    assert f"ANTHROPIC_BASE_URL=http://127.0.0.1:{port} " in screen
    assert f"loom serve --upstream http://127.0.0.1:{port}" in screen
    assert f"thinking: {SCENARIOS['thinking'].says}" in screen
    for name, scenario in SCENARIOS.items():
        assert f"  {name} " in screen
        assert scenario.says in screen


@pytest.mark.spec("simulator.log")
def test_the_log_has_each_request_to_the_byte(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("kept\n")
    with running("--log", str(log)) as (process, _, port):
        sent = request(target="/echo?a=1", body=b"\xff\x00", lines=("X-Odd:  y",))
        assert ask(port, sent).rest == b"\xff\x00"
        ask(port, request(body=PROMPT))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    kept, first, second = log.read_text().splitlines()
    assert kept == "kept"
    assert json.loads(first) == {
        "connection": 1,
        "scenario": "ok",
        "method": "POST",
        "target": "/echo?a=1",
        "version": "HTTP/1.1",
        "headers": ["Host: sim", "X-Odd:  y", "connection: close", "content-length: 2"],
        "body": {"base64": base64.b64encode(b"\xff\x00").decode()},
        "trailers": [],
        "complete": True,
        "aborted": False,
    }
    assert json.loads(json.loads(second)["body"]) == PROMPT


def test_a_line_of_the_log_tells_a_request_that_broke_off() -> None:
    left = Received(1, "GET", b"/\xff", b"HTTP/1.1", (b"x: \xff",))
    left.client_left()
    line = json.loads(log_line(left))
    assert (line["complete"], line["aborted"]) == (False, True)
    assert line["target"] == {"base64": base64.b64encode(b"/\xff").decode()}


def call(*options: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(simulate)
    result = CliRunner().invoke(app, list(options))
    return result.exit_code, result.stderr


def test_an_unknown_scenario_is_refused_with_those_there_are() -> None:
    code, said = call("--scenario", "nonsense")
    assert code == 2
    assert said.startswith("loom: --scenario nonsense: unknown; one of ok, ok-stream, ")
    assert said.count("\n") == 1


def test_a_log_that_cannot_be_written_stops_the_start_with_one_line(tmp_path: Path) -> None:
    code, said = call("--port", "0", "--log", str(tmp_path / "none" / "log.jsonl"))
    assert (code, said.count("\n")) == (2, 1)
    assert "No such file" in said


def test_a_port_in_use_stops_the_start_with_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = call("--port", str(taken.getsockname()[1]))
    assert (code, said.count("\n")) == (2, 1)
    assert "in use" in said
