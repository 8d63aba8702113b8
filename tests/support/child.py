"""`loom serve`, or any server of this project, as a child process: as its users start it."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from tests.support.wire import until

DEADLINE = 15.0
"""Seconds for a start or an end; a shared machine can be slow."""
GONE = 5.0
"""Seconds within which a process that should be gone is gone."""


class Served:
    """A running child. `screen` is what it printed, `raw_log` its standard error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.pid = process.pid
        self.screen = ""
        self.raw_log = bytearray()
        self.port = 0
        self.changed = asyncio.Event()
        self._readers = [asyncio.ensure_future(self._read_screen()), asyncio.ensure_future(self._read_log())]

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of its log."""
        lines = bytes(self.raw_log).splitlines()
        return [msgspec.json.decode(line) for line in lines if line.startswith(b"{")]

    @property
    def exchanges(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if "outcome" in line]

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    async def ended(self, within: float = DEADLINE) -> int:
        """Its exit code, once it has ended and all its output is here."""
        async with asyncio.timeout(within):
            code = await self.process.wait()
            await asyncio.gather(*self._readers)
            return code

    def children(self) -> list[int]:
        """The pids of its child processes."""
        return children(self.pid)

    async def until(self, what: str) -> re.Match[str]:
        """Wait until its output matches."""
        async with asyncio.timeout(DEADLINE):
            while not (found := re.search(what, self.screen + self.raw_log.decode("utf-8", "replace"))):
                if all(reader.done() for reader in self._readers):
                    raise AssertionError(f"it ended: {self.screen} {self.raw_log!r}")
                self.changed.clear()
                await self.changed.wait()
        return found

    async def _read_screen(self) -> None:
        assert self.process.stdout is not None
        while piece := await self.process.stdout.read(4096):
            self.screen += piece.decode()
            self.changed.set()
        self.changed.set()

    async def _read_log(self) -> None:
        assert self.process.stderr is not None
        while piece := await self.process.stderr.read(65_536):
            self.raw_log += piece
            self.changed.set()
        self.changed.set()


def children(pid: int) -> list[int]:
    """The pids of the child processes of a process's first thread (proc(5))."""
    return [int(it) for it in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def runs(pid: int) -> bool:
    """A zombie that nobody has buried does not (proc(5))."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def until_gone(pids: list[int], within: float = GONE) -> None:
    """Wait until none of them runs."""
    await until(lambda: not any(map(runs, pids)), within)


def environment(home: Path, **variables: str) -> dict[str, str]:
    """This process's own, without any setting of the Loom."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LOOM_", "XDG_"))}
    return {**kept, "HOME": str(home), **variables}


@asynccontextmanager
async def started(*command: str, home: Path, **variables: str) -> AsyncIterator[Served]:
    """Run a command of this environment until the block ends."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(home, **variables),
        cwd=home,
    )
    child = Served(process)
    try:
        yield child
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGTERM)
            try:
                await child.ended()
            except TimeoutError:
                process.kill()
                await process.wait()
                raise


@asynccontextmanager
async def served(*arguments: str, home: Path, **variables: str) -> AsyncIterator[Served]:
    """`loom serve --port 0 …`, once it takes requests."""
    command = (sys.executable, "-m", "loom_shell", "serve", "--port", "0", *arguments)
    async with started(*command, home=home, **variables) as child:
        found = await child.until(r"ANTHROPIC_BASE_URL=http://\S+?:(\d+) ")
        child.port = int(found[1])
        yield child
