"""A Loom that serves and records: what real sockets brought is what a replay runs over."""

import asyncio
from pathlib import Path

import pytest

from loom_core.actions import LogExchange, SendChunk
from loom_core.events import UpstreamEnded
from loom_core.values import ExchangeKey
from loom_shell.replay.checking import Check, Part, parts
from loom_shell.replay.reading import recorded
from loom_shell.simulator import Simulator
from tests.support.child import served
from tests.support.conversations import prompt
from tests.support.journals import written
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


@pytest.mark.spec("journal.private")
async def test_a_folder_that_others_may_look_into_stops_the_start_with_one_line(
    sim: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(AssertionError, match=r"loom: others may look into .*open, and a journal holds"):
        async with served("--upstream", sim.origin, "--journal", str(tmp_path / "open"), home=tmp_path):
            pass
