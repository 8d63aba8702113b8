"""The way to upstream: an order becomes an httpx request, each failure one typed cause."""

import ssl
from collections.abc import Iterator

import httpx

from loom_core.actions import SendUpstream
from loom_core.events import Cause
from loom_shell.connection import UpstreamError
from loom_shell.secret import Secret
from loom_shell.upload import Upload


class Upstream:
    """Sends orders to one origin through one transport.

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
        self._origin = origin
        self._host = (b"Host", origin.netloc)
        self._transport = transport
        self._key = key
        self._timeout = {"connect": connect_seconds, "read": silence_seconds}

    async def open(self, order: SendUpstream, upload: Upload) -> httpx.Response:
        """Send an order and wait for the answer's head; raises `UpstreamError` only."""
        headers = [self._host, *order.headers]
        if order.replace_credential and self._key is not None:
            headers.append((b"x-api-key", self._key.expose().encode("ascii")))
        request = httpx.Request(
            order.method,
            self._origin,
            headers=headers,
            stream=upload if order.body is None else httpx.ByteStream(order.body),
            extensions={"target": order.target, "timeout": self._timeout},
        )
        try:
            return await self._transport.handle_async_request(request)
        except UpstreamError:
            raise
        except httpx.TransportError as error:
            raise UpstreamError(cause_of(error), f"{type(error).__name__}: {error}") from error
        except Exception as error:  # noqa: BLE001
            # No transport should raise another. Some do, and one whose repr holds the request's lines.
            raise UpstreamError(Cause.PROTOCOL, f"{type(error).__name__}: {error}") from None

    async def aclose(self) -> None:
        await self._transport.aclose()


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
