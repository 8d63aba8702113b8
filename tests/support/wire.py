"""A raw HTTP/1.x client that says what it read, to the byte, and how it ended."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from enum import Enum
from typing import Self, TypeVar

from attrs import evolve, frozen

DEADLINE = 10.0
"""Seconds any one read may take; past it something hangs."""

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade".split()
)
"""RFC 9110 section 7.6.1, written down here a second time: a test must not ask the tested."""

T = TypeVar("T")
Line = tuple[bytes, bytes]


class Ended(Enum):
    COMPLETE = "complete by its own framing"
    BROKEN = "the connection ended before the answer did"
    NO_HEAD = "the connection ended before any final head"


@frozen
class Answer:
    """One answer as read. `lines` are (name as it came, value without white space around it), in order.

    `body` is taken out of a chunked transfer and is otherwise untouched.
    """

    status: int = 0
    version: bytes = b""
    lines: tuple[Line, ...] = ()
    body: bytes = b""
    ended: Ended = Ended.NO_HEAD
    interim: tuple[int, ...] = ()
    trailers: tuple[bytes, ...] = ()

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.lines if key.lower() == name]

    @property
    def end_to_end(self) -> tuple[Line, ...]:
        """The lines that are not of this hop."""
        return end_to_end(self.lines)


def end_to_end(lines: tuple[Line, ...], *more: bytes) -> tuple[Line, ...]:
    """Header lines less those of the hop, of `more`, and those `Connection` names."""
    named = {
        token.strip().lower()
        for name, value in lines
        if name.lower() == b"connection"
        for token in value.split(b",")
    }
    gone = HOP_BY_HOP | named | set(more)
    return tuple((name, value) for name, value in lines if name.lower() not in gone)


class HangsError(Exception):
    """Nothing came, or nothing was taken, for longer than anything here takes."""


async def soon(thing: Awaitable[T], within: float = DEADLINE) -> T:
    """The outcome, in time. A TimeoutError of our own would not do: it is an OSError, as a reset is."""
    limit = asyncio.timeout(within)
    try:
        async with limit:
            return await thing
    except TimeoutError as error:
        if limit.expired():
            raise HangsError(f"nothing for {within:g} s") from error
        raise


async def until(holds: Callable[[], object], within: float = DEADLINE) -> None:
    """Wait until something holds that nobody can tell us of: state of the machine, of another process."""
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110 - as said
            await asyncio.sleep(0.002)


class Caller:
    """One connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._answer = Answer()
        self._rest = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    async def send(self, *pieces: bytes) -> None:
        """Each piece is one write."""
        for piece in pieces:
            self.writer.write(piece)
            await soon(self.writer.drain())

    def finish(self) -> None:
        """Close our side of the connection: no more bytes of ours come (FIN)."""
        self.writer.write_eof()

    def reset(self) -> None:
        """Break the connection (RST)."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def ask(self, *pieces: bytes) -> Answer:
        """Send a request and read its answer whole. The method, for the framing, is its first word."""
        # When the other side has had enough of the request, what it said may still be readable.
        with suppress(OSError):
            await self.send(*pieces)
        return await self.answer(pieces[0].partition(b" ")[0])

    async def answer(self, method: bytes = b"GET") -> Answer:
        """The next answer, to a request of `method`, whole or as far as it came."""
        head = await self.head(method)
        if head.ended is Ended.NO_HEAD:
            return head
        body = b"".join([piece async for piece in self.pieces()])
        return evolve(self._answer, body=body)

    async def head(self, method: bytes = b"GET") -> Answer:
        """The final head of the next answer; interim ones are counted up. The body stays to be read."""
        self._answer = Answer()
        self._method = method
        interim: list[int] = []
        while True:
            try:
                block = await self._until(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, OSError):
                return Answer(interim=tuple(interim))
            first, *rest = block[:-4].split(b"\r\n")
            version, _, status = first.partition(b" ")
            if not version.startswith(b"HTTP/1."):
                return Answer(interim=tuple(interim))
            lines = tuple(
                (name, value.strip(b" \t")) for name, _, value in (it.partition(b":") for it in rest)
            )
            self._answer = Answer(int(status[:3]), version, lines, b"", Ended.BROKEN, tuple(interim))
            if self._answer.status >= 200:
                return self._answer
            interim.append(self._answer.status)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes, some bytes at a time; afterwards `ended` says how it ended."""
        head = self._answer
        codings = b",".join(head.values(b"transfer-encoding")).lower()
        lengths = head.values(b"content-length")
        try:
            if self._method == b"HEAD" or head.status in (204, 304):
                pass
            elif b"chunked" in codings:
                async for piece in self._chunks():
                    yield piece
            elif lengths:
                async for piece in self._exactly(int(lengths[0])):
                    yield piece
            else:
                while piece := await self._some(65_536):
                    yield piece
        except (asyncio.IncompleteReadError, OSError):
            return
        self._answer = evolve(self._answer, ended=Ended.COMPLETE)

    @property
    def ended(self) -> Ended:
        return self._answer.ended

    async def closed(self, within: float = DEADLINE) -> bytes:
        """Wait for the end of the connection; what came before it."""
        try:
            return await soon(self.reader.read(), within)
        except OSError:
            return b""

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int((await self._until(b"\r\n")).partition(b";")[0], 16):
            async for piece in self._exactly(size):
                yield piece
            if await self._until(b"\r\n") != b"\r\n":
                raise ValueError("a chunk does not end where its size says")
        trailers: list[bytes] = []
        while (line := await self._until(b"\r\n")) != b"\r\n":
            trailers.append(line.rstrip(b"\r\n"))
        self._answer = evolve(self._answer, trailers=tuple(trailers))

    async def _exactly(self, size: int) -> AsyncIterator[bytes]:
        while size:
            piece = await self._some(min(size, 65_536))
            if not piece:
                raise asyncio.IncompleteReadError(b"", size)
            size -= len(piece)
            yield piece

    async def _some(self, most: int) -> bytes:
        return await soon(self.reader.read(most))

    async def _until(self, mark: bytes) -> bytes:
        return await soon(self.reader.readuntil(mark))


async def dial(port: int, *, receive_buffer: int | None = None) -> Caller:
    """A connection to a port of this machine; `receive_buffer` makes the kernel hold few bytes."""
    sock = socket.socket()
    sock.setblocking(False)  # noqa: FBT003 - the socket interface's own form
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    limit = 1 << 20 if receive_buffer is None else receive_buffer
    return Caller(*await asyncio.open_connection(sock=sock, limit=limit))


def request(
    method: str = "GET", target: str = "/echo", body: bytes | None = None, lines: tuple[str, ...] = ()
) -> bytes:
    """A whole request as bytes; its length is added when it has a body."""
    sized = () if body is None else (f"Content-Length: {len(body)}",)
    head = "\r\n".join((f"{method} {target} HTTP/1.1", "Host: loom.test", *lines, *sized, "", ""))
    return head.encode("latin-1") + (body or b"")


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    """Pieces in the chunked transfer coding (RFC 9112 section 7.1)."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"
