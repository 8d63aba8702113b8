"""`loom scribe` under load, killed again and again: nothing may be lost, and nothing doubled.

By hand, for many rounds: `python -m tests.support.scribe_kills 50`.
"""

import asyncio
import os
import random
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from attrs import define

from loom_shell.bus import Bus
from loom_shell.consumer import Consumer
from loom_shell.redis_url import Redis, redis
from loom_shell.scribe import FILE_NAME, Database, group
from tests.support.child import Served, started
from tests.support.scribed import published
from tests.support.store import valkey

COMMAND = (
    sys.executable,
    "-c",
    "import typer; from loom_shell.cli.scribe import scribe; typer.run(scribe)",
    "--home",
)
"""`loom scribe`."""
PATIENCE = 50.0
BATCH = 20
MOST_AHEAD = 4_000
LONGEST_DELAY = 0.3


@asynccontextmanager
async def scribing(home: Path, **variables: str) -> AsyncIterator[Served]:
    async with started(*COMMAND, str(home), home=home, **variables) as child:
        await _begun(child)
        yield child


async def _begun(child: Served) -> None:
    """A start may take longer than other tests allow: this one comes many times, also on a busy machine."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(TimeoutError):
                await child.until("the scribe stores what is said")
                return


@define
class Load:
    """Lines published until `is_enough`, not so far ahead of what is stored that the stream is trimmed."""

    place: Redis
    home: Path
    sent: int = 0
    is_enough: bool = False

    async def run(self) -> None:
        bus = Bus(self.place)
        while not self.is_enough:
            if self.sent - stored(self.home) > MOST_AHEAD:
                await asyncio.sleep(0.02)
                continue
            lines = [published(i, session=f"s{i % 3}") for i in range(self.sent, self.sent + BATCH)]
            await bus.publish(lines)
            self.sent += BATCH
            await asyncio.sleep(0.02)
        await bus.aclose()


def stored(home: Path) -> int:
    """Lines there are; 0 where they cannot be counted now."""
    with suppress(sqlite3.Error):
        db = sqlite3.connect(f"file:{home / FILE_NAME}?mode=ro", uri=True)
        try:
            return int(db.execute("SELECT count(*) FROM transcript_line").fetchone()[0])
        finally:
            db.close()
    return 0


async def more_than(home: Path, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while stored(home) <= count:  # noqa: ASYNC110 - another process stores
            await asyncio.sleep(0.01)


async def killed(
    rounds: int, home: Path, seed: int, told: Callable[[str], None] = lambda _: None
) -> tuple[int, int]:
    """Lines published, and different lines stored after that many kills and one run to the end."""
    chance = random.Random(seed)
    with valkey() as server:
        url = f"redis://127.0.0.1:{server.port}"
        load = Load(redis(url), home)
        publishing = asyncio.create_task(load.run())
        for _ in range(rounds):
            before = stored(home)
            async with scribing(home, LOOM_REDIS_URL=url) as child:
                await more_than(home, before)
                await asyncio.sleep(chance.uniform(0, LONGEST_DELAY))
                child.process.kill()
                assert await child.ended() == -9
            told(f"{stored(home)} of {load.sent} lines")
        load.is_enough = True
        await publishing
        async with scribing(home, LOOM_REDIS_URL=url) as child:
            consumer = Consumer(load.place, group(home / FILE_NAME, os.uname().nodename), "onlooker")
            async with asyncio.timeout(PATIENCE):
                while await consumer.lag():  # noqa: ASYNC110 - as there
                    await asyncio.sleep(0.02)
            await consumer.aclose()
            child.signal()
            assert await child.ended() == 0
    database = Database(home / FILE_NAME)
    found = [(one.session, one.line_id) for name in database.sessions("s", 9) for one in database.lines(name)]
    database.close()
    assert len(found) == len(set(found))
    return load.sent, len(found)


def main() -> None:
    rounds, seed = int(sys.argv[1]), random.randrange(10_000)
    with tempfile.TemporaryDirectory() as folder:
        sent, found = asyncio.run(killed(rounds, Path(folder), seed, print))
    print(f"{rounds} kills (seed {seed}): {sent} lines published, {found} stored")  # noqa: T201 - a report
    sys.exit(sent != found)


if __name__ == "__main__":
    main()
