"""The server as its users run it: a child process, its signals, workers, and the end of its life."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from loom_shell.config import load
from loom_shell.log import Log
from loom_shell.server import CannotBind, hypercorn_config, listen
from loom_shell.simulator import Scenario, Simulator
from loom_shell.simulator.steps import Send, Step, Wait
from tests.support.child import DEADLINE, GONE, Served, served, started, until_gone
from tests.support.wire import Answer, Caller, Ended, dial, request, until

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


async def asked(port: int, whole: bytes) -> Answer:
    async with await dial(port) as caller:
        return await caller.ask(whole)


async def until_draining(port: int) -> None:
    async with asyncio.timeout(GONE):
        while (answer := await asked(port, request("GET", "/loom/readyz"))).status != 503:
            pass
    assert msgspec.json.decode(answer.body)["status"] == "draining"


class Held:
    """A stream that ends when the test says so."""

    def __init__(self) -> None:
        self.released = False

    @property
    def scenario(self) -> Scenario:
        return Scenario("held", lambda _: self._steps())

    def _steps(self) -> Iterator[Step]:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        yield Send(head + b"7\r\nfirst\n\n\r\n")
        while not self.released:
            yield Wait(0.005)
        yield Send(b"6\r\nlast\n\n\r\n0\r\n\r\n")


async def open_stream(sim: Simulator, port: int) -> tuple[Held, Caller]:
    """A stream that is under way through the Loom at `port`."""
    held = Held()
    sim.script(held.scenario)
    caller = await dial(port)
    await caller.send(request("POST", "/v1/messages", b'{"messages":[1],"stream":true}'))
    assert (await caller.head(b"POST")).status == 200
    return held, caller


def no_traceback(process: Served) -> bool:
    return b"Traceback" not in process.raw_log and b"never retrieved" not in process.raw_log


@pytest.mark.spec("server.drain", "server.readyz", "server.no-new-requests", "server.exit-code")
async def test_on_sigterm_an_open_stream_is_completed_and_nothing_new_is_taken(
    sim: Simulator, tmp_path: Path
) -> None:
    async with served("--upstream", sim.origin, home=tmp_path) as process:
        ready = await asked(process.port, request("GET", "/loom/readyz"))
        assert (ready.status, msgspec.json.decode(ready.body)) == (200, {"status": "ready", "exchanges": 0})
        async with await dial(process.port) as idle:
            await idle.ask(request())
            held, caller = await open_stream(sim, process.port)
            async with caller:
                process.signal()
                await until_draining(process.port)
                before = len(sim.requests)
                # On a new connection and on one that was there already.
                refused = [await asked(process.port, request("POST", "/v1/messages", b"{}"))]
                refused.append(await idle.ask(request("GET", "/v1/models")))
                for answer in refused:
                    assert (answer.status, answer.values(b"connection")) == (503, [b"close"])
                    assert msgspec.json.decode(answer.body)["error"]["type"] == "api_error"
                assert (await asked(process.port, request("GET", "/loom/healthz"))).status == 200
                assert len(sim.requests) == before
                held.released = True
                rest = b"".join([piece async for piece in caller.pieces()])
                assert (caller.ended, rest) == (Ended.COMPLETE, b"first\n\nlast\n\n")
        assert await process.ended() == 0
    assert [line["outcome"] for line in process.exchanges] == [
        "complete",
        "shut down",
        "shut down",
        "complete",
    ]
    assert no_traceback(process)


@pytest.mark.spec("server.drain-deadline", "server.exit-code")
async def test_a_stream_that_outlasts_the_drain_time_is_broken_off_and_the_exit_code_is_0(
    sim: Simulator, tmp_path: Path
) -> None:
    async with served("--upstream", sim.origin, "--drain-seconds", "0.3", home=tmp_path) as process:
        _, caller = await open_stream(sim, process.port)
        async with caller:
            process.signal()
            signalled = time.monotonic()
            rest = b"".join([piece async for piece in caller.pieces()])
            assert (caller.ended, rest) == (Ended.BROKEN, b"first\n\n")
            assert time.monotonic() - signalled >= 0.3
        assert await process.ended() == 0
        await sim.aborted(0)
    assert [line["outcome"] for line in process.exchanges] == ["shut down"]
    assert no_traceback(process)


@pytest.mark.spec("server.drain-deadline")
async def test_a_client_that_does_not_read_cannot_hold_up_the_end(sim: Simulator, tmp_path: Path) -> None:
    async with (
        served("--upstream", sim.origin, "--drain-seconds", "0.1", home=tmp_path) as process,
        await dial(process.port, receive_buffer=4096) as caller,
    ):
        await caller.send(request("GET", "/v1/x?simulate=huge-json&size=30000000"))
        await caller.head()
        process.signal()
        signalled = time.monotonic()
        assert await process.ended() == 0
        assert time.monotonic() - signalled < 8
    assert no_traceback(process)


@pytest.mark.spec("server.hurry", "server.exit-code")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_the_drain_at_once(
    number: signal.Signals, sim: Simulator, tmp_path: Path
) -> None:
    async with served("--upstream", sim.origin, home=tmp_path) as process:
        _, caller = await open_stream(sim, process.port)
        async with caller:
            process.signal(number)
            await until_draining(process.port)
            process.signal(number)
            signalled = time.monotonic()
            rest = b"".join([piece async for piece in caller.pieces()])
            assert (caller.ended, rest) == (Ended.BROKEN, b"first\n\n")
        assert await process.ended() == 0
        assert time.monotonic() - signalled < GONE
    assert no_traceback(process)


@pytest.mark.spec("server.idle")
async def test_idle_connections_do_not_delay_the_end(sim: Simulator, tmp_path: Path) -> None:
    async with served("--upstream", sim.origin, home=tmp_path) as process, AsyncExitStack() as stack:
        callers = [await stack.enter_async_context(await dial(process.port)) for _ in range(5)]
        for caller in callers[:4]:
            assert (await caller.ask(request())).status == 200
        process.signal()
        signalled = time.monotonic()
        assert await process.ended() == 0
        assert time.monotonic() - signalled < 2.5
        for caller in callers:
            assert await caller.closed() == b""
    assert no_traceback(process)


@pytest.mark.spec("server.workers")
async def test_two_workers_serve_and_all_end_with_the_parent_at_0(sim: Simulator, tmp_path: Path) -> None:
    async with served("--upstream", sim.origin, "--workers", "2", home=tmp_path) as process:
        workers = process.children()
        assert len(workers) == 2
        async with asyncio.timeout(GONE):
            while len({line["id"].partition("-")[0] for line in process.exchanges}) < 2:
                answers = await asyncio.gather(*(asked(process.port, request()) for _ in range(20)))
                assert {answer.status for answer in answers} == {200}
        held, caller = await open_stream(sim, process.port)
        async with caller:
            process.signal()
            # The worker without the stream ends; the other takes what comes.
            await until_draining(process.port)
            held.released = True
            assert b"".join([piece async for piece in caller.pieces()]) == b"first\n\nlast\n\n"
            assert caller.ended is Ended.COMPLETE
        assert await process.ended() == 0
        await until_gone(workers)
    assert no_traceback(process)


@pytest.mark.spec("server.worker-replaced")
async def test_a_worker_that_dies_is_replaced_and_said_so(sim: Simulator, tmp_path: Path) -> None:
    async with served("--upstream", sim.origin, "--workers", "2", home=tmp_path) as process:
        victim, other = process.children()
        os.kill(victim, signal.SIGKILL)
        assert (await asked(process.port, request())).status == 200
        await until(lambda: len(process.children()) == 2 and victim not in process.children(), GONE)
        now = process.children()
        assert other in now
        (note,) = [line for line in process.lines if line.get("pid") == victim]
        assert (note["level"], note["code"]) == ("error", -signal.SIGKILL)
        # A signal at this very moment finds every worker, also one that has only just begun.
        process.signal()
        assert await process.ended() == 0
        await until_gone(now)


@pytest.mark.spec("server.no-orphans")
async def test_workers_that_lose_their_parent_end(sim: Simulator, tmp_path: Path) -> None:
    async with served("--upstream", sim.origin, "--workers", "2", home=tmp_path) as process:
        workers = process.children()
        process.signal(signal.SIGKILL)
        await process.process.wait()
        await until_gone(workers)
        assert await process.ended() == -signal.SIGKILL


@pytest.mark.spec("server.workers")
async def test_a_signal_right_at_the_start_ends_workers_that_are_not_ready_yet(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "loom_shell", "serve", "--port", "0", "--workers", "3")
    async with started(*command, home=tmp_path) as process:
        await process.until("The Loom")
        process.signal()
        assert await process.ended() == 0
    assert no_traceback(process)


@pytest.mark.spec("server.asgi")
async def test_the_app_runs_under_plain_hypercorn_set_by_the_environment(
    sim: Simulator, tmp_path: Path
) -> None:
    command = (sys.executable, "-m", "hypercorn", "loom_shell.app:app", "--bind", "127.0.0.1:0")
    async with started(*command, home=tmp_path, LOOM_UPSTREAM=sim.origin, LOOM_LOG="json") as process:
        found = await process.until(r"Running on http://127\.0\.0\.1:(\d+)")
        answer = await asked(int(found[1]), request("POST", "/v1/messages", b'{"messages":[1]}'))
        assert answer.status == 200
        assert (await asked(int(found[1]), request("GET", "/loom/readyz"))).status == 200
        process.signal()
        assert await process.ended() == 0
    assert [line["outcome"] for line in process.exchanges] == ["complete"]
    assert no_traceback(process)


@pytest.mark.spec("server.asgi")
async def test_under_plain_hypercorn_too_a_wrong_setting_is_one_line(tmp_path: Path) -> None:
    command = (
        sys.executable,
        "-m",
        "hypercorn",
        "--workers",
        "0",
        "loom_shell.app:app",
        "--bind",
        "127.0.0.1:0",
    )
    async with started(*command, home=tmp_path, LOOM_PORT="eighty") as process:
        assert await process.ended() == 2
    assert (
        process.raw_log.decode() == "loom: LOOM_PORT is 'eighty': port must be 0..=65535 (0: any free port)\n"
    )


@pytest.mark.spec("server.bind")
def test_listening_where_someone_listens_says_so_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = load({"port": str(port)}, {"HOME": str(tmp_path)})
        with pytest.raises(CannotBind) as caught:
            listen(config)
    assert str(caught.value).startswith(f"cannot listen on 127.0.0.1:{port}: Address already in use")
    assert "\n" not in str(caught.value)


@pytest.mark.spec("server.bind")
def test_listening_on_an_address_that_is_not_of_this_machine_says_so(tmp_path: Path) -> None:
    config = load({"port": "0", "host": "192.0.2.1", "allow_open": True}, {"HOME": str(tmp_path)})
    with pytest.raises(CannotBind, match=r"cannot listen on 192\.0\.2\.1:0: Cannot assign requested address"):
        listen(config)


@pytest.mark.spec("server.nothing-added")
def test_hypercorn_adds_no_header_of_its_own() -> None:
    log = Log(2, "json")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        settings = hypercorn_config(sock, log)
    assert settings.response_headers("h11") == []
    with settings.create_sockets().insecure_sockets[0] as copy:
        assert copy.fileno() >= 0
    log.close(1.0)


READY = """
import gc, os, signal, sys
from loom_shell.config import load
from loom_shell.server import listen, run

def ready():
    print(gc.get_freeze_count(), gc.get_count()[0], len(gc.get_objects()), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

config = load({"host": "127.0.0.1", "port": "0", "home": sys.argv[1], "log": "json"}, {"HOME": sys.argv[1]})
run(config, listen(config), ready)
"""


@pytest.mark.spec("server.collector")
async def test_the_collector_leaves_alone_what_was_there_before_the_first_request(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READY, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(child.communicate(), DEADLINE)
    frozen, new, looked_at = map(int, said.split())
    assert frozen > 10_000
    assert new < 700
    assert looked_at < 2_000
    assert child.returncode == 0
