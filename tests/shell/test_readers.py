import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from loom_core.actions import WatchFile
from loom_shell import readers as module
from loom_shell import transcripts
from loom_shell.config import Config, load
from loom_shell.driver import Driver
from loom_shell.log import Log
from loom_shell.readers import Readers
from loom_shell.redis_url import redis
from loom_shell.scribe import FILE_NAME, Database, Scribe
from loom_shell.transcripts import Transcripts
from tests.support.bus import bus, line
from tests.support.store import valkey
from tests.support.wire import until
from tests.support.writer import SESSION

pytestmark = pytest.mark.anyio
HOLDS = """
import pathlib, sys
from loom_shell.claims import Claims
from loom_shell.readers import CLAIMED
one = Claims(pathlib.Path(sys.argv[1]), "readers")
assert one.take(CLAIMED)
print("held", flush=True)
sys.stdin.read()
"""


def write(path: Path, *texts: str) -> None:
    told = (
        {
            "type": "user",
            "uuid": f"u-{text}",
            "sessionId": SESSION,
            "message": {"role": "user", "content": text},
        }
        for text in texts
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(b"".join(json.dumps(one).encode() + b"\n" for one in told))


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    return tmp_path / "projects" / "-w" / f"{SESSION}.jsonl"


def configured(folder: Path, **more: str) -> Config:
    environ = {"HOME": str(folder), "LOOM_TRANSCRIPTS_ROOTS": str(folder / "projects"), **more}
    return load({"home": str(folder / "data")}, environ)


@asynccontextmanager
async def reading(config: Config) -> AsyncIterator[Readers]:
    log = Log(os.open(os.devnull, os.O_WRONLY))
    one = Readers(config, Driver(log), log, lambda *_: None)
    one.start()
    try:
        yield one
    finally:
        await one.aclose()
        log.close(1.0)


def published(one: Readers) -> int:
    return one._transcripts.status().published


def said(config: Config) -> list[str]:
    place = config.home / FILE_NAME
    if not place.exists():
        return []
    database = Database(place)
    found = [row.text for row in database.lines(SESSION)]
    database.close()
    return found


@pytest.mark.spec("readers.defaults", "readers.status")
async def test_what_is_written_is_stored_with_no_set_up(tmp_path: Path, transcript: Path) -> None:
    config = configured(tmp_path)
    write(transcript, "one", "two")
    async with reading(config) as one:
        assert "state" in (await one.status())["scribe"], "nobody has named a session"
        one.watch(WatchFile(SESSION, str(transcript)))
        await until(lambda: said(config) == ["one", "two"])
        await until(lambda: one._scribe and one._scribe.status().stored == 2)
        told = await one.status()
        assert (told["transcripts"]["files"], told["scribe"]["stored"]) == (1, 2)
        assert told["intro"] is None
    write(transcript, "three")
    async with reading(config) as one:
        one.watch(WatchFile(SESSION, str(transcript)))
        await until(lambda: said(config) == ["one", "two", "three"])


@pytest.mark.spec("readers.end")
async def test_whatever_fails_at_the_end_another_process_may_read_on(
    tmp_path: Path, transcript: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fault(_: object) -> None:
        raise OSError("leaving failed")

    config, log = configured(tmp_path), Log(os.open(os.devnull, os.O_WRONLY))
    write(transcript, "one")
    first = Readers(config, Driver(log), log, lambda *_: None)
    first.start()
    first.watch(WatchFile(SESSION, str(transcript)))
    await until(lambda: said(config) == ["one"])
    monkeypatch.setattr(Transcripts, "leave", fault)
    monkeypatch.setattr(transcripts, "START_SECONDS", 0.1)
    with pytest.raises(OSError, match="leaving failed"):
        await first.aclose()
    monkeypatch.undo()
    assert all(task.done() for task in first._tasks)
    log.close(1.0)
    write(transcript, "two")
    async with reading(config) as one:
        one.watch(WatchFile(SESSION, str(transcript)))
        await until(lambda: said(config) == ["one", "two"])


@pytest.mark.spec("readers.off")
async def test_switched_off_nothing_is_followed_or_made(tmp_path: Path, transcript: Path) -> None:
    write(transcript, "one")
    async with reading(configured(tmp_path, LOOM_TRANSCRIPTS_WATCH="false")) as one:
        one.watch(WatchFile(SESSION, str(transcript)))
        assert (await one.status())["transcripts"] is None
    assert not (tmp_path / "data").exists()


@pytest.mark.spec("readers.off")
async def test_without_the_scribe_lines_wait_for_one_that_comes(tmp_path: Path, transcript: Path) -> None:
    write(transcript, "one")
    config = configured(tmp_path, LOOM_SCRIBE_SERVE="false")
    async with reading(config) as one:
        one.watch(WatchFile(SESSION, str(transcript)))
        await until(lambda: published(one) == 1)
        assert (await one.status())["scribe"] is None
    assert said(config) == []
    config = configured(tmp_path)
    async with reading(config) as one:
        one.watch(WatchFile(SESSION, str(transcript)))
        await until(lambda: said(config) == ["one"])


@pytest.mark.spec("readers.defaults")
async def test_what_others_publish_on_a_shared_store_is_stored(tmp_path: Path) -> None:
    with valkey() as server:
        url = f"redis://127.0.0.1:{server.port}"
        config = configured(tmp_path, LOOM_REDIS_URL=url)
        async with bus(redis(url)) as other, reading(config):
            raw = json.dumps({"type": "user", "message": {"role": "user", "content": "hello"}}).encode()
            await other.publish([line(1, raw, SESSION)])
            await until(lambda: said(config) == ["hello"])


@pytest.mark.spec("readers.one-of-home")
async def test_a_fault_of_one_ends_neither_it_nor_the_other(
    tmp_path: Path, transcript: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.05)
    faults = [RuntimeError("a fault of ours")]
    whole = Scribe.run

    async def run(one: Scribe) -> None:
        if faults:
            raise faults.pop()
        await whole(one)

    monkeypatch.setattr(Scribe, "run", run)
    config = configured(tmp_path)
    write(transcript, "one")
    async with reading(config) as one:
        one.watch(WatchFile(SESSION, str(transcript)))
        await until(lambda: said(config) == ["one"])
    assert not faults


@pytest.mark.spec("readers.one-of-home")
async def test_of_the_processes_of_a_home_one_reads_and_another_goes_on(
    tmp_path: Path, transcript: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLAIM_SECONDS", 0.05)
    config = configured(tmp_path)
    write(transcript, "one")
    async with reading(config) as one:
        async with held(config.home):
            one.watch(WatchFile(SESSION, str(transcript)))
            await until(lambda: published(one) == 1)
            assert said(config) == []
        await until(lambda: said(config) == ["one"])


@asynccontextmanager
async def held(home: Path) -> AsyncIterator[None]:
    """Another process of the home reads along, until the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDS, str(home), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    assert await process.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        process.kill()
        await process.wait()
