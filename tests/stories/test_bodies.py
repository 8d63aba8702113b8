"""Bodies that are large, slow or answered early: both ways they stream, and memory stays bounded."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from loom_shell.simulator import Ending, Scenario, Simulator, Upload
from loom_shell.simulator.steps import Finish, Reset, Send, Step, Wait
from tests.support.child import served
from tests.support.proxy import RunningLoom, loom
from tests.support.wire import Caller, Ended, chunked, dial, request

pytestmark = pytest.mark.anyio

MB = 1_000_000
PIECE = bytes(range(256)) * 256


class Digest:
    """An upstream that keeps nothing of a body but its size and digest, so that the test stays small."""

    def __init__(self) -> None:
        self.size = 0
        self.hash = hashlib.sha256()
        self.done = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        wanted = int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]
        while self.size < wanted:
            await self.go_on.wait()
            data = await reader.read(1 << 20)
            if not data:
                break
            self.size += len(data)
            self.hash.update(data)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()
        self.done.set()


@asynccontextmanager
async def listening(serve: object) -> AsyncIterator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 16)  # type: ignore[arg-type]
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def rss(pid: int) -> int:
    """Bytes of memory a process holds at most so far, as Linux counts them (proc(5), VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


@pytest.mark.spec("relay.upload-bounded")
async def test_an_upload_of_50_mb_arrives_whole_and_the_proxy_never_holds_it(tmp_path: Path) -> None:
    size = 50 * MB // len(PIECE) * len(PIECE)
    sent = hashlib.sha256()
    upstream = Digest()
    async with listening(upstream.serve) as origin, served("--upstream", origin, home=tmp_path) as process:
        async with await dial(process.port) as caller:
            assert (await caller.ask(request("GET", "/loom/healthz"))).status == 200
            before = rss(process.pid)
            await caller.send(b"PUT /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(size // len(PIECE)):
                sent.update(PIECE)
                await caller.send(PIECE)
            answer = await caller.answer(b"PUT")
        grown = rss(process.pid) - before
    assert (answer.status, answer.body) == (200, b"ok")
    assert (upstream.size, upstream.hash.digest()) == (size, sent.digest())
    assert grown < 12 * MB


async def stalled(caller: Caller, size: int) -> int:
    """Write until nothing is taken for half a second; how many bytes were taken."""
    taken = 0
    while taken < size:
        caller.writer.write(PIECE)
        try:
            await asyncio.wait_for(caller.writer.drain(), 0.5)
        except TimeoutError:
            return taken
        taken += len(PIECE)
    return taken


@pytest.mark.spec("relay.back-pressure-up")
async def test_an_upstream_that_does_not_read_stops_the_client_that_uploads(
    proxy: RunningLoom, sim: Simulator
) -> None:
    upstream = Digest()
    upstream.go_on.clear()
    size = 64 * MB // len(PIECE) * len(PIECE)
    async with listening(upstream.serve) as origin, loom(origin) as slow, await slow.dial() as caller:
        caller.writer.transport.set_write_buffer_limits(0)
        await caller.send(b"PUT /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        taken = await stalled(caller, size)
        # Kernel buffers on two connections, and what the Loom may hold; not the upload.
        assert taken < size // 2
        upstream.go_on.set()
        while taken + len(PIECE) < size:
            await caller.send(PIECE)
            taken += len(PIECE)
        answer = await caller.answer(b"PUT")
    assert answer.status == 200
    assert upstream.size == size


def endless(sent: list[int]) -> Scenario:
    def script(_: object) -> Iterator[Step]:
        yield Send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for _ in range(3000):
            sent[0] += len(PIECE)
            yield Send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
        yield Send(b"0\r\n\r\n")

    return Scenario("endless", script)


@pytest.mark.spec("relay.back-pressure-down")
async def test_a_client_that_does_not_read_stops_upstream_and_loses_nothing(
    sim: Simulator, proxy: RunningLoom
) -> None:
    sent = [0]
    sim.script(endless(sent))
    async with await proxy.dial(receive_buffer=65_536) as caller:
        await caller.send(request("GET", "/echo"))
        assert (await caller.head()).status == 200
        before = -1
        while sent[0] != before:  # until nothing moved for a while
            before = sent[0]
            await asyncio.sleep(0.3)
        assert before < 3000 * len(PIECE) // 4
        size = 0
        async for piece in caller.pieces():
            size += len(piece)
        assert (caller.ended, size) == (Ended.COMPLETE, 3000 * len(PIECE))


@pytest.mark.spec("relay.back-pressure-down", "relay.download-bounded")
async def test_a_stream_far_larger_than_the_buffers_never_piles_up_in_the_proxy(
    sim: Simulator, tmp_path: Path
) -> None:
    sent = [0]
    async with served("--upstream", sim.origin, home=tmp_path) as process:
        async with await dial(process.port) as caller:
            await caller.ask(request("GET", "/echo"))
        before = rss(process.pid)
        sim.script(endless(sent))
        async with await dial(process.port, receive_buffer=65_536) as caller:
            await caller.send(request("GET", "/echo"))
            await caller.head()
            size = 0
            async for piece in caller.pieces():
                size += len(piece)
        grown = rss(process.pid) - before
    assert size == 3000 * len(PIECE)
    assert grown < 12 * MB


EARLY = (
    b'HTTP/1.1 413 Too Large\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{"type":"e"}\n'
)


@pytest.mark.parametrize("ending", [Finish(), Reset()], ids=["then closed", "then reset"])
@pytest.mark.spec("relay.early-answer")
async def test_an_answer_that_comes_before_the_upload_is_over_reaches_a_client_that_uploads_on(
    ending: Finish | Reset, sim: Simulator, proxy: RunningLoom
) -> None:
    sim.script(Scenario("early", lambda _: [Send(EARLY), Wait(0.05), ending], upload=Upload.IGNORED))
    async with await proxy.dial() as caller:
        # All of the request is written before anything of the answer is read.
        answer = await caller.ask(request("PUT", "/echo", b"x" * 20 * MB))
        assert (answer.status, answer.ended) == (413, Ended.COMPLETE)
        assert (await caller.ask(request("GET", "/echo"))).status == 200


@pytest.mark.spec("relay.early-answer")
async def test_an_answer_that_breaks_off_while_the_client_uploads_breaks_the_connection_at_once(
    sim: Simulator, proxy: RunningLoom
) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"
    steps = [Send(head), Wait(0.3), Reset()]
    sim.script(Scenario("early-break", lambda _: steps, Ending.BROKEN, Upload.IGNORED))
    async with await proxy.dial() as caller:
        # Far more than all buffers hold, so that the server's queue is full when the answer breaks.
        caller.writer.write(request("PUT", "/echo", b"x" * 50 * MB))
        answer = await caller.answer(b"PUT")
    assert (answer.status, answer.body, answer.ended) == (200, b"abc", Ended.BROKEN)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/files"])
@pytest.mark.parametrize("framing", ["declared", "chunked"])
@pytest.mark.spec("relay.limit")
async def test_a_body_over_the_limit_is_refused_and_its_client_can_read_why(
    framing: str, path: str, sim: Simulator
) -> None:
    async with loom(sim.origin, max_body_bytes="1MB") as limited, await limited.dial() as caller:
        exact = request("POST", path, b"[" * MB)
        assert (await caller.ask(exact)).status in (400, 404)
        assert sim.requests[0].body == b"[" * MB
        if framing == "declared":
            whole = request("POST", path, b"[" * 5 * MB)
        else:
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            whole = head.encode() + chunked(*[b"[" * 50_000] * 100)
        answer = await caller.ask(whole)
        assert b'"type":"request_too_large"' in answer.body
        assert (answer.status, answer.values(b"connection")) == (413, [b"close"])
        await limited.idle()
        assert limited.faults == limited.notes == []
    assert sum(received.complete for received in sim.requests) == 1
