"""A program of a run: started with nothing but what it is given, ended with its block."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

START_SECONDS = 90
STOP_SECONDS = 15
TAIL = 2000
"""Characters of its output that are shown when it did not come up."""


class Wrong(Exception):  # noqa: N818 - it says what is
    """Something is not as it must be; `str()` is one sentence."""


class Program:
    """A running child process; `output` is all it printed so far."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self.process = process
        self.name = name
        self.output = ""
        self._changed = asyncio.Event()
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def said(self, pattern: str) -> re.Match[str]:
        """Wait until its output matches; `Wrong` when it ends before, or never says it."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while not (found := re.search(pattern, self.output)):
                    if self._reading.done():
                        raise Wrong(f"{self.name} ended before it was up: {self.output[-TAIL:]}")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise Wrong(f"{self.name} was not up in {START_SECONDS} s: {self.output[-TAIL:]}") from None
        return found

    async def end(self) -> int:
        """SIGTERM, SIGKILL if that does not help; its exit code."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
        except TimeoutError:
            self.process.kill()
            code = await self.process.wait()
        await self._reading
        return code

    async def _read(self) -> None:
        assert self.process.stdout
        while piece := await self.process.stdout.read(65_536):
            self.output += piece.decode("utf-8", "replace")
            self._changed.set()
        self._changed.set()


@asynccontextmanager
async def running(name: str, *command: str, home: Path, **variables: str) -> AsyncIterator[Program]:
    """Its environment is PATH, HOME and `variables`; `home` is its folder too."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment(home, **variables),
        cwd=_made(home),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    program = Program(process, name)
    try:
        yield program
    finally:
        await program.end()


def environment(home: Path, **variables: str) -> dict[str, str]:
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "HOME": str(home), "PYTHONUNBUFFERED": "1", **variables}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
