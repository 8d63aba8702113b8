"""client -> tee -> `loom serve` (a real child process) -> tee -> simulator, and what each of them saw."""

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import msgspec
from attrs import define, field

from loom_shell.simulator import Scenario, Simulator
from tests.e2e.tee import Tee

START_SECONDS = 20
STOP_SECONDS = 20
ARRIVAL_SECONDS = 30
CLIENT_HOME = "home"
"""The client's folder, beside that of the Loom."""


class Wrong(Exception):  # noqa: N818 - it says what is
    """Something is not as it must be; `str()` is one sentence."""


@define(eq=False)
class Loom:
    """The running proxy. `lines` are those of its log so far, read as JSON."""

    process: asyncio.subprocess.Process
    port: int = 0
    lines: list[dict[str, object]] = field(factory=list)
    code: int | None = None

    @property
    def exchanges(self) -> list[dict[str, object]]:
        return [line for line in self.lines if "method" in line]


@define(eq=False)
class Stage:
    simulator: Simulator
    front: Tee
    """Between the client and the Loom."""

    back: Tee
    """Between the Loom and the simulator."""

    loom: Loom
    changed: asyncio.Event

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds()`, looked at whenever bytes pass or a connection ends. TimeoutError."""
        async with asyncio.timeout(ARRIVAL_SECONDS):
            while not holds():
                self.changed.clear()
                await self.changed.wait()

    async def close_loom(self) -> None:
        """SIGTERM, and wait until it has gone and its log is read whole."""
        await _end(self.loom)


@asynccontextmanager
async def stage(scenario: str | Scenario, home: Path) -> AsyncIterator[Stage]:
    changed = asyncio.Event()
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator(scenario))
        back = await stack.enter_async_context(Tee(simulator.port, changed))
        loom = await stack.enter_async_context(_serving(back.port, home))
        front = await stack.enter_async_context(Tee(loom.port, changed))
        yield Stage(simulator, front, back, loom, changed)


@asynccontextmanager
async def _serving(upstream: int, home: Path) -> AsyncIterator[Loom]:
    flags = [
        "--port",
        "0",
        "--upstream",
        f"http://127.0.0.1:{upstream}",
        "--log",
        "json",
        "--home",
        str(home),
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "loom_shell",
        "serve",
        *flags,
        env={
            "HOME": str(home),
            "TERM": "dumb",
            # As for one user, who has one folder of transcripts.
            "CLAUDE_CONFIG_DIR": str(home.parent / CLIENT_HOME / ".claude"),
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    loom = Loom(process)
    reading = asyncio.get_running_loop().create_task(_read_log(loom))
    try:
        loom.port = await asyncio.wait_for(_port(process), START_SECONDS)
        yield loom
    finally:
        await _end(loom)
        await reading


async def _port(process: asyncio.subprocess.Process) -> int:
    assert process.stdout
    async for line in process.stdout:
        if found := re.search(rb"ANTHROPIC_BASE_URL=http://127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    raise Wrong("`loom serve` ended before it said where it listens")


async def _read_log(loom: Loom) -> None:
    assert loom.process.stderr
    async for line in loom.process.stderr:
        try:
            loom.lines.append(msgspec.json.decode(line, type=dict[str, object]))
        except msgspec.DecodeError:
            loom.lines.append({"not JSON": line.decode("utf-8", "backslashreplace")})


async def _end(loom: Loom) -> None:
    if loom.code is not None:
        return
    with suppress(ProcessLookupError):
        loom.process.send_signal(signal.SIGTERM)
    try:
        loom.code = await asyncio.wait_for(loom.process.wait(), STOP_SECONDS)
    except TimeoutError:
        loom.process.kill()
        loom.code = await loom.process.wait()
        raise Wrong(f"`loom serve` did not end within {STOP_SECONDS} seconds of SIGTERM") from None
