"""The Loom behind the demonstration is the real command, alone with its own environment."""

import asyncio
import sys
import time
from pathlib import Path

import httpx
import pytest

import loom_shell
from loom_shell.demo import stage as stages
from loom_shell.demo.stage import DemoFailed, Stage, stage, watchable
from loom_shell.simulator import Simulator


async def _get(origin: str, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(origin + path)


async def _started() -> Stage:
    async with stage(0.0) as playing:
        return playing


@pytest.mark.spec("demo.environment")
@pytest.mark.spec("demo.leaves-nothing")
def test_the_loom_relays_to_the_simulator_whatever_the_user_has_set_and_ends_with_the_block(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "loom").mkdir()
    (tmp_path / "loom" / "loom.toml").write_text("port = 'nonsense'")
    (tmp_path / "loom_shell.py").write_text("raise SystemExit('not this one')")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("LOOM_UPSTREAM", "nonsense")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)

    async def run() -> None:
        async with stage(0.0) as playing:
            answer = await _get(playing.loom, "/api/hello")
            assert answer.json() == {"message": "hello"}
            assert playing.behind.requests[0].path == b"/api/hello"
            assert playing.twin.requests == []
            line = await playing.logged(0)
            assert (line["path"], line["status"]) == ("/api/hello", 200)
        with pytest.raises(httpx.ConnectError):
            await _get(playing.loom, "/api/hello")

    asyncio.run(run())


def test_a_log_line_that_never_comes_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "LOG_SECONDS", 0.01)

    async def run() -> None:
        playing = Stage(Simulator(), Simulator(), "http://127.0.0.1:9")
        with pytest.raises(DemoFailed, match="no log line for request 1"):
            await playing.logged(0)

    asyncio.run(run())


@pytest.mark.spec("demo.failure")
def test_a_loom_that_cannot_be_started_fails_the_demo(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    with pytest.raises(DemoFailed, match="could not be started"):
        asyncio.run(_started())


@pytest.mark.spec("demo.failure")
def test_a_loom_that_ends_at_once_fails_the_demo_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "loom_shell"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("raise SystemExit('no threads left')")
    monkeypatch.setattr(loom_shell, "__file__", str(package / "__init__.py"))
    with pytest.raises(DemoFailed, match="did not start: no threads left"):
        asyncio.run(_started())


@pytest.mark.spec("demo.leaves-nothing")
def test_a_loom_that_is_never_ready_fails_the_demo_and_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "loom_shell"
    package.mkdir()
    (package / "__init__.py").touch()
    alive = tmp_path / "alive"
    (package / "__main__.py").write_text(
        "import os, pathlib, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(alive)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(60)\n"
    )
    monkeypatch.setattr(loom_shell, "__file__", str(package / "__init__.py"))
    monkeypatch.setattr(stages, "START_SECONDS", 1.0)
    monkeypatch.setattr(stages, "STOP_SECONDS", 0.2)
    with pytest.raises(DemoFailed, match="not ready within 1 seconds"):
        asyncio.run(_started())
    if alive.exists():
        assert not Path(f"/proc/{alive.read_text()}/stat").exists()


def test_the_pace_changes_the_times_and_no_byte() -> None:
    asked = {"stream": True, "messages": [{"role": "user", "content": "hi"}]}

    async def read(pace: float) -> tuple[bytes, float]:
        async with Simulator(watchable(pace)) as simulator, httpx.AsyncClient(trust_env=False) as client:
            began = time.monotonic()
            answer = await client.post(f"{simulator.origin}/v1/messages", json=asked)
            return answer.content, time.monotonic() - began

    (slow, seconds), (fast, _) = asyncio.run(read(0.02)), asyncio.run(read(0.0))
    assert slow == fast
    assert seconds >= 0.02 * slow.count(b"\n\n")
