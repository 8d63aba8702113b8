"""The client's end of the wire: what the SDK sent and got, byte for byte, with the times.

The tap stands between the SDK and its own HTTP transport, and changes nothing.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import cast

import httpx2
from attrs import define, field

from loom_core import sse
from loom_core.values import Headers


@define(eq=False)
class Passed:
    """One request and its answer so far. Times are `time.monotonic()`; `broken` says how it broke off."""

    method: str
    target: bytes
    up: bytes = field(repr=False)
    began: float
    status: int | None = None
    lines: Headers = ()
    down: bytearray = field(factory=bytearray, repr=False)
    frames: Counter[str] = field(factory=Counter)
    newest: str = ""
    """The name of the newest frame."""

    first_byte: float | None = None
    ended: float | None = None
    broken: str = ""

    @property
    def is_stream(self) -> bool:
        return any(name.lower() == b"content-type" and b"event-stream" in value for name, value in self.lines)


class Tap(httpx2.AsyncBaseTransport):
    """Keeps `passed`, newest last; `on_news` is called whenever a head or a chunk has come."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, on_news: Callable[[Passed], None]) -> None:
        self._inner = inner
        self._on_news = on_news
        self.passed: list[Passed] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        passed = Passed(request.method, request.url.raw_path, await request.aread(), time.monotonic())
        self.passed.append(passed)
        response = await self._inner.handle_async_request(request)
        passed.first_byte = time.monotonic()
        passed.status, passed.lines = response.status_code, tuple(response.headers.raw)
        self._on_news(passed)
        return httpx2.Response(
            response.status_code,
            headers=response.headers.raw,
            stream=_Stream(response, passed, self._on_news),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


class Instead(httpx2.AsyncBaseTransport):
    """Sends `body`, unless it is None, in the place of what it is given: what the Loom made of a request."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner
        self.body: bytes | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if self.body is not None:
            length = str(len(self.body)).encode()
            lines = [
                (name, length if name.lower() == b"content-length" else value)
                for name, value in request.headers.raw
            ]
            request = httpx2.Request(
                request.method, request.url, headers=lines, content=self.body, extensions=request.extensions
            )
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Stream(httpx2.AsyncByteStream):
    """The answer's body as it comes: kept, and passed on in the same pieces."""

    def __init__(self, response: httpx2.Response, passed: Passed, on_news: Callable[[Passed], None]) -> None:
        self._response, self._passed, self._on_news = response, passed, on_news
        self._reader = sse.Reader()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in cast("httpx2.AsyncByteStream", self._response.stream):
                self._keep(chunk)
                yield chunk
        except httpx2.TransportError as error:
            self._passed.broken = f"{error}" or type(error).__name__
            raise
        finally:
            self._passed.ended = time.monotonic()

    def _keep(self, chunk: bytes) -> None:
        passed = self._passed
        passed.down += chunk
        if passed.is_stream:
            self._reader, frames = sse.feed(self._reader, chunk)
            for frame in frames:
                passed.newest = frame.event.decode("ascii", "replace")
                passed.frames[passed.newest] += 1
        self._on_news(passed)

    async def aclose(self) -> None:
        await self._response.aclose()
