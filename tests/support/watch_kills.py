"""Kills under load: what is written to a transcript is in the stream once and in order, whoever was killed.

`python -m tests.support.watch_kills --rounds 50 --seed 1` by hand; some rounds are part of the guard. In each
of them another process writes lines, split anywhere, while the watcher's process, its store, or both are
killed at a random point, or the watcher's process is ended in order.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from pathlib import Path

from redis.exceptions import RedisError

from loom_shell.bus import Consumer, Entry
from tests.support.embedded import direct, pid
from tests.support.watched import Watched, watched
from tests.support.writer import SESSION, arrives, said, writer

LINES = 120
LONGEST = 0.5
"""Seconds of one round's writing, and until the kill."""
Tell = Callable[[str], object]
Rounds = Callable[[Path, int, int, Tell], Coroutine[None, None, int]]
KILLS = ("watcher", "store", "both", "nobody")


async def kill_rounds(home: Path, rounds: int, seed: int, tell: Tell) -> int:
    """How many lines there were; AssertionError if any is missing, doubled or out of order."""
    chance = random.Random(seed)
    path = home / "projects" / "-w" / f"{SESSION}.jsonl"
    lines: list[bytes] = []
    async with writer() as other:
        for number in range(rounds):
            first = len(lines)
            lines += [said(it, chance.choice((0, 50, 2_000, 60_000))) for it in range(first, first + LINES)]
            pieces = split(b"".join(lines[first:]), chance)
            kill = KILLS[number % len(KILLS)]
            tell(f"round {number + 1}: {kill}")
            async with watched(home, path) as child:
                writing = asyncio.ensure_future(
                    other.append(path, *pieces, seconds=chance.random() * LONGEST)
                )
                await child.follows(1)
                await asyncio.sleep(chance.random() * LONGEST)
                _kill(kill, child)
                await writing
    async with watched(home, path) as child:
        await child.follows(1)
        with direct(child.place) as store:
            await arrives(store, lines)
        consumer = Consumer(child.place, "check", "one")
        ids = [it.published.line_id async for it in _all(consumer)]
        await consumer.aclose()
        assert len(ids) == len({*ids}) == len(lines)
    return len(lines)


async def _all(consumer: Consumer) -> AsyncIterator[Entry]:
    while entries := await consumer.next(1_000, 0):
        for entry in entries:
            yield entry
        await consumer.ack([entry.id for entry in entries])


def split(data: bytes, chance: random.Random) -> list[bytes]:
    """The same in pieces, of which many end within a line."""
    pieces = []
    while data:
        size = chance.choice((1, 100, 5_000, 200_000))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def _kill(what: str, child: Watched) -> None:
    if what in {"store", "both"}:
        kill_store(child.place)
    if what in {"watcher", "both"}:
        child.kill()


def kill_store(place: Path) -> None:
    # It may be down: a round before killed it, or it starts.
    with suppress(RedisError, ProcessLookupError):
        os.kill(pid(place), signal.SIGKILL)


def by_hand(what: str | None, rounds: Rounds) -> None:
    """A program that kills as often as it is told, and tells of it."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()

    def tell(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory() as folder:
        count = asyncio.run(rounds(Path(folder), asked.rounds, asked.seed, tell))
    tell(f"{count} lines, each once and in order")


if __name__ == "__main__":
    by_hand(__doc__, kill_rounds)
