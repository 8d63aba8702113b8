"""Upstreams of raw sockets: each connection plays a script, exact to the byte and to how it ends.

A script is a sequence of steps: bytes are sent, READ takes one request, an `asyncio.Event` is
waited for, so are seconds (a float), FIN and RST end the connection. With no more steps the peer reads
on until the client leaves. `ask` and `fetch` are the other side: one request, its whole answer.
`both_loops` runs a test, an `async def`, under asyncio's own loop and under uvloop.
"""

import asyncio
import functools
import gc
import inspect
import re
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from enum import Enum
from types import TracebackType
from typing import Any, Self, cast

import httpx
import pytest
import uvloop
from attrs import frozen

from loom_core.values import Headers
from loom_shell.connection import UpstreamError
from loom_shell.transport import KEEP_ALIVE_SECONDS, Transport

WITHIN = 5.0
"""Seconds that anything a test waits for may take."""
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


class Act(Enum):
    READ = "take one request, head and body"
    HEAD = "take the head of a request"
    SOME = "read some bytes more"
    FIN = "send no more, and read what still comes"
    CLOSE = "close both ways; the kernel makes it a reset if something was not read"
    RST = "reset"


READ, HEAD, SOME, FIN, CLOSE, RST = Act
Step = bytes | Act | asyncio.Event | float


class Left(Exception):  # noqa: N818 - a fact, not an error
    """The client ended the connection while something of it was still wanted."""


class Wire:
    """One accepted connection. `received` is every byte read; `left_at`: when the client's end was seen."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._taken = 0
        self.received = bytearray()
        self.requests: list[bytes] = []
        self.sent = 0
        self.left = asyncio.Event()
        self.left_at = 0.0

    @property
    def alone(self) -> bytes:
        """The one request that came."""
        assert len(self.requests) == 1
        return self.requests[0]

    async def play(self, script: Sequence[Step]) -> None:
        try:
            for step in script:
                match step:
                    case Act.READ | Act.HEAD:
                        await self._request(whole=step is READ)
                    case Act.SOME:
                        await self._read()
                    case Act.FIN:
                        self._sock.shutdown(socket.SHUT_WR)
                    case Act.CLOSE:
                        return
                    case Act.RST:
                        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
                    case asyncio.Event():
                        await step.wait()
                    case float():
                        await asyncio.sleep(step)
                    case _:
                        await self._send(step)
            while True:
                await self._read()
        except (Left, OSError):
            self.left_at = time.monotonic()
            self.left.set()
        finally:
            self._sock.close()

    async def _send(self, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            await self._loop.sock_sendall(self._sock, rest[:65_536])
            self.sent += len(rest[:65_536])
            rest = rest[65_536:]

    async def _read(self) -> None:
        piece = await self._loop.sock_recv(self._sock, 65_536)
        if not piece:
            raise Left
        self.received += piece

    async def _until(self, mark: bytes, start: int) -> int:
        """Where the first `mark` from `start` ends."""
        while (at := self.received.find(mark, start)) < 0:
            await self._read()
        return at + len(mark)

    async def _request(self, *, whole: bool) -> None:
        start = self._taken
        end = await self._until(b"\r\n\r\n", start)
        head = bytes(self.received[start:end]).lower()
        if whole and b"\r\ntransfer-encoding: chunked\r\n" in head:
            end = await self._until(b"0\r\n\r\n", end)
        elif whole and (length := re.search(rb"\r\ncontent-length: (\d+)\r\n", head)):
            end += int(length[1])
            while len(self.received) < end:
                await self._read()
        self._taken = end
        self.requests.append(bytes(self.received[start:end]))


class Peer:
    """An upstream on loopback. Connection n plays script n, the last script is played from then on."""

    def __init__(self, *scripts: Sequence[Step]) -> None:
        self._scripts = scripts or ((),)
        self._listener = socket.socket()
        self._tasks: set[asyncio.Task[None]] = set()
        self.wires: list[Wire] = []

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[bytes]:
        """Every request on every connection, connection by connection."""
        return [request for wire in self.wires for request in wire.requests]

    async def __aenter__(self) -> Self:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128)
        self._listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._start(self._accept())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listener.close()
        faults = [it for it in results if isinstance(it, Exception)]
        assert faults == []

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(work))

    async def _accept(self) -> None:
        while True:
            sock, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            script = self._scripts[min(len(self.wires), len(self._scripts) - 1)]
            self.wires.append(Wire(sock))
            self._start(self.wires[-1].play(script))

    async def accepted(self, count: int = 1) -> Wire:
        """Connection number `count` (from 1), once it is there."""
        await until(lambda: len(self.wires) >= count)
        return self.wires[count - 1]


@frozen
class Answer:
    status: int
    headers: Headers
    body: bytes
    failure: UpstreamError | None = None
    """What came after the body's bytes, in place of its end."""


def ask(
    origin: str,
    method: str = "GET",
    target: bytes = b"/",
    lines: Headers = (),
    body: bytes | httpx.AsyncByteStream = b"",
    *,
    connect: float | None = WITHIN,
    silence: float | None = None,
) -> httpx.Request:
    """A request as `Upstream` makes it; nothing is added to `lines`."""
    return httpx.Request(
        method,
        origin,
        headers=list(lines),
        stream=httpx.ByteStream(body) if isinstance(body, bytes) else body,
        extensions={"target": target, "timeout": {"connect": connect, "read": silence}},
    )


async def fetch(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> Answer:
    """The answer, its body read to the end it has. Raises what comes before the head."""
    response = await transport.handle_async_request(request)
    stream = cast("httpx.AsyncByteStream", response.stream)
    body, failure = b"", None
    try:
        async for piece in stream:
            body += piece
    except UpstreamError as error:
        failure = error
    finally:
        await stream.aclose()
    return Answer(response.status_code, tuple(response.headers.raw), body, failure)


@asynccontextmanager
async def opened(
    tls: ssl.SSLContext | None = None, keep_alive: float = KEEP_ALIVE_SECONDS
) -> AsyncIterator[Transport]:
    """A transport that must end with every connection closed."""
    transport = Transport(tls, keep_alive)
    try:
        yield transport
    finally:
        await transport.aclose()
        await until(lambda: transport.connections == 0)


async def until(holds: Callable[[], object], within: float = WITHIN) -> None:
    """Wait, turn by turn of the loop, until something holds; TimeoutError if it never does."""
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110 - what is waited for is no event of ours
            await asyncio.sleep(0.001)


async def settled(amount: Callable[[], int], still: float = 0.1) -> int:
    """A growing amount, once it has not grown for so many seconds."""
    async with asyncio.timeout(WITHIN):
        while True:
            before = amount()
            await asyncio.sleep(still)
            if amount() == before:
                return before


def free_port() -> int:
    """A port of 127.0.0.1 where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def run(loop: str, story: Coroutine[Any, Any, None]) -> None:
    """Run a story to its end; an exception that nobody retrieved, or a task left over, is a failure."""
    faults: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        async with asyncio.timeout(2 * WITHIN):
            await story
        try:
            await until(lambda: len(asyncio.all_tasks()) == 1)
        except TimeoutError:
            faults.append({"left over": asyncio.all_tasks()})

    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(watched())
            # A future says that nobody retrieved its exception when it is collected.
            gc.collect()
    finally:
        gc.unfreeze()
    assert faults == [], faults


def both_loops(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an asynchronous test under each of `LOOPS`."""

    @functools.wraps(test)
    def each(*args: object, loop: str, **kwargs: object) -> None:
        run(loop, test(*args, **kwargs))  # type: ignore[arg-type]

    asked = inspect.signature(test)
    chosen = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    each.__signature__ = asked.replace(  # type: ignore[attr-defined]
        parameters=[*asked.parameters.values(), chosen], return_annotation=None
    )
    return cast("Callable[..., None]", pytest.mark.parametrize("loop", LOOPS)(each))
