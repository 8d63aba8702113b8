import asyncio
import os
import signal
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from loom_shell.bus import Bus
from loom_shell.cli.scribe import scribe
from loom_shell.embedded import Embedded
from loom_shell.redis_url import redis
from loom_shell.scribe import FILE_NAME
from tests.support.embedded import is_running, pid
from tests.support.scribe_kills import more_than, scribing, stored
from tests.support.scribed import published
from tests.support.store import valkey

pytestmark = pytest.mark.anyio


@pytest.mark.spec("scribe.command", "scribe.waits")
async def test_it_stores_from_an_embedded_store_also_one_that_was_killed(tmp_path: Path) -> None:
    async with scribing(tmp_path) as child:
        embedded = Embedded(tmp_path)
        socket = await embedded.start()
        bus = Bus(socket)
        await bus.publish([published(i) for i in range(10)])
        await more_than(tmp_path, 9)
        os.kill(pid(socket), signal.SIGKILL)
        await child.until("the scribe waits: the store: ")
        await child.until("the scribe goes on")
        await bus.publish([published(i) for i in range(10, 20)])
        await more_than(tmp_path, 19)
        await bus.aclose()
        assert await embedded.aclose() == ""
        child.signal(signal.SIGINT)
        assert await child.ended() == 0
        assert child.lines[-1]["text"] == "the scribe ends"
        assert child.lines[-1]["stored"] == 20
    assert stored(tmp_path) == 20
    assert not is_running(tmp_path)


@pytest.mark.spec("scribe.command", "scribe.ends")
async def test_sigterm_ends_it_in_order(tmp_path: Path) -> None:
    with valkey("hunter2hunter2") as server:
        url = f"redis://:hunter2hunter2@127.0.0.1:{server.port}"
        bus = Bus(redis(url))
        async with scribing(tmp_path, LOOM_REDIS_URL=url) as child:
            await bus.publish([published(i) for i in range(500)])
            await more_than(tmp_path, 0)
            child.signal()
            assert await child.ended() == 0
        # What was not stored was not acknowledged.
        async with scribing(tmp_path, LOOM_REDIS_URL=url) as again:
            await more_than(tmp_path, 499)
            again.signal()
            assert await again.ended() == 0
        await bus.aclose()
        assert b"hunter2" not in child.raw_log + again.raw_log
    # Whoever leaves last takes the write-ahead log along.
    assert not (tmp_path / f"{FILE_NAME}-wal").exists()


@pytest.mark.spec("scribe.command")
async def test_what_is_configured_wrongly_is_one_line(tmp_path: Path) -> None:
    app = Typer()
    app.command()(scribe)
    result = await asyncio.to_thread(CliRunner().invoke, app, ["--config", str(tmp_path / "nowhere.toml")])
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "nowhere.toml" in line
