"""The way to upstream: an order becomes a request, each failure one typed cause."""

import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Protocol, cast

import httpx

from loom_core.actions import SendUpstream
from loom_core.values import Cause, Headers
from loom_shell.connection import UpstreamError
from loom_shell.secret import Secret
from loom_shell.transport import Asked, Transport, origin_of
from loom_shell.upload import Upload


class Answer(Protocol):
    """An answer's head, and its body as it comes; closing it early closes the connection."""

    status: int
    headers: Headers

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


class Upstream:
    """Sends orders to one origin, through the Loom's own transport or any other of httpx's.

    `key` is the Loom's own upstream key in gateway mode; here is the only place that reads it.
    """

    def __init__(
        self,
        origin: httpx.URL,
        transport: httpx.AsyncBaseTransport,
        *,
        key: Secret | None = None,
        connect_seconds: float = 10.0,
        silence_seconds: float | None = None,
    ) -> None:
        self._url = origin
        self._origin = origin_of(origin)
        self._host = (b"Host", origin.netloc)
        self._transport = transport
        self._key = key
        self._connect = connect_seconds
        self._silence = silence_seconds

    async def open(self, order: SendUpstream, upload: Upload | None) -> Answer:
        """Send an order and wait for the answer's head; raises `UpstreamError` only.

        `upload` is the body of an order that has none of its own.
        """
        lines = [self._host, *order.headers]
        if order.replace_credential and self._key is not None:
            lines.append((b"x-api-key", self._key.expose().encode("ascii")))
        body = upload or b"" if order.body is None else order.body
        asked = Asked(self._origin, order.method, order.target, lines, body, self._connect, self._silence)
        if isinstance(self._transport, Transport):
            return await self._transport.open(asked)
        return await self._through_httpx(asked)

    async def _through_httpx(self, asked: Asked) -> Answer:
        """The same through any httpx transport; how faithful that is, is the transport's affair."""
        request = httpx.Request(
            asked.method,
            self._url,
            headers=list(asked.lines),
            stream=httpx.ByteStream(asked.body) if isinstance(asked.body, bytes) else asked.body,
            extensions={
                "target": asked.target,
                "timeout": {"connect": asked.connect, "read": asked.silence},
            },
        )
        try:
            return _HttpxAnswer(await self._transport.handle_async_request(request))
        except UpstreamError:
            raise
        except httpx.TransportError as error:
            raise UpstreamError(cause_of(error), f"{type(error).__name__}: {error}") from error
        except Exception as error:  # noqa: BLE001
            # No transport should raise another. Some do, and one whose repr holds the request's lines.
            raise UpstreamError(Cause.PROTOCOL, f"{type(error).__name__}: {error}") from None

    async def aclose(self) -> None:
        await self._transport.aclose()


class _HttpxAnswer:
    """An httpx response as an answer, its body neither decoded nor decompressed."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers: Headers = tuple(response.headers.raw)
        self._body = cast(httpx.AsyncByteStream, response.stream)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._body)

    async def aclose(self) -> None:
        await self._body.aclose()


def cause_of(error: httpx.TransportError) -> Cause:
    """The cause behind any httpx transport's error: what it was raised from, else its documented class."""
    if isinstance(error, UpstreamError):
        return error.cause
    beneath = [*_beneath(error)]
    # The aiohttp transport says ConnectTimeout for every connection error it has no other name for.
    timed_out = not beneath or any(isinstance(one, TimeoutError) for one in beneath)
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout() if timed_out:
            return Cause.CONNECT_TIMEOUT
        case httpx.ReadTimeout() | httpx.WriteTimeout() if timed_out:
            return Cause.SILENT
    for kind, cause in _BENEATH:
        if any(isinstance(one, kind) for one in beneath):
            return cause
    match error:
        case httpx.ConnectError():
            return Cause.UNREACHABLE
        case httpx.TimeoutException():
            return Cause.CLOSED
        case httpx.RemoteProtocolError() if "disconnected" in f"{error}":
            # As httpx's own transport reports an end before an answer; only its words tell.
            return Cause.CLOSED
        case httpx.RemoteProtocolError() | httpx.UnsupportedProtocol():
            return Cause.PROTOCOL
        case _:
            return Cause.RESET


_BENEATH: tuple[tuple[type[Exception], Cause], ...] = (
    (ConnectionRefusedError, Cause.REFUSED),
    (ConnectionResetError, Cause.RESET),
    (ssl.SSLError, Cause.TLS),
)


def _beneath(error: BaseException) -> Iterator[BaseException]:
    """What an error was raised from, or in handling which, and so on down."""
    below = error.__cause__ or error.__context__
    while below is not None:
        yield below
        if isinstance(below, BaseExceptionGroup):  # One for each address that was tried.
            yield from below.exceptions
        below = below.__cause__ or below.__context__
