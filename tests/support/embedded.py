"""Processes that use the embedded store of a home, and what can be seen of its server."""

import fcntl
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from redis import Redis as Direct
from redis.backoff import NoBackoff
from redis.retry import Retry

from loom_shell.embedded import Embedded
from tests.support.child import Served, started

PROGRAM = """
import asyncio, signal, sys
from pathlib import Path
from loom_shell.embedded import Embedded

async def main():
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    one = Embedded(Path(sys.argv[1]))
    print(f"[{await one.start()}]", flush=True)
    await asked.wait()
    print(f"left {await one.aclose() or 'well'}.", flush=True)

asyncio.run(main())
"""


@contextmanager
def direct(path: Path) -> Iterator[Direct]:
    """The server, as somebody else asks it."""
    with Direct(unix_socket_path=str(path), decode_responses=True, retry=Retry(NoBackoff(), 0)) as one:
        yield one


def pid(path: Path) -> int:
    with direct(path) as one:
        return int(one.info("server")["process_id"])


def is_running(home: Path) -> bool:
    with (home / "valkey" / "server").open("rb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def environment_of(process: int) -> bytes:
    """As it was started with (proc(5))."""
    return Path(f"/proc/{process}/environ").read_bytes() if sys.platform == "linux" else b""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@asynccontextmanager
async def user(home: Path) -> AsyncIterator[Served]:
    """A process that uses the store of the home; SIGTERM lets it leave."""
    async with started(sys.executable, "-c", PROGRAM, str(home), home=home.parent) as child:
        yield child


async def socket_of(child: Served) -> Path:
    return Path((await child.until(r"\[(.+)\]"))[1])


async def leave(child: Served) -> None:
    child.signal()
    assert await child.ended() == 0
    assert "left well." in child.screen


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[Path]:
    one = Embedded(home)
    path = await one.start()
    try:
        yield path
    finally:
        assert await one.aclose() == ""
