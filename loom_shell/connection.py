"""One HTTP/1.1 connection to upstream: request bytes out, one answer at a time in.

Bytes go out as given and come in as sent; llhttp (through httptools) finds the end of head and
body (RFC 9112 section 6.3). What arrived before a connection broke is delivered before the news
that it broke, and a clean end is told from a reset even when only the connection's end ends a body.
"""

import asyncio
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import httptools
import httpx

from loom_core.values import Cause, Headers

HIGH_WATER = 262_144
"""Bytes of an answer that may wait for the client before reading from upstream pauses."""
MAX_HEAD = 1_048_576
"""Bytes of an answer's head, and of framing and trailers in a row; with more it is not taken for HTTP."""


class UpstreamError(httpx.TransportError):
    """An attempt that failed, and why. `str()` is detail for the log."""

    def __init__(self, cause: Cause, detail: str = "") -> None:
        super().__init__(detail)
        self.cause = cause


class Connection(asyncio.Protocol):
    """A connection and the answer that is being read from it."""

    def __init__(self, on_lost: Callable[["Connection"], None]) -> None:
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._reading_paused = False
        self._lost = False
        self._surplus = False
        self._written = 0
        self.idle_since = 0.0
        self.uses = 0
        self._prepare(head_only=True)

    def _prepare(self, *, head_only: bool) -> None:
        """Make ready for one answer. `head_only`: it has no body, as after HEAD."""
        self._parser = httptools.HttpResponseParser(self)
        # An interim answer may say `connection: close`: what follows it is read all the same.
        self._parser.set_dangerous_leniencies(lenient_keep_alive=True)
        self._head_only = head_only
        self._headers: list[tuple[bytes, bytes]] = []
        self._framing = 0
        self._status = 0
        self._head_read = False
        self._until_close = False
        self._keep_alive = False
        self._complete = False
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._failure: UpstreamError | None = None
        self._answered = False

    @property
    def reusable(self) -> bool:
        """Whether another request may follow: this one is sent, its answer complete and read."""
        whole = self._complete and not self._chunks and self._sent == self._written
        return whole and self._keep_alive and self.usable

    @property
    def usable(self) -> bool:
        """Whether an idle connection still stands, as far as anyone knows."""
        return not self._lost and not self._surplus and self._transport is not None

    def begin(self, method: str) -> None:
        """Expect the answer to a request of `method`; on a `usable` connection only."""
        self.uses += 1
        self._prepare(head_only=method == "HEAD")

    def write(self, *parts: bytes) -> None:
        if self._transport is not None and not self._lost:
            self._written += sum(map(len, parts))
            self._transport.writelines(parts)

    @property
    def _sent(self) -> int:
        """How many of the written bytes are on their way (under TLS: handed to TLS)."""
        return self._written - (self._transport.get_write_buffer_size() if self._transport else 0)

    async def drain(self) -> bool:
        """Wait until more may be written; False once the connection is gone."""
        await self._can_write.wait()
        return not self._lost

    def abort(self) -> None:
        """Close at once: unsent bytes are dropped, unread ones make it a reset."""
        self._lost = True
        if self._transport is not None:
            self._transport.abort()

    def give_up(self, detail: str) -> None:
        """Abort, and let whoever waits for the answer know."""
        self._fail(Cause.CLOSED, detail)
        self.abort()

    async def head(self, silence: float | None) -> tuple[int, Headers]:
        """The final status and its header lines; interim answers (1xx) are passed over."""
        while not self._head_read:
            if self._failure is not None:
                raise self._failure
            await self._more(silence)
        return self._status, tuple(self._headers)

    async def chunk(self, silence: float | None) -> bytes:
        """The body bytes that have come since; b"" at the body's end."""
        while not self._chunks:
            if self._complete:
                return b""
            if self._failure is not None:
                raise self._failure
            await self._more(silence)
        data = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._waiting = 0
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()
        return data

    async def _more(self, silence: float | None) -> None:
        """Wait for news. While the request still goes up, however slowly, upstream is not silent."""
        sent = self._sent
        self._waiter = self._loop.create_future()
        try:
            if silence is None:
                await self._waiter
            else:
                async with asyncio.timeout(silence):
                    await self._waiter
        except TimeoutError:
            if self._sent > sent:
                return
            self.abort()
            raise UpstreamError(Cause.SILENT, f"nothing for {silence:g} s") from None
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, cause: Cause, detail: str) -> None:
        if self._failure is None and not self._complete:
            self._failure = UpstreamError(cause, detail)
        self._wake()

    def _refuse(self, detail: str) -> None:
        """What came is not HTTP."""
        self._fail(Cause.BROKEN if self._head_read else Cause.PROTOCOL, detail)
        self.abort()

    # What asyncio reports.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, since uvloop's transports are of no class of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._answered = True
        if self._complete or self.uses == 0:
            # Bytes nobody asked for: this connection can't be trusted with another request.
            self._surplus = True
            self.abort()
            return
        self._framing += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._refuse(f"{error.__context__ or error}")
            return
        if self._framing > MAX_HEAD and not self._complete:
            self._refuse(f"over {MAX_HEAD} bytes without a body's")
        elif self._waiting > HIGH_WATER and not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """Upstream sends no more. So what of the request still waits to be sent is not wanted either."""
        if self._until_close and self._closed_properly():
            self._complete = True
        self._conclude(None)
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not self._lost and self.uses > 0:
            self._salvage()
        self._lost = True
        self._conclude(exc)
        self._can_write.set()
        self._on_lost(self)

    def _salvage(self) -> None:
        """Read what had come before a write failed: asyncio closes without looking (TLS hides it)."""
        transport = self._transport
        if transport is None or transport.get_extra_info("ssl_object") is not None:
            return
        descriptor = os.dup(transport.get_extra_info("socket").fileno())
        with socket.socket(fileno=descriptor) as rest, suppress(OSError):
            while self._waiting <= HIGH_WATER and not self._lost and (data := rest.recv(65_536)):
                self.data_received(data)

    def _conclude(self, exc: Exception | None) -> None:
        detail = f"{exc}" if exc else "end of stream"
        if self._head_read:
            self._fail(Cause.BROKEN, detail)
        elif self.uses > 1 and not self._answered:
            self._fail(Cause.STALE, detail)
        else:
            self._fail(Cause.RESET if exc else Cause.CLOSED, detail)

    def _closed_properly(self) -> bool:
        """Under TLS only a closure alert completes a body that has no other end (RFC 9112 section 9.8)."""
        tls = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        try:
            # All there was has been read: an alert shows as the end, its absence as a wish for more.
            return tls is None or not tls.read(1)
        except ssl.SSLError as error:
            return isinstance(error, ssl.SSLZeroReturnError)

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    # What llhttp reports. Once the answer is complete, whatever follows is not part of it.

    def on_message_begin(self) -> None:
        if self._complete:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_read:  # A trailer ends at this hop.
            # Space after a value is no part of it (RFC 9112 section 5.1); llhttp leaves it there.
            self._headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            if status < 100:
                raise ValueError(f"status {status}")
            self._headers.clear()
            return
        codings = [value.lower() for name, value in self._headers if name.lower() == b"transfer-encoding"]
        if codings and codings != [b"chunked"]:
            # None was asked for (RFC 9112 section 7.4), and the client would not learn how to undo it.
            raise ValueError("a transfer coding other than chunked")
        self._status = status
        self._head_read = True
        self._framing = 0
        # To be asked now: at the end of the message llhttp forgets what it was framed by.
        self._keep_alive = bool(self._parser.should_keep_alive())
        empty = self._head_only or status in (204, 304)
        self._until_close = not (
            empty or codings or any(name.lower() == b"content-length" for name, _ in self._headers)
        )
        if self._head_only:
            self._complete = True

    def on_body(self, body: bytes) -> None:
        if self._complete:
            self._surplus = True
            return
        if not self._head_read:
            raise ValueError("an interim answer with a body")
        self._framing = 0
        self._chunks.append(body)
        self._waiting += len(body)

    def on_message_complete(self) -> None:
        if self._head_read:
            self._complete = True
