"""A wire of the simulator and its client, joined over loopback."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from loom_shell.simulator.wire import Wire

WITHIN = 5.0
"""Seconds a test may talk over one pair."""


class Pair:
    """A wire, and the plain socket streams of its client."""

    def __init__(self, wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.wire, self.reader, self.writer = wire, reader, writer

    def leave(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def pair(left: Callable[[Wire], None] = lambda _: None) -> AsyncIterator[Pair]:
    opened: asyncio.Queue[Wire] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Wire(opened.put_nowait, left), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    wire = await opened.get()
    try:
        async with asyncio.timeout(WITHIN):
            yield Pair(wire, reader, writer)
    finally:
        writer.close()
        wire.transport.abort()
        server.close()
        with suppress(OSError):
            await writer.wait_closed()
        await wire.left.wait()
