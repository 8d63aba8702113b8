"""The transport of the relay: bytes, header lines and targets exactly as given.

The relay asks it directly (`open`), for an httpx request and response cost more to build than an
exchange may cost in all. It stands behind httpx's transport interface as well, and any other httpx
transport can take its place (`upstream.py`).
Why not the transports there are (seen with httpx-aiohttp 0.2 on aiohttp 3.14): repeated request
headers arrive joined, header bytes that are not UTF-8 are lost, targets are requoted, bytes that
came just before a connection broke are dropped, a reset close-delimited body ends cleanly, and
idempotent requests are sent twice without the retry machine knowing.
"""

import asyncio
import errno
import socket
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import cast

import aiohappyeyeballs
import httpx
from attrs import frozen

from loom_core.values import Cause, Headers
from loom_shell.connection import Connection, UpstreamError

MAX_IDLE = 64
KEEP_ALIVE_SECONDS = 60.0
CONNECT_SECONDS = 10.0
HAPPY_EYEBALLS_SECONDS = 0.25
"""RFC 8305 section 5: the recommended delay before the next address is tried as well."""

Origin = tuple[str, str, int]
"""Scheme, host and port."""


@frozen
class Asked:
    """One request to upstream. Seconds, None for no limit; a `body` that is no bytes is streamed."""

    origin: Origin
    method: str
    target: bytes
    lines: Sequence[tuple[bytes, bytes]]
    body: bytes | httpx.AsyncByteStream
    connect: float | None
    silence: float | None


class Answer(httpx.AsyncByteStream):
    """An answer: head, and body chunk by chunk as it comes. Closing it early closes the connection."""

    def __init__(
        self, transport: "Transport", origin: Origin, connection: Connection, silence: float | None
    ) -> None:
        self.status = 0
        self.headers: Headers = ()
        self._transport = transport
        self._origin = origin
        self._connection: Connection | None = connection
        self._silence = silence
        self.uploading: asyncio.Task[None] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._connection is None:
            raise StopAsyncIteration
        chunk = await self._connection.chunk(self._silence)
        if chunk:
            return chunk
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self.uploading is not None and not self.uploading.done():
            # The rest of the request is not wanted any more, and its framing is left open.
            self.uploading.cancel()
            connection.abort()
        else:
            self._transport.release(self._origin, connection)


class Transport(httpx.AsyncBaseTransport):
    """HTTP/1.1 to upstream over kept-alive connections, without a limit on how many at once.

    Of a request's extensions it reads `timeout` (`connect` and `read` seconds, None for none) and
    `target` (the request target, verbatim). Failures are `UpstreamError`.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, keep_alive: float = KEEP_ALIVE_SECONDS) -> None:
        self._tls = tls
        self._keep_alive = keep_alive
        self._idle: defaultdict[Origin, list[Connection]] = defaultdict(list)
        self._open: set[Connection] = set()
        self._closed = False

    @property
    def connections(self) -> int:
        """How many connections are open, idle ones included."""
        return len(self._open)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        timeout = request.extensions.get("timeout", {})
        body = request.stream
        asked = Asked(
            origin=origin_of(request.url),
            method=request.method,
            target=request.extensions.get("target", request.url.raw_path),
            lines=request.headers.raw,
            body=b"".join(body) if isinstance(body, httpx.ByteStream) else cast(httpx.AsyncByteStream, body),
            connect=timeout.get("connect", CONNECT_SECONDS),
            silence=timeout.get("read"),
        )
        answer = await self.open(asked)
        return httpx.Response(answer.status, headers=list(answer.headers), stream=answer, request=request)

    async def open(self, asked: Asked) -> Answer:
        """Send a request and wait for the head of its answer; raises `UpstreamError`."""
        origin = asked.origin
        # A streamed body can be sent once only, so it is never risked on a connection that may be stale.
        connection = self._from_pool(origin) if isinstance(asked.body, bytes) else None
        if connection is None:
            connection = await self._connect(origin, asked.connect)
        answer = Answer(self, origin, connection, asked.silence)
        try:
            connection.begin(asked.method)
            answer.uploading = _send(connection, asked)
            answer.status, answer.headers = await connection.head(asked.silence)
        except BaseException as error:
            await answer.aclose()
            if isinstance(error, UpstreamError) and error.cause is Cause.STALE:
                self._drop_idle(origin)
            raise
        return answer

    async def aclose(self) -> None:
        """Close every connection, and those that are still being opened as soon as they are."""
        self._closed = True
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()

    def release(self, origin: Origin, connection: Connection) -> None:
        """Keep a connection for the next request, or close it if it can't serve one."""
        idle = self._idle[origin]
        if connection.reusable and len(idle) < MAX_IDLE:
            connection.idle_since = asyncio.get_running_loop().time()
            idle.append(connection)
        else:
            connection.abort()

    def _from_pool(self, origin: Origin) -> Connection | None:
        """The connection used last, since it is the least likely to have gone stale."""
        idle = self._idle[origin]
        oldest = asyncio.get_running_loop().time() - self._keep_alive
        while idle and idle[0].idle_since < oldest:
            idle.pop(0).abort()
        while idle:
            connection = idle.pop()
            if connection.usable:
                return connection
        return None

    def _drop_idle(self, origin: Origin) -> None:
        """One stale connection makes its contemporaries suspect: the next attempt opens its own."""
        for connection in self._idle.pop(origin, []):
            connection.abort()

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        for idle in self._idle.values():
            if connection in idle:
                idle.remove(connection)

    async def _connect(self, origin: Origin, limit: float | None) -> Connection:
        try:
            async with asyncio.timeout(limit):
                return await self._opened(origin)
        except TimeoutError as error:
            # Ours has no text; the kernel's own (ETIMEDOUT) has.
            raise UpstreamError(Cause.CONNECT_TIMEOUT, f"{error}" or f"none within {limit} s") from error
        except (OSError, RuntimeError, UnicodeError) as error:
            raise UpstreamError(_cause(error), f"{error}" or type(error).__name__) from error

    async def _opened(self, origin: Origin) -> Connection:
        scheme, host, port = origin
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        sock = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=HAPPY_EYEBALLS_SECONDS)
        # A peer that vanished without a word is found out even where no silence limit is set.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            transport, connection = await loop.create_connection(lambda: Connection(self._lost), sock=sock)
        except BaseException:
            sock.close()
            raise
        if scheme == "https":
            await self._secure(transport, connection, host)
        if self._closed or not connection.usable:
            connection.abort()
            raise UpstreamError(Cause.CLOSED, "closed before anything was asked")
        self._open.add(connection)
        return connection

    async def _secure(self, transport: asyncio.Transport, connection: Connection, host: str) -> None:
        """TLS in a step of its own: of one taken together with TCP, a cancel can leave the socket open."""
        loop = asyncio.get_running_loop()
        try:
            tls = await loop.start_tls(transport, connection, self._context(), server_hostname=host)
        except BaseException:
            transport.abort()
            raise
        connection.connection_made(cast("asyncio.Transport", tls))

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            try:
                self._tls = httpx.create_ssl_context()
            except OSError as error:  # As when SSL_CERT_FILE names no file of certificates.
                raise UpstreamError(Cause.TLS, f"the trusted certificates cannot be read: {error}") from error
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls


def origin_of(url: httpx.URL) -> Origin:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def _cause(error: Exception) -> Cause:
    """Why connecting failed.

    Also a RuntimeError, as uvloop has it for a socket it cannot take, and a UnicodeError, for a name
    no resolver can be asked for. When addresses failed each in its way, the errors come as one OSError
    with their numbers in its text.
    """
    match error:
        case ssl.SSLError():
            return Cause.TLS
        case ConnectionRefusedError():
            return Cause.REFUSED
        case ConnectionResetError():
            return Cause.RESET
        case _ if f"[Errno {errno.ECONNREFUSED}]" in f"{error}":
            return Cause.REFUSED
        case _:
            return Cause.UNREACHABLE


def _send(connection: Connection, asked: Asked) -> asyncio.Task[None] | None:
    """Write the request; a streamed body goes on in a task of its own, beside the answer."""
    lines = asked.lines
    body = asked.body
    chunked = False
    if not isinstance(body, bytes):
        framing = {name.lower() for name, _ in lines} & {b"content-length", b"transfer-encoding"}
        chunked = b"content-length" not in framing
        if not framing:
            lines = [*lines, (b"transfer-encoding", b"chunked")]
    request_line = b"%s %s HTTP/1.1\r\n" % (asked.method.encode("ascii"), asked.target)
    head = b"".join([request_line, *[b"%s: %s\r\n" % line for line in lines], b"\r\n"])
    if isinstance(body, bytes):
        connection.write(head, body)
        return None
    connection.write(head)
    return asyncio.get_running_loop().create_task(_upload(connection, body, chunked=chunked))


async def _upload(connection: Connection, stream: httpx.AsyncByteStream, *, chunked: bool) -> None:
    try:
        async for data in stream:
            if data:  # An empty chunk would be the last one.
                connection.write(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
            if not await connection.drain():
                return
    except Exception as error:  # noqa: BLE001  # Whatever the sender's stream met, the request is no whole one.
        connection.give_up(f"the request broke off: {type(error).__name__}: {error}")
        return
    if chunked:
        connection.write(b"0\r\n\r\n")
