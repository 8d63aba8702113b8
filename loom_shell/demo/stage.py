"""What the demonstration plays on: a simulator behind `loom serve`, and its twin without.

`loom serve` is the real command in a process of its own, with an environment of its own, so that
nothing a user has set changes what is shown.
"""

import asyncio
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import msgspec
from attrs import define, field

import loom_shell
from loom_shell.demo.home import furnished
from loom_shell.simulator import SCENARIOS, Scenario, Simulator
from loom_shell.simulator.replies import Asked
from loom_shell.simulator.steps import Script, Wait

START_SECONDS = 8.0
STOP_SECONDS = 1.5
LOG_SECONDS = 3.0
STORE_SECONDS = "2"
"""More than is ever waited for the store elsewhere: a busy machine is to show what others show."""
_ADDRESS = re.compile(rb"ANTHROPIC_BASE_URL=(http://127\.0\.0\.1:\d+)")


class DemoFailed(Exception):  # noqa: N818 - it says what happened
    """The demonstration cannot go on; `str()` is one sentence."""


@define(eq=False)
class Stage:
    """`behind` is the simulator behind the Loom, `twin` the same one asked directly."""

    behind: Simulator
    twin: Simulator
    loom: str
    """The Loom's own origin."""

    troubles: tuple[str, ...] = ()
    """What the Loom's home lacks, a line for each."""

    lines: list[Mapping[str, object]] = field(factory=list)
    """The Loom's log lines so far, one for each exchange."""

    changed: asyncio.Event = field(factory=asyncio.Event)

    async def logged(self, number: int) -> Mapping[str, object]:
        """The log line of exchange `number`, from 0, in the order they ended."""
        try:
            async with asyncio.timeout(LOG_SECONDS):
                while len(self.lines) <= number:
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise DemoFailed(f"the Loom wrote no log line for request {number + 1}") from None
        return self.lines[number]


def watchable(pace: float) -> Scenario:
    """The usual answers, `pace` seconds between two frames; the bytes are the same at any pace."""

    def script(asked: Asked) -> Script:
        """Answers as a well upstream does, no faster than can be watched."""
        for step in SCENARIOS["ok"].script(asked):
            yield Wait(pace) if step == Wait() else step

    return Scenario("watchable", script)


@asynccontextmanager
async def stage(pace: float, journal: Path | None = None) -> AsyncIterator[Stage]:
    """Everything on free loopback ports, and gone with the block. Raises `DemoFailed`."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="loom-demo-"))
        home = Path(folder, "loom")
        troubles = await stack.enter_async_context(furnished(home))
        behind = await stack.enter_async_context(Simulator(watchable(pace)))
        twin = await stack.enter_async_context(Simulator(watchable(0.0)))
        process = await stack.enter_async_context(_serving(behind.origin, home, journal))
        playing = Stage(behind, twin, await _address(process), troubles)
        reading = asyncio.get_running_loop().create_task(_read_log(process, playing))
        stack.callback(reading.cancel)
        yield playing


@asynccontextmanager
async def _serving(upstream: str, home: Path, journal: Path | None) -> AsyncIterator[Process]:
    flags = [
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--upstream",
        upstream,
        "--log",
        "json",
        "--drain-seconds",
        "1",
        "--home",
        str(home),
        "--redis-deadline-seconds",
        STORE_SECONDS,
        *(["--journal", str(journal)] if journal else []),
    ]
    folder = str(home.parent)
    own = {"HOME": folder, "XDG_CONFIG_HOME": folder, "XDG_DATA_HOME": folder}
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the folder the user stands in is no place to import from
            "-m",
            "loom_shell",
            "serve",
            *flags,
            env={**own, "PYTHONPATH": str(Path(loom_shell.__file__).parents[1])},
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            # A Ctrl-C in the terminal is for the demonstration, which ends its Loom itself.
            start_new_session=True,
        )
    except OSError as error:
        raise DemoFailed(f"`loom serve` could not be started: {error}") from None
    try:
        yield process
    finally:
        await _end(process)


async def _address(process: Process) -> str:
    """Where the Loom listens, as its start screen tells."""
    try:
        async with asyncio.timeout(START_SECONDS):
            async for line in cast("asyncio.StreamReader", process.stdout):
                if found := _ADDRESS.search(line):
                    return found[1].decode()
    except TimeoutError:
        raise DemoFailed(f"`loom serve` was not ready within {START_SECONDS:g} seconds") from None
    said = (
        (await cast("asyncio.StreamReader", process.stderr).read())
        .decode("utf-8", "replace")
        .strip()
        .splitlines()
    )
    raise DemoFailed(f"`loom serve` did not start: {said[-1] if said else 'it said nothing'}")


async def _read_log(process: Process, playing: Stage) -> None:
    async for line in cast("asyncio.StreamReader", process.stderr):
        with suppress(msgspec.DecodeError):
            told = msgspec.json.decode(line, type=dict[str, object])
            if "method" in told:
                playing.lines.append(told)
                playing.changed.set()


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
