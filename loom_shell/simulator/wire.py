"""One accepted connection: bytes in, bytes out, and how it ends."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

HEAD_LIMIT = 1 << 20
"""Longest request head, in bytes; reading pauses at twice this much unread."""


class ClientLeft(Exception):  # noqa: N818 - a fact, not an error
    """The client's side of the connection ended while something of it was still wanted."""


class Wire(asyncio.StreamReaderProtocol):
    """Reads and writes of one connection. `left` is set the moment the client closes or resets."""

    def __init__(self, opened: Callable[["Wire"], None], left: Callable[["Wire"], None]) -> None:
        loop = asyncio.get_running_loop()
        self.reader = asyncio.StreamReader(limit=HEAD_LIMIT, loop=loop)
        super().__init__(self.reader, loop=loop)
        self.number = 0
        self.left = asyncio.Event()
        self._loop_here = loop
        self._opened, self._left = opened, left

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport = cast("asyncio.Transport", transport)
        # Above zero the transport counts as full: a drained write is in the kernel's hands.
        self.transport.set_write_buffer_limits(0)
        self.writer = asyncio.StreamWriter(self.transport, self, self.reader, self._loop_here)
        self._opened(self)

    def eof_received(self) -> bool | None:
        self._gone()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone()
        super().connection_lost(exc)

    def _gone(self) -> None:
        if not self.left.is_set():
            self.left.set()
            self._left(self)

    async def line(self) -> bytes:
        """One line without its end (LF, or CR LF)."""
        return (await self._until(b"\n")).removesuffix(b"\n").removesuffix(b"\r")

    async def _until(self, mark: bytes) -> bytes:
        try:
            return await self.reader.readuntil(mark)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as gone:
            raise ClientLeft from gone

    async def some(self, most: int) -> bytes:
        """At least one byte and at most `most`."""
        try:
            piece = await self.reader.read(most)
        except OSError as gone:
            raise ClientLeft from gone
        if not piece:
            raise ClientLeft
        return piece

    async def send(self, piece: bytes) -> None:
        """One write; returns once the kernel has it all."""
        if self.left.is_set():
            raise ClientLeft
        self.writer.write(piece)
        try:
            await self.writer.drain()
        except OSError as gone:
            raise ClientLeft from gone

    async def stay(self, seconds: float) -> None:
        """Let the time pass, unless the client leaves before."""
        try:
            async with asyncio.timeout(seconds):
                await self.left.wait()
        except TimeoutError:
            return
        raise ClientLeft

    def narrow(self, size: int) -> None:
        """Ask the kernel for a small receive buffer, so that an unread upload stops soon."""
        self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    async def finish(self, *, discard: bool, within: float = 5.0) -> None:
        """Close cleanly. With `discard` an upload still under way is read and dropped first.

        Closing with unread bytes resets the connection, and that can overtake the answer (RFC 9112
        section 9.6): so a server closes its own side first, and reads on for a while.
        """
        if discard and not self.transport.is_closing():
            try:
                self.writer.write_eof()
                async with asyncio.timeout(within):
                    while await self.reader.read(1 << 16):
                        pass
            except (OSError, TimeoutError):
                pass
        self.writer.close()

    def reset(self) -> None:
        """Close with RST: a linger time of zero makes the kernel drop the connection (socket(7))."""
        if not self.transport.is_closing():
            self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _socket(self) -> socket.socket:
        return cast("socket.socket", self.transport.get_extra_info("socket"))
