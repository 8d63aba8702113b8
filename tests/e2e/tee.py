"""A tee on a TCP connection: every byte goes on as it came, and is kept with the time of each end."""

import asyncio
import socket
import struct
import time
from types import TracebackType
from typing import Self, cast

from attrs import define, field, frozen

from tests.e2e import http1
from tests.e2e.http1 import Message


@frozen
class End:
    """How one side ended its connection (`FIN` or `RST`), and `time.monotonic()` of it."""

    how: str
    at: float


@frozen
class Exchange:
    """A request with what came back; `answer` is None when no head did."""

    request: Message
    answer: Message | None


@define(eq=False)
class Recording:
    """One connection: what went up and down, and how each side ended it."""

    up: bytearray = field(factory=bytearray)
    down: bytearray = field(factory=bytearray)
    client_end: End | None = None
    server_end: End | None = None

    @property
    def exchanges(self) -> list[Exchange]:
        asked = http1.requests(bytes(self.up))
        closed = self.server_end is not None and self.server_end.how == "FIN"
        answers = http1.responses(bytes(self.down), [it.method for it in asked], closed=closed)
        padded = [*answers, *[None] * (len(asked) - len(answers))]
        return [Exchange(*pair) for pair in zip(asked, padded, strict=True)]


class Tee:
    """`async with Tee(port) as tee:` listens on `tee.port` and passes everything on to `port`.

    `changed` is set whenever something passes or ends; tees may share one.
    """

    def __init__(self, port: int, changed: asyncio.Event) -> None:
        self._target = port
        self.recordings: list[Recording] = []
        self.changed = changed
        self._sides: set[_Side] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Side(self, None), "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        for side in list(self._sides):
            side.transport.abort()
        await self._server.wait_closed()

    @property
    def exchanges(self) -> list[Exchange]:
        return [exchange for recording in self.recordings for exchange in recording.exchanges]

    def accepted(self, side: "_Side") -> None:
        self.recordings.append(side.recording)
        task = asyncio.get_running_loop().create_task(self._connect(side))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, side: "_Side") -> None:
        loop = asyncio.get_running_loop()
        try:
            _, other = await loop.create_connection(lambda: _Side(self, side), "127.0.0.1", self._target)
        except OSError:
            side.reset()
            return
        side.peer = other
        side.transport.resume_reading()

    def keep(self, side: "_Side") -> None:
        self._sides.add(side)

    def drop(self, side: "_Side") -> None:
        self._sides.discard(side)


class _Side(asyncio.Protocol):
    """One of the two connections of a tee. Ends are passed on as they came: FIN as FIN, RST as RST."""

    def __init__(self, tee: Tee, peer: "_Side | None") -> None:
        self._tee = tee
        self._faces_client = peer is None
        self.peer = peer
        self.recording: Recording = peer.recording if peer else Recording()
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._tee.keep(self)
        if self._faces_client:
            self.transport.pause_reading()
            self._tee.accepted(self)

    def data_received(self, data: bytes) -> None:
        (self.recording.up if self._faces_client else self.recording.down).extend(data)
        if self.peer and not self.peer.transport.is_closing():
            self.peer.transport.write(data)
        self._tee.changed.set()

    def eof_received(self) -> bool:
        self._note("FIN")
        if self.peer and not self.peer.transport.is_closing():
            self.peer.transport.write_eof()
            if self.peer._ended:
                self.peer.transport.close()
                return False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._tee.drop(self)
        if exc is not None:
            self._note("RST")
            if self.peer:
                self.peer.reset()

    def reset(self) -> None:
        """Break the connection: RST (`SO_LINGER` with no time left)."""
        if not self.transport.is_closing():
            sock: socket.socket = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    def _note(self, how: str) -> None:
        if self._ended:
            return
        self._ended = True
        end = End(how, time.monotonic())
        if self._faces_client:
            self.recording.client_end = end
        else:
            self.recording.server_end = end
        self._tee.changed.set()
