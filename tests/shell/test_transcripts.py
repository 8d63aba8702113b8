import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from loom_core.actions import WatchFile
from loom_shell import embedded, transcripts
from loom_shell.driver import Driver
from loom_shell.embedded import EmbeddedError
from loom_shell.log import Log
from loom_shell.redis_url import redis
from loom_shell.transcript_roots import Roots
from loom_shell.transcripts import Transcripts
from loom_shell.watch import Places
from tests.support.embedded import direct as at_socket
from tests.support.embedded import is_running, pid
from tests.support.store import valkey
from tests.support.watched import watched
from tests.support.writer import SESSION, arrives, conversation, holds

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "projects" / "-w" / f"{SESSION}.jsonl"
    path.parent.mkdir(parents=True)
    return path


def write(path: Path, first: int, last: int) -> None:
    with path.open("ab") as file:
        file.write(b"".join(conversation(first, last)))


@asynccontextmanager
async def part(home: Path, url: str = "") -> AsyncIterator[tuple[Transcripts, list[str]]]:
    notes: list[str] = []
    log = Log(os.open(os.devnull, os.O_WRONLY))
    places = Places(Roots((home / "projects",)), home / "data")
    one = Transcripts(Driver(log), places, redis(url) if url else None, notes.append)
    one.start()
    try:
        yield one, notes
    finally:
        await one.aclose()
        log.close(1.0)


@pytest.mark.spec("watcher.lazy", "watcher.end")
async def test_without_a_session_no_store_is_started(tmp_path: Path) -> None:
    async with part(tmp_path) as (one, notes):
        await asyncio.sleep(0)
        assert one.status().files == 0
    assert not (tmp_path / "data").exists()
    assert notes == []


@pytest.mark.spec("watcher.lazy", "watcher.end")
async def test_the_first_session_starts_the_store_of_the_home_and_the_end_ends_it(
    tmp_path: Path, path: Path
) -> None:
    write(path, 0, 3)
    async with part(tmp_path) as (one, notes):
        one.watch(WatchFile(SESSION, str(path)))
        await asyncio.wait_for(one.opened.wait(), 15)
        assert isinstance(one.place, Path)
        with at_socket(one.place) as direct:
            await arrives(direct, conversation(0, 3))
        one.watch(WatchFile(SESSION, str(path)))
        assert one.status().files == 1
        assert is_running(tmp_path / "data")
    assert not is_running(tmp_path / "data")
    assert notes == []


@pytest.mark.spec("watcher.store", "watcher.restart")
async def test_a_store_that_was_killed_comes_back_and_nothing_is_lost(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts, "TEND_SECONDS", 0.05)
    async with part(tmp_path) as (one, _):
        one.watch(WatchFile(SESSION, str(path)))
        write(path, 0, 3)
        await asyncio.wait_for(one.opened.wait(), 15)
        assert isinstance(one.place, Path)
        with at_socket(one.place) as direct:
            await arrives(direct, conversation(0, 3))
        os.kill(pid(one.place), signal.SIGKILL)
        write(path, 3, 5)
        await holds(lambda: one.status().behind == 0 and one.status().published == 5)
        with at_socket(one.place) as direct:
            await arrives(direct, conversation(0, 5))


@pytest.mark.spec("watcher.store")
async def test_a_store_of_ones_own_is_used_and_left_alone(tmp_path: Path, path: Path) -> None:
    write(path, 0, 3)
    with valkey() as server, server.client() as direct:
        async with part(tmp_path, f"redis://127.0.0.1:{server.port}") as (one, notes):
            one.watch(WatchFile(SESSION, ""))
            await holds(lambda: direct.xlen("loom:transcript") == 3)
            assert notes == []
        assert direct.ping()
    assert not (tmp_path / "data" / "valkey").exists()


@pytest.mark.spec("watcher.store", "watcher.trouble")
async def test_a_store_that_cannot_be_started_is_one_note_and_tried_again(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts, "TEND_SECONDS", 0.02)
    start, tries = embedded.Embedded.start, list[int]()

    async def fails(one: embedded.Embedded) -> Path:
        tries.append(1)
        if len(tries) < 4:
            raise EmbeddedError("no embedded store: odd")
        return await start(one)

    monkeypatch.setattr(embedded.Embedded, "start", fails)
    write(path, 0, 3)
    async with part(tmp_path) as (one, notes):
        one.watch(WatchFile(SESSION, str(path)))
        await holds(lambda: one.status().published == 3)
        ours = [note for note in notes if "embedded" in note]
        assert ours == [
            "no embedded store: odd; until then no transcript is published",
            "the embedded store is there again",
        ]


@pytest.mark.spec("watcher.one")
async def test_one_process_follows_a_file_and_the_other_goes_on_when_that_is_killed(
    tmp_path: Path, path: Path
) -> None:
    write(path, 0, 3)
    async with watched(tmp_path, path) as first:
        await first.follows(1)
        async with watched(tmp_path, path) as second:
            await second.follows(0)
            with at_socket(first.place) as direct:
                await arrives(direct, conversation(0, 3))
                first.kill()
                write(path, 3, 9)
                await second.follows(1)
                await arrives(direct, conversation(0, 9))
