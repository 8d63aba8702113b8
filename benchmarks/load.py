"""The load generator: closed loops of calls, and paced streams, each answer checked for its size."""

import asyncio
import re
import time
from collections.abc import Iterator
from itertools import cycle
from typing import TypeVar, cast

import httptools
from attrs import field, frozen, mutable

from benchmarks import wire
from benchmarks.processes import Server

STAMP = re.compile(rb'"text":"(\d{20})"')
SETTLE_SECONDS = 0.3
"""Between the moment every stream runs and the window."""
SPARE_SECONDS = 1.0
"""What streams run longer than the window: for their start and the settling."""
LAST_SECONDS = 20.0
"""How long the last answers may take."""


class WrongAnswer(Exception):  # noqa: N818 - it says what happened
    """An answer was not what upstream sent, or did not come."""


class _Client(asyncio.Protocol):
    """One connection: a request out, its answer read to its end, and so on."""

    def __init__(self, requests: wire.Requests) -> None:
        self._requests: Iterator[wire.Request] = cycle(requests)
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not checked by class: uvloop's transports are no asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(f"the connection was closed: {exc or 'end of stream'}")

    def send(self) -> None:
        assert self._transport is not None  # noqa: S101 - it is made before anyone gets this object
        self._transport.writelines(next(self._requests))

    def close(self) -> None:
        self.over.cancel()
        if self._transport is not None:
            self._transport.close()

    def fail(self, reason: str) -> None:
        if not self.over.done():
            self.over.set_exception(WrongAnswer(reason))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status != 200:
            self.fail(f"status {status}")


C = TypeVar("C", bound=_Client)


class _Caller(_Client):
    """Sends a request as soon as the answer before it is complete, until told to stop."""

    def __init__(self, requests: wire.Requests) -> None:
        super().__init__(requests)
        self.calls = 0
        self.to_first_byte: list[int] = []
        self.stopping = False
        self.left: int | None = None
        """Calls it has yet to make, None for as many as there is time for."""
        self._sent_at = 0
        self._waits = False
        self._size = 0

    def send(self) -> None:
        self._size = 0
        self._waits = True
        self._sent_at = time.monotonic_ns()
        super().send()

    def data_received(self, data: bytes) -> None:
        if self._waits:
            self._waits = False
            self.to_first_byte.append(time.monotonic_ns() - self._sent_at)
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._size += len(body)

    def on_message_complete(self) -> None:
        if self._size != wire.ANSWER:
            self.fail(f"a body of {self._size} bytes, not {wire.ANSWER}")
            return
        if self.left is not None:
            self.left -= 1
        if self.stopping or self.left == 0:
            if not self.over.done():
                self.over.set_result(None)
        else:
            self.calls += 1
            self.send()


class _Reader(_Client):
    """Reads one paced stream and notes how old each of its events is on arrival."""

    def __init__(self, requests: wire.Requests) -> None:
        super().__init__(requests)
        self.delays: list[int] = []
        self.frames = 0
        self.begun: asyncio.Future[None] = self._loop.create_future()
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        now = time.monotonic_ns()
        text = self._rest + body
        end = 0
        for found in STAMP.finditer(text):
            self.delays.append(now - int(found[1]))
            self.frames += 1
            end = found.end()
        self._rest = text[end:]
        if self.frames and not self.begun.done():
            self.begun.set_result(None)

    def fail(self, reason: str) -> None:
        super().fail(reason)
        if not self.begun.done():
            self.begun.set_exception(WrongAnswer(reason))

    def close(self) -> None:
        self.begun.cancel()
        super().close()

    def on_message_complete(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


@frozen
class Calls:
    """One loop of calls. Times are nanoseconds; `cpu` is the server's in the window."""

    count: int
    cpu: int
    elapsed: int
    to_first_byte: list[int] = field(repr=False)


@frozen
class Events:
    """One window of streams. Times are nanoseconds; `cpu` is the server's in the window."""

    count: int
    cpu: int
    delays: list[int] = field(repr=False)


@frozen
class Pace:
    """So many streams of `rate` frames a second each; `told`: they say whose they are."""

    streams: int
    rate: float
    told: bool = False


@mutable
class _Window:
    """The CPU time and the clock from here on."""

    server: Server
    cpu: int = 0
    clock: int = 0

    def open(self) -> None:
        self.cpu, self.clock = self.server.cpu, time.monotonic_ns()

    def close(self) -> tuple[int, int]:
        return self.server.cpu - self.cpu, time.monotonic_ns() - self.clock


async def calls(server: Server, asked: list[wire.Requests], seconds: float) -> Calls:
    """Calls for so long, each caller on a connection of its own."""
    callers = [await _connected(_Caller(requests), server) for requests in asked]
    try:
        for caller in callers:
            caller.send()
        await asyncio.sleep(seconds / 5)
        for caller in callers:
            caller.calls = 0
            caller.to_first_byte.clear()
        window = _Window(server)
        window.open()
        await asyncio.sleep(seconds)
        cpu, elapsed = window.close()
        count = sum(caller.calls for caller in callers)
        times = [one for caller in callers for one in caller.to_first_byte]
        for caller in callers:
            caller.stopping = True
        await _all_over([caller.over for caller in callers])
    finally:
        for caller in callers:
            caller.close()
    if not times:
        raise WrongAnswer("no call was answered in time")
    return Calls(count, cpu, elapsed, times)


async def each(server: Server, asked: list[wire.Requests]) -> None:
    """Every request once, each caller's in their order."""
    callers = [await _connected(_Caller(requests), server) for requests in asked]
    try:
        for caller, requests in zip(callers, asked, strict=True):
            caller.left = len(requests)
            caller.send()
        await _all_over([caller.over for caller in callers])
    finally:
        for caller in callers:
            caller.close()


async def events(server: Server, pace: Pace, seconds: float) -> Events:
    """Events of so many streams at one pace, in a window while all of them run."""
    frames = int(pace.rate * (seconds + SPARE_SECONDS))
    asked = wire.streams(pace.streams, frames, pace.rate, told=pace.told)
    readers = [await _connected(_Reader(requests), server) for requests in asked]
    try:
        for reader in readers:
            reader.send()
        await _all_over([reader.begun for reader in readers])
        await asyncio.sleep(SETTLE_SECONDS)
        for reader in readers:
            reader.delays.clear()
        window = _Window(server)
        window.open()
        await asyncio.sleep(seconds)
        cpu, _ = window.close()
        delays = [delay for reader in readers for delay in reader.delays]
        if any(reader.over.done() for reader in readers):
            raise WrongAnswer("a stream was over before the window: it started too late")
        await _all_over([reader.over for reader in readers])
        if any(reader.frames != frames for reader in readers):
            raise WrongAnswer("a stream did not have all of its frames")
    finally:
        for reader in readers:
            reader.close()
    return Events(len(delays), cpu, delays)


async def _connected(client: C, server: Server) -> C:
    await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", server.port)
    return client


async def _all_over(ends: list[asyncio.Future[None]]) -> None:
    """Until every client is done; the first that failed is raised."""
    try:
        async with asyncio.timeout(LAST_SECONDS):
            await asyncio.gather(*ends)
    except TimeoutError:
        raise WrongAnswer(f"an answer did not come within {LAST_SECONDS:g} s") from None
