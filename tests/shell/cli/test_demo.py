"""The command as a person runs it."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from typer.testing import CliRunner

from loom_shell.cli import demo as command
from loom_shell.cli.main import command_line
from loom_shell.demo.stage import DemoFailed

DEMO = [sys.executable, "-m", "loom_shell", "demo"]
UNWELCOME = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
    "ANTHROPIC_CUSTOM_HEADERS": "x-simulate: error-500",
    "ANTHROPIC_LOG": "debug",
    "LOOM_UPSTREAM": "nonsense",
    "LOOM_PORT": "nonsense",
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """The folder for everything temporary; its path leaves room for a socket."""
    with TemporaryDirectory(prefix="loom-") as name:
        yield Path(name).resolve()


def left_in(folder: Path) -> list[str]:
    """What is left in a folder, and the processes that are at home there (proc(5))."""
    left = [path.name for path in folder.iterdir()]
    for process in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if str(process.readlink()).startswith(str(folder)):
                left.append((process.parent / "comm").read_text())
    return left


@pytest.mark.spec("demo.ends")
@pytest.mark.spec("demo.environment")
@pytest.mark.spec("demo.plain")
@pytest.mark.spec("demo.narrow")
@pytest.mark.spec("demo.leaves-nothing")
def test_it_ends_well_within_its_time_in_plain_lines_whatever_the_environment(folder: Path) -> None:
    began = time.monotonic()
    environment = {**os.environ, **UNWELCOME, "COLUMNS": "80", "TMPDIR": str(folder)}
    done = subprocess.run(DEMO, capture_output=True, env=environment, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert time.monotonic() - began < 15
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "The Loom relays a small conversation"
    assert lines[-1].endswith("claude")
    assert not [line for line in lines if not line.isprintable() or line != line.rstrip()]
    assert left_in(folder) == []


@pytest.mark.spec("replay.demo")
def test_what_it_journals_is_replayed_without_a_difference(tmp_path: Path, folder: Path) -> None:
    journal = str(tmp_path / "journal")
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run(
        [*DEMO, "--journal", journal], capture_output=True, env=environment, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    replayed = CliRunner().invoke(command_line(["replay"]), ["replay", "--check", journal])
    assert replayed.exit_code == 0, replayed.output


@pytest.mark.spec("demo.leaves-nothing")
@pytest.mark.spec("demo.failure")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_told_to_stop_it_ends_its_loom_and_store_and_says_so(
    number: signal.Signals, tmp_path: Path, folder: Path
) -> None:
    # One request is all it gets to make: the first answer never ends.
    script = tmp_path / "stalled.py"
    script.write_text(
        "import loom_shell.demo.stage as stages\n"
        "from loom_shell.simulator import SCENARIOS\n"
        "from loom_shell.cli.main import main\n"
        "stages.watchable = lambda pace: SCENARIOS['stall-mid-stream']\n"
        "main()\n"
    )
    command = [sys.executable, str(script), "demo"]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout
        address = ""
        for line in process.stdout:
            if line.lstrip().startswith("Loom "):
                address = line.split()[1]
            if line.lstrip().startswith("upstream"):
                break
        assert sys.platform != "linux" or "valkey-server\n" in left_in(folder)
        process.send_signal(number)
        _, said = process.communicate(timeout=15)
    assert process.returncode == 1
    assert said.splitlines()[-1:] == ["loom: the demo was interrupted"]
    port = int(address.rpartition(":")[2])
    gone = subprocess.run(
        [sys.executable, "-c", f"import socket; socket.create_connection(('127.0.0.1', {port}))"],
        capture_output=True,
        check=False,
    )
    assert b"ConnectionRefusedError" in gone.stderr
    assert left_in(folder) == []


@pytest.mark.spec("demo.sdk")
def test_without_the_sdk_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec

    def without(name: str) -> ModuleSpec | None:
        return None if name == "anthropic" else real(name)

    monkeypatch.setattr(command, "find_spec", without)
    done = CliRunner().invoke(command_line(["demo"]), ["demo"])
    assert done.exit_code == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "uv run --extra demo loom demo" in done.stderr
    assert "pip install 'loom[demo]'" in done.stderr


@pytest.mark.spec("demo.failure")
@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            DemoFailed("`loom serve` did not start: [red]no[/red]"),
            "loom: `loom serve` did not start: [red]no[/red]",
        ),
        (OSError("two\nlines"), "loom: the demo broke off: OSError: two lines"),
    ],
)
def test_a_failure_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("loom_shell.demo.show.show", fail)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    done = CliRunner().invoke(command_line(["demo"]), ["demo"])
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [line]
