"""A process that follows transcripts with the store of a home, as `loom serve` does; it can be killed."""

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from loom_core.actions import WatchFile
from loom_shell import transcripts, watch
from loom_shell.driver import Driver
from loom_shell.embedded import Embedded
from loom_shell.log import Log
from loom_shell.transcript_roots import Roots
from loom_shell.transcripts import Transcripts
from loom_shell.watch import Places
from tests.support.child import Served, started
from tests.support.writer import SESSION, WITHIN


class Watched:
    def __init__(self, child: Served, home: Path) -> None:
        self.child, self.place = child, Embedded(home / "data").place

    async def follows(self, files: int) -> None:
        """Until it says that it follows so many."""
        async with asyncio.timeout(WITHIN):
            while _last(self.child.screen) != str(files):
                self.child.changed.clear()
                await self.child.changed.wait()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.child.process.send_signal(signal.SIGKILL)


def _last(screen: str) -> str:
    found = re.findall(r"^(\d+)$", screen, re.MULTILINE)
    return found[-1] if found else ""


@asynccontextmanager
async def watched(home: Path, path: Path) -> AsyncIterator[Watched]:
    """Its transcripts lie under `home/projects`, its own files in `home/data`."""
    command = (sys.executable, "-m", "tests.support.watched", str(home), str(path))
    async with started(*command, home=Path.cwd()) as child:
        yield Watched(child, home)


async def _main(home: Path, path: Path) -> None:
    transcripts.TEND_SECONDS = watch.QUIET_SECONDS = 0.1
    log = Log(2)
    places = Places(Roots((home / "projects",)), home / "data")
    one = Transcripts(Driver(log), places, None, lambda text: log.note("warning", text))
    one.start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    said = -1
    while not ended.is_set():
        # A client asks again and again.
        one.watch(WatchFile(SESSION, str(path)))
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), 0.05)
        status = one.status()
        if one.opened.is_set() and status.sought == 0 and status.files != said:
            said = status.files
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()
    await one.aclose()
    log.close(1.0)


if __name__ == "__main__":
    asyncio.run(_main(*map(Path, sys.argv[1:])))
