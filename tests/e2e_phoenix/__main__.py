"""`python -m tests.e2e_phoenix`: exit code 0 when all holds, or SKIPPED for want of a Phoenix."""

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
from anthropic import APIError

from loom_shell.turn_block import CANARY
from tests.e2e_phoenix import checks
from tests.e2e_phoenix.phoenix import NotInstalled, Phoenix, install, phoenix
from tests.e2e_phoenix.program import Program, Wrong, running
from tests.e2e_phoenix.turn import Client, Turn

ALL_SECONDS = 180
ARRIVAL_SECONDS = 30
PAUSE = 0.25
"""Seconds between two questions to Phoenix: it tells nobody when a span has come."""
PROJECT = "loom"
ADDRESS = r"ANTHROPIC_BASE_URL=(http://127\.0\.0\.1:\d+)"


def main() -> int:
    _say("A turn into Phoenix and back")
    try:
        program = install()
    except NotInstalled as missing:
        _say(f"SKIPPED: {missing}")
        return 0
    start = time.monotonic()
    try:
        asyncio.run(_bounded(program))
    except (Wrong, OSError, TimeoutError, httpx2.HTTPError, APIError) as error:
        _say(f"  WRONG {str(error) or f'not done in {ALL_SECONDS} seconds'}")
        return 1
    except asyncio.CancelledError:
        _say("ended by a signal")
        return 1
    _say(f"all of it holds, in {time.monotonic() - start:.0f} s")
    return 0


async def _bounded(program: Path) -> None:
    task = asyncio.current_task()
    assert task
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Told to go, end what was started before going.
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with tempfile.TemporaryDirectory(prefix="loom-e2e-phoenix-") as folder:
        async with asyncio.timeout(ALL_SECONDS):
            await _all(program, Path(folder))


async def _all(program: Path, folder: Path) -> None:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False, timeout=30))
        store = await stack.enter_async_context(phoenix(program, folder / "phoenix", client))
        _ok("Phoenix is up on loopback")
        log = folder / "simulator.jsonl"
        upstream = await _started(stack, folder / "upstream", "simulate", "--port", "0", "--log", str(log))
        url = (await upstream.said(ADDRESS))[1]
        loom = await _started(
            stack,
            folder / "loom",
            *("serve", "--port", "0", "--upstream", url),
            OTEL_EXPORTER_OTLP_ENDPOINT=store.url,
        )
        home = folder / "client"
        home.mkdir()
        turn = await Client((await loom.said(ADDRESS))[1], home, client).turn()
        _ok(f"a turn of {len(turn.calls)} calls and {len(turn.tools)} tools, from UserPromptSubmit to Stop")
        _no_canary(log.read_text(encoding="utf-8"), len(turn.calls))
        await _read_back(store, turn)
        if code := await loom.end():
            raise Wrong(f"`loom serve` left with exit code {code} after SIGTERM")


async def _started(stack: AsyncExitStack, home: Path, *arguments: str, **variables: str) -> Program:
    command = (sys.executable, "-m", "loom_shell", *arguments)
    return await stack.enter_async_context(running(f"loom {arguments[0]}", *command, home=home, **variables))


def _no_canary(log: str, calls: int) -> None:
    if log.count("/v1/messages") < calls:
        raise Wrong("the simulator's log does not hold every call")
    if CANARY in log:
        raise Wrong("the metadata block reached upstream")
    _ok("no canary in any request upstream")


async def _read_back(store: Phoenix, turn: Turn) -> None:
    spans = await _until(lambda: store.spans(PROJECT), lambda found: checks.is_whole(found, turn))
    for check in (checks.one_trace, checks.one_root, checks.right_parents, checks.tokens_with_cache):
        _ok(check(spans, turn))
    _ok(checks.session_listed(await _until(lambda: store.sessions(PROJECT), bool), turn))


async def _until(
    ask: Callable[[], Awaitable[checks.Spans]], enough: Callable[[checks.Spans], bool]
) -> checks.Spans:
    """Ask until it is enough; what there is when the time is up, for the checks to say what is missing."""
    end = time.monotonic() + ARRIVAL_SECONDS
    while True:
        found = await ask()
        if enough(found) or time.monotonic() > end:
            return found
        await asyncio.sleep(PAUSE)


def _ok(line: str) -> None:
    _say(f"  ok    {line}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
