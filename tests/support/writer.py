"""Transcripts as another process writes them, a watcher in this one, and what came out of the store.

The writer obeys orders of one JSON line each, and answers each once it is done.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from attrs import define, field
from redis import Redis as Direct

from loom_core.actions import WatchFile
from loom_shell.bus import Bus
from loom_shell.driver import Driver
from loom_shell.log import Log
from loom_shell.redis_url import Redis
from loom_shell.stream import STREAM
from loom_shell.transcript_roots import Roots
from loom_shell.watch import Places, Watcher

SESSION = "0a1b2c3d-0000-4000-8000-000000000001"
WITHIN = 20.0
"""Seconds that anything a test waits for may take."""

PROGRAM = r"""
import json, os, sys, time
for order in sys.stdin:
    order = json.loads(order)
    do, path = order["do"], order["path"]
    if do == "append":
        os.makedirs(os.path.dirname(path), exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        began, pieces = time.monotonic(), order["pieces"]
        for number, piece in enumerate(pieces):
            os.write(file, piece.encode("latin-1"))
            ahead = order["seconds"] * (number + 1) / len(pieces) - (time.monotonic() - began)
            if ahead > 0:
                time.sleep(ahead)
        os.close(file)
    elif do == "large":
        with open(path, "ab") as file:
            for _ in range(order["count"]):
                file.write(b"x" * 1_000_000)
    elif do == "truncate":
        os.truncate(path, order["size"])
    elif do == "move":
        os.rename(path, order["to"])
    elif do == "remove":
        os.unlink(path)
    print("done", flush=True)
"""


class Writer:
    """Another process that writes, moves and removes files."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def append(self, path: Path, *pieces: bytes, seconds: float = 0.0) -> None:
        """One write for each piece, spread over so many seconds."""
        await self._do("append", path, pieces=[piece.decode("latin-1") for piece in pieces], seconds=seconds)

    async def large(self, path: Path, millions: int) -> None:
        """So many million bytes without a newline."""
        await self._do("large", path, count=millions)

    async def truncate(self, path: Path, size: int = 0) -> None:
        await self._do("truncate", path, size=size)

    async def move(self, path: Path, to: Path) -> None:
        await self._do("move", path, to=str(to))

    async def remove(self, path: Path) -> None:
        await self._do("remove", path)

    async def _do(self, what: str, path: Path, **more: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(msgspec.json.encode({"do": what, "path": str(path), **more}) + b"\n")
        assert await self._process.stdout.readline() == b"done\n"


@asynccontextmanager
async def writer() -> AsyncIterator[Writer]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, stdin=pipe, stdout=pipe)
    try:
        yield Writer(process)
    finally:
        assert process.stdin
        process.stdin.close()
        await process.wait()


def said(number: int, room: int = 0) -> bytes:
    """A line as a client writes one, with so many bytes more."""
    uuid = f"00000000-0000-4000-8000-{number:012d}"
    message = {"role": "user", "content": f"line {number} " + "é" * (room // 2)}
    line = {"type": "user", "uuid": uuid, "sessionId": SESSION, "message": message}
    return msgspec.json.encode(line) + b"\n"


def conversation(first: int, last: int) -> list[bytes]:
    """Lines from the first to before the last, some of them large."""
    return [said(number, 200_000 if number % 1_000 == 7 else number % 97) for number in range(first, last)]


def bytewise(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


@define
class Watched:
    """A watcher under way. `notes` are what it said."""

    watcher: Watcher
    driver: Driver
    bus: Bus
    notes: list[str] = field(factory=list)

    def name(self, path: Path | str = "", session: str = SESSION) -> None:
        self.watcher.watch(WatchFile(session, str(path)))


@asynccontextmanager
async def watching(home: Path, place: Redis | Path, *, polls: bool = False) -> AsyncIterator[Watched]:
    """Transcripts lie under `home/projects`."""
    notes: list[str] = []
    log = Log(os.open(os.devnull, os.O_WRONLY), "json")
    driver, bus = Driver(log), Bus(place)
    places = Places(Roots((home / "projects",)), home / "data", polls)
    watcher = Watcher(driver, bus, places, notes.append)
    run = asyncio.ensure_future(watcher.run())
    try:
        yield Watched(watcher, driver, bus, notes)
    finally:
        await watcher.aclose()
        await asyncio.wait_for(run, WITHIN)
        await bus.aclose()
        log.close(1.0)


def published(direct: Direct) -> list[bytes]:
    """The lines of the stream, each with its newline."""
    found: Any = direct.xrange(STREAM)
    return [values["raw"].encode() + b"\n" for _, values in found]


async def arrives(direct: Direct, lines: Iterable[bytes]) -> None:
    """The stream holds these lines, in this order and each once."""
    wanted = [*lines]
    await holds(lambda: direct.xlen(STREAM) >= len(wanted))  # type: ignore[operator]
    found = published(direct)
    assert found == wanted, [line[:60] for line in found]


async def holds(what: Callable[[], object]) -> None:
    last = time.monotonic() + WITHIN
    while not what():
        assert time.monotonic() < last
        await asyncio.sleep(0.01)
