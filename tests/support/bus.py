"""Lines to publish, and what came of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from loom_core.publication import PublishedLine
from loom_shell.bus import Bus, BusTroubleError, Consumer, Entry
from loom_shell.redis_url import Redis

T = TypeVar("T")
AMPLE = 15.0
"""Seconds for what is to come to pass, on a shared machine."""
FILE = "/projects/one/s.jsonl"


def line(number: int, raw: bytes = b"", session: str = "s") -> PublishedLine:
    data = raw or b'{"n":%d}' % number
    return PublishedLine(session, "user", "user", ("text",), data, FILE, number, f"id-{number}")


def lines(first: int, last: int) -> list[PublishedLine]:
    """Those from the first to before the last."""
    return [line(number) for number in range(first, last)]


@asynccontextmanager
async def bus(place: Redis | Path, deadline: float = AMPLE) -> AsyncIterator[Bus]:
    one = Bus(place, deadline=deadline)
    try:
        yield one
    finally:
        await one.aclose()


@asynccontextmanager
async def consumer(
    place: Redis | Path, name: str = "one", group: str = "scribe", deadline: float = AMPLE
) -> AsyncIterator[Consumer]:
    one = Consumer(place, group, name, deadline=deadline)
    try:
        yield one
    finally:
        await one.aclose()


async def everything(one: Consumer, *, is_acked: bool = True) -> list[Entry]:
    """All that it is given until there is no more."""
    found: list[Entry] = []
    while entries := await one.next(1_000, 0):
        found += entries
        if is_acked:
            await one.ack([it.id for it in entries])
    return found


def offsets(found: list[Entry]) -> list[int]:
    return [one.published.offset for one in found]


async def well(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer, once there is no more trouble."""
    until = time.monotonic() + AMPLE
    while True:
        try:
            return await ask()
        except BusTroubleError:
            assert time.monotonic() < until
            await asyncio.sleep(0.02)


async def until(holds: Callable[[], object]) -> None:
    """Wait for what somebody else does."""
    last = time.monotonic() + AMPLE
    while not holds():
        assert time.monotonic() < last
        await asyncio.sleep(0.005)
