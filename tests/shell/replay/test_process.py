import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loom_core.events import RequestEnded, UpstreamChunkReceived
from loom_core.values import ExchangeKey
from loom_shell.replay import process as module
from loom_shell.replay.process import WriterProcess
from loom_shell.replay.reading import recorded
from loom_shell.replay.writer import NICE
from loom_shell.replay.writing import Bounds
from tests.support.child import runs
from tests.support.journals import handed

X = ExchangeKey("x")


@pytest.mark.spec("journal.apart")
def test_it_has_its_pipe_and_its_files_and_nothing_else_of_ours(tmp_path: Path) -> None:
    with (tmp_path / "ours").open("wb") as ours:
        os.set_inheritable(ours.fileno(), True)  # noqa: FBT003 - as if a library had forgotten to
        writer = WriterProcess(tmp_path / "j", Bounds())
        opened = {str(it.readlink()) for it in Path(f"/proc/{writer.pid}/fd").iterdir()}
    assert writer.end() == ""
    (pipe,) = (it for it in opened if it.startswith("socket:"))
    assert opened - {pipe} == {"/dev/null", *map(str, (tmp_path / "j").iterdir())}


@pytest.mark.spec("journal.apart")
def test_signals_that_are_for_the_one_that_serves_do_not_end_it(tmp_path: Path) -> None:
    writer = WriterProcess(tmp_path / "j", Bounds())
    assert os.getpgid(writer.pid) == writer.pid != os.getpgrp()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(writer.pid, number)
    handed(writer, (X, RequestEnded(1)))
    assert writer.end() == ""
    assert len(list(recorded(tmp_path / "j"))) == 1


@pytest.mark.spec("journal.apart")
def test_requests_go_before_it(tmp_path: Path) -> None:
    writer = WriterProcess(tmp_path / "j", Bounds())
    assert os.getpriority(os.PRIO_PROCESS, writer.pid) == min(19, os.nice(0) + NICE)
    assert writer.end() == ""


@pytest.mark.spec("journal.apart")
def test_it_loads_nothing_of_what_serves() -> None:
    code = "import sys, loom_shell.replay.writer; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"asyncio", "httpx", "starlette", "redis", "opentelemetry", "loom_shell.config"} & {
        *loaded.split()
    }


@pytest.mark.spec("journal.apart", "journal.killed")
def test_it_ends_with_its_pipe_and_writes_all_that_it_holds(tmp_path: Path) -> None:
    writer = WriterProcess(tmp_path / "j", Bounds())
    handed(writer, (X, UpstreamChunkReceived(1, b"the rest of it is still to co")))
    assert writer.is_going_on
    assert writer.end() == ""
    assert not runs(writer.pid)
    assert [record.event for record in recorded(tmp_path / "j")] == [
        UpstreamChunkReceived(1, b"the rest of it is still to co")
    ]


@pytest.mark.spec("journal.writer")
def test_one_that_was_killed_says_so(tmp_path: Path) -> None:
    writer = WriterProcess(tmp_path / "j", Bounds())
    os.kill(writer.pid, signal.SIGKILL)
    assert writer.end() == "its writer ended with status -9"
    assert not runs(writer.pid)


def test_a_folder_in_which_nothing_can_be_written_is_told_at_its_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="not a directory"):
        WriterProcess(tmp_path / "file" / "j", Bounds())


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("#!/bin/sh\nexit 3\n", "its writer did not start"),
        ("#!/bin/sh\nexec sleep 60\n", "its writer did not start"),
        (None, "its writer did not start: No such file or directory"),
    ],
)
def test_one_that_does_not_start_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, why: str
) -> None:
    python = tmp_path / "python"
    if script:
        python.write_text(script, encoding="ascii")
        python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(module, "START_SECONDS", 0.5)
    with pytest.raises(OSError, match=f"{re.escape(why)}$"):
        WriterProcess(tmp_path / "j", Bounds())


@pytest.mark.spec("journal.writer")
def test_one_that_lets_go_of_its_pipe_and_stays_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens = "from loom_shell.replay.handing import *; pipe = socket(fileno=0)"
    leaves = "read_frame(pipe); pipe.sendall(OPENED); pipe.close()"
    monkeypatch.setattr(module, "_RUN", f"import time; {opens}; {leaves}; time.sleep(60)")
    monkeypatch.setattr(module, "END_SECONDS", 0.05)
    writer = WriterProcess(tmp_path / "j", Bounds())
    assert writer.end() == "its writer ended with status -9"
