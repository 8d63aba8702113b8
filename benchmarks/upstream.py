"""A light upstream: `python -m benchmarks.upstream` listens on a free loopback port and prints it.

The simulator records and checks what it gets; this one only answers, so that it is never the
bottleneck. `?frames=N&rate=R` asks for a paced stream, anything else gets the one JSON answer.
"""

import asyncio
import sys
import time
from itertools import count
from typing import cast
from urllib.parse import parse_qs

import httptools
import uvloop

from benchmarks import wire

_ANSWER = wire.answer()
_NUMBERS = count()
_GOLDEN = 0.618033988749895
"""Multiples of it modulo 1 spread evenly, so the frames of many streams do not come in bursts."""


class Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._query = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not checked by class: uvloop's transports are no asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def on_url(self, url: bytes) -> None:
        self._query = url.partition(b"?")[2]

    def on_message_complete(self) -> None:
        if not self._query:
            self._write(_ANSWER)
            return
        asked = parse_qs(self._query)
        frames, rate = int(asked[b"frames"][0]), float(asked[b"rate"][0])
        self._write(wire.STREAM_HEAD + wire.opening())
        phase = next(_NUMBERS) * _GOLDEN % 1.0
        self._pace(frames, frames, 1 / rate, self._loop.time() + phase / rate)

    def _pace(self, left: int, frames: int, pause: float, due: float) -> None:
        """Each frame has its own due time, so a late one delays none after it."""
        if left < frames:
            self._write(wire.stamped(time.monotonic_ns()))
        if left:
            self._timer = self._loop.call_at(due, self._pace, left - 1, frames, pause, due + pause)
        else:
            self._write(wire.closing(frames))

    def _write(self, sent: bytes) -> None:
        if self._transport is not None:
            self._transport.write(sent)


async def _main() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main())
