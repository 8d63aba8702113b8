"""Kills under load: what is written to transcripts is in the database once and in order, whoever was killed.

`python -m tests.support.reading_kills --rounds 50 --seed 1` by hand; some rounds are part of the guard. Two
processes write at speed, a client names their sessions again and again, and `loom serve`, a `loom scribe`
beside it and the store are killed at random points, one of them or all at once, or `loom serve` is ended in
order. Who is killed is started again while writing goes on.
"""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx
import msgspec
from attrs import define, field

from loom_shell.embedded import Embedded
from loom_shell.scribe import FILE_NAME, Database
from loom_shell.simulator import Simulator
from tests.support.child import Served, served
from tests.support.scribe_kills import PATIENCE, scribing, stored
from tests.support.scribed import written
from tests.support.watch_kills import Tell, by_hand, kill_store, split
from tests.support.writer import Writer, writer

SESSIONS = ("1b000000-0000-4000-8000-000000000001", "2b000000-0000-4000-8000-000000000002")
LINES = 250
"""Of each session in one round."""
LONGEST = 0.5
"""Seconds of one round's writing, and until the kill."""
ROOMS = (0, 0, 50, 2_000, 60_000)
"""Bytes that a line has more."""
KILLS = ("serve", "scribe", "store", "serve and store", "serve, scribe and store", "end serve")
OFTEN = 0.02
"""Seconds between two requests that name a session."""


@define
class Part:
    """A process that is started, killed, and started again."""

    begin: Callable[[], AbstractAsyncContextManager[Served]]
    _stack: AsyncExitStack = field(factory=AsyncExitStack)
    child: Served | None = None

    async def start(self) -> None:
        self.child = await self._stack.enter_async_context(self.begin())

    async def end(self, number: int = signal.SIGTERM) -> None:
        child, self.child = self.child, None
        assert child
        child.signal(number)
        assert await child.ended() == (-signal.SIGKILL if number == signal.SIGKILL else 0), child.raw_log
        await self._stack.aclose()

    async def again(self, number: int) -> None:
        await self.end(number)
        await self.start()


@define
class Killed:
    """A home with what runs on it; `lines` are those of each session so far."""

    home: Path
    chance: random.Random
    serve: Part
    scribe: Part
    writers: tuple[Writer, ...]
    lines: dict[str, list[bytes]]

    async def round(self, kill: str) -> None:
        writing = asyncio.gather(*map(self._write, SESSIONS, self.writers))
        await asyncio.sleep(self.chance.random() * LONGEST)
        if "store" in kill:
            kill_store(Embedded(self.home).place)
        number = signal.SIGTERM if kill.startswith("end") else signal.SIGKILL
        await asyncio.gather(
            *(self.serve.again(number) for _ in range("serve" in kill)),
            *(self.scribe.again(number) for _ in range("scribe" in kill)),
        )
        await writing

    async def _write(self, session: str, one: Writer) -> None:
        so_far = self.lines[session]
        new = [self._line(number, session) for number in range(len(so_far), len(so_far) + LINES)]
        so_far += new
        pieces = split(b"".join(it + b"\n" for it in new), self.chance)
        await one.append(_path(self.home, session), *pieces, seconds=self.chance.random() * LONGEST)

    def _line(self, number: int, session: str) -> bytes:
        """Several of a second, so that their order is theirs in the file."""
        words = f"line {number} " + "é" * (self.chance.choice(ROOMS) // 2)
        told = msgspec.json.decode(written(number // 7, words, session=session))
        return msgspec.json.encode({**told, "uuid": f"{session[:8]}-{number}"})


async def kill_rounds(home: Path, rounds: int, seed: int, tell: Tell) -> int:
    """How many lines there were; AssertionError if any is missing, doubled or out of order."""
    async with _killed(home, random.Random(seed)) as one:
        for number in range(rounds):
            kill = KILLS[number % len(KILLS)]
            await one.round(kill)
            total = sum(map(len, one.lines.values()))
            tell(f"round {number + 1}: {kill}; {stored(home)} of {total} lines")
        total = sum(map(len, one.lines.values()))
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while stored(home) < total:  # noqa: ASYNC110 - other processes store
                    await asyncio.sleep(0.02)
        assert stored(home) == total
    _check(home, one.lines)
    return total


def _check(home: Path, lines: dict[str, list[bytes]]) -> None:
    database = Database(home / FILE_NAME)
    assert database.sessions("", 9) == sorted(lines)
    for session, wanted in lines.items():
        rows = [*database.lines(session)]
        assert [row.raw.encode() for row in rows] == wanted
        assert len({row.place for row in rows}) == len(rows)
    database.close()


@asynccontextmanager
async def _killed(home: Path, chance: random.Random) -> AsyncIterator[Killed]:
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator())
        flags = ("--upstream", simulator.origin, "--home", str(home))
        serve = Part(lambda: served(*flags, home=home, CLAUDE_CONFIG_DIR=""))
        scribe = Part(lambda: scribing(home))
        writers = [await stack.enter_async_context(writer()) for _ in SESSIONS]
        lines: dict[str, list[bytes]] = {session: [] for session in SESSIONS}
        for part in (serve, scribe):
            await part.start()
        naming = asyncio.ensure_future(_name(serve))
        try:
            yield Killed(home, chance, serve, scribe, tuple(writers), lines)
        finally:
            naming.cancel()
            await asyncio.gather(naming, return_exceptions=True)
            for part in (serve, scribe):
                if part.child:
                    await part.end()


async def _name(serve: Part) -> None:
    """A client asks again and again, and does not mind that nobody answers."""
    async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
        while True:
            for session in SESSIONS:
                await asyncio.sleep(OFTEN)
                if serve.child is None:
                    continue
                body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "On."}]}
                try:
                    url = f"http://127.0.0.1:{serve.child.port}/v1/messages"
                    await client.post(url, json=body, headers={"x-claude-code-session-id": session})
                except httpx.HTTPError:
                    continue


def _path(home: Path, session: str) -> Path:
    """Where the client writes it, for a user of this home."""
    return home / ".claude" / "projects" / "-work" / f"{session}.jsonl"


if __name__ == "__main__":
    by_hand(__doc__, kill_rounds)
