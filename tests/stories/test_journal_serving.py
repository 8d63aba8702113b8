"""A Loom that serves and records: what real sockets brought is what a replay runs over."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loom_core.actions import LogExchange, SendChunk
from loom_core.events import UpstreamChunkReceived, UpstreamEnded
from loom_core.values import ExchangeKey
from loom_shell.cli.main import command_line
from loom_shell.replay.checking import Check, Part, parts
from loom_shell.replay.reading import recorded
from loom_shell.simulator import Simulator
from tests.support.child import runs, served, until_gone
from tests.support.conversations import prompt
from tests.support.journals import writers, written
from tests.support.proxy import loom
from tests.support.recordings import asked
from tests.support.wire import dial, request, until

pytestmark = pytest.mark.anyio

KEY = "sk-ant-api03-AAAAbbbbCCCC"
LINES = ("x-claude-code-session-id: s-1", f"x-api-key: {KEY}")


async def call(port: int) -> bytes:
    async with await dial(port) as caller:
        asks = request("POST", "/v1/messages", asked(prompt("Tea?"), tools=True), LINES)
        return (await caller.ask(asks)).body


def replayed(folder: Path) -> list[Part]:
    check, found = Check(), list(parts(recorded(folder)))
    assert [part for part in found if check.differs(part)] == []
    assert check.compared
    return found


@pytest.mark.spec("replay.same", "replay.told", "journal.secrets")
async def test_what_clients_got_at_the_same_time_is_what_a_replay_sends(
    sim: Simulator, tmp_path: Path
) -> None:
    async with loom(sim.origin, journal=str(tmp_path / "j")) as running:
        got = await asyncio.gather(*(call(running.port) for _ in range(6)))
        await running.idle()
    steps = [step for part in replayed(tmp_path / "j") for step in part.steps]
    chunks: dict[ExchangeKey, bytes] = {}
    for step in steps:
        for action in step.actions:
            if isinstance(action, SendChunk) and isinstance(step.key, ExchangeKey):
                chunks[step.key] = chunks.get(step.key, b"") + action.data
    assert sorted(chunks.values()) == sorted(got)
    assert sum(isinstance(action, LogExchange) for step in steps for action in step.actions) == 6
    assert KEY.encode() not in written(tmp_path / "j")


@pytest.mark.spec("journal.torn")
async def test_a_process_that_is_killed_leaves_what_replays(sim: Simulator, tmp_path: Path) -> None:
    folder = tmp_path / "j"

    def is_written() -> bool:
        return any(b"UpstreamEnded" in path.read_bytes() for path in folder.glob("*.jsonl"))

    async with served("--upstream", sim.origin, "--journal", str(folder), home=tmp_path) as child:
        await call(child.port)
        await until(is_written)
        child.process.kill()
        await child.process.wait()
    assert any(isinstance(part.record.event, UpstreamEnded) for part in replayed(folder))


async def read(pieces: AsyncIterator[bytes], frames: int) -> bytes:
    got = b""
    while got.count(b"\n\n") < frames:
        got += await anext(pieces)
    return got


@pytest.mark.spec("journal.killed", "journal.apart")
async def test_of_a_process_that_is_killed_in_the_middle_of_a_stream_all_is_there_that_came_a_second_before(
    sim: Simulator, tmp_path: Path
) -> None:
    folder = tmp_path / "j"
    async with served("--upstream", sim.origin, "--journal", str(folder), home=tmp_path) as child:
        (writer,) = writers(child.pid)
        async with await dial(child.port) as caller:
            path = "/v1/messages?simulate=paced&frames=300&rate=50"
            await caller.send(request("POST", path, asked(prompt("Tea?")), LINES))
            assert (await caller.head()).status == 200
            pieces = caller.pieces()
            before = await read(pieces, 40)
            await read(pieces, 50)
            child.process.kill()
            await child.process.wait()
            await until_gone([writer])
    events = [record.event for record in recorded(folder)]
    told = b"".join(it.data for it in events if isinstance(it, UpstreamChunkReceived))
    assert told.startswith(before)
    assert not any(isinstance(it, UpstreamEnded) for it in events)
    checked = CliRunner().invoke(command_line(["replay"]), ["replay", "--check", str(folder)])
    assert (checked.exit_code, "is the same" in checked.stderr) == (0, True)


@pytest.mark.spec("journal.writer")
async def test_without_its_writer_a_process_serves_on_and_notes_it_once(
    sim: Simulator, tmp_path: Path
) -> None:
    async with served("--upstream", sim.origin, "--journal", str(tmp_path / "j"), home=tmp_path) as child:
        (writer,) = writers(child.pid)
        os.kill(writer, signal.SIGKILL)
        await child.until("the journal has stopped")
        assert all([await call(child.port) for _ in range(3)])
        assert not runs(writer)
        child.signal()
        assert await child.ended() == 0
    assert len([line for line in child.lines if "journal" in line.get("text", "")]) == 1


@pytest.mark.spec("journal.apart")
async def test_each_worker_has_a_journal_of_its_own_and_no_writer_stays_behind(
    sim: Simulator, tmp_path: Path
) -> None:
    folder = tmp_path / "j"

    def all_writers() -> list[int]:
        return [it for worker in filter(runs, child.children()) for it in writers(worker)]

    flags = ("--upstream", sim.origin, "--journal", str(folder), "--workers", "2")
    async with served(*flags, home=tmp_path) as child:
        await until(lambda: len(all_writers()) == 2)
        victim = child.children()[0]
        ends = writers(victim)
        os.kill(victim, signal.SIGKILL)
        await until_gone(ends)
        await until(lambda: len(all_writers()) == 2)
        left = all_writers()
        await asyncio.gather(*(call(child.port) for _ in range(6)))
        child.signal()
        assert await child.ended() == 0
        await until_gone(left)
    steps = [step for part in replayed(folder) for step in part.steps]
    assert sum(isinstance(action, LogExchange) for step in steps for action in step.actions) == 6


@pytest.mark.spec("journal.private")
async def test_a_folder_that_others_may_look_into_stops_the_start_with_one_line(
    sim: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(AssertionError, match=r"loom: others may look into .*open, and a journal holds"):
        async with served("--upstream", sim.origin, "--journal", str(tmp_path / "open"), home=tmp_path):
            pass
