import asyncio
import logging
import socket
import ssl
import traceback
from collections.abc import Callable

import httpx
import pytest
from httpx_aiohttp import AiohttpTransport

from loom_core.actions import SendUpstream
from loom_core.values import Cause, Headers
from loom_shell.connection import UpstreamError
from loom_shell.secret import Secret
from loom_shell.transport import Transport
from loom_shell.upload import Upload
from loom_shell.upstream import Answer, Upstream, cause_of
from tests.support.sockets import FIN, READ, RST, Peer, Step, both_loops, free_port

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
KEY = "sk-ant-the-looms-own-key"

Make = Callable[[], httpx.AsyncBaseTransport]
TRANSPORTS: dict[str, Make] = {
    "own": Transport,
    "httpx": httpx.AsyncHTTPTransport,
    "aiohttp": AiohttpTransport,
}
each_transport = pytest.mark.parametrize("make", TRANSPORTS.values(), ids=TRANSPORTS)


async def read(answer: Answer) -> bytes:
    """The whole body of an answer."""
    return b"".join([chunk async for chunk in answer])


def order(
    target: bytes = b"/",
    headers: Headers = (),
    body: bytes | None = b"",
    *,
    method: str = "POST",
    replace_credential: bool = False,
) -> SendUpstream:
    return SendUpstream(1, method, target, headers, body, replace_credential)


async def failure(upstream: Upstream) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await upstream.open(order(), Upload())
    assert str(caught.value)
    return caught.value


async def attempted(make: Make, origin: str, *, connect: float = 5.0, silence: float | None = None) -> Cause:
    upstream = Upstream(httpx.URL(origin), make(), connect_seconds=connect, silence_seconds=silence)
    try:
        return (await failure(upstream)).cause
    finally:
        await upstream.aclose()


@pytest.mark.spec("transport.order")
@both_loops
async def test_an_order_goes_up_with_upstreams_host_and_nothing_else_of_its_own() -> None:
    lines = ((b"X-B", b"\xff"), (b"x-a", b"1"), (b"X-B", b"2"))
    async with Peer((READ, OK) * 2) as peer:
        upstream = Upstream(httpx.URL(peer.origin), Transport())
        response = await upstream.open(order(b"/a/../b?x=1&x=%zz", lines, b""), Upload())
        assert await read(response) == b"ok"
        upload = Upload()
        upload.feed(b"abc")
        upload.end()
        framed = (*lines, (b"content-length", b"3"))
        response = await upstream.open(order(b"*", framed, None, method="PUT"), upload)
        assert await read(response) == b"ok"
        await upstream.aclose()
        head = b"Host: 127.0.0.1:%d\r\nX-B: \xff\r\nx-a: 1\r\nX-B: 2\r\n" % peer.port
        assert peer.requests == [
            b"POST /a/../b?x=1&x=%zz HTTP/1.1\r\n" + head + b"\r\n",
            b"PUT * HTTP/1.1\r\n" + head + b"content-length: 3\r\n\r\nabc",
        ]


@pytest.mark.spec("transport.order")
@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://api.anthropic.com", b"api.anthropic.com"),
        ("https://api.anthropic.com:443", b"api.anthropic.com"),
        ("http://127.0.0.1:8080", b"127.0.0.1:8080"),
        ("http://[::1]:8080", b"[::1]:8080"),
    ],
)
def test_the_host_line_names_the_origin_as_a_client_would(origin: str, host: bytes) -> None:
    asked: list[httpx.Request] = []

    class Recording(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            asked.append(request)
            return httpx.Response(200)

    asyncio.run(upstream_open(Upstream(httpx.URL(origin), Recording())))
    assert asked[0].headers.raw == [(b"Host", host)]


async def upstream_open(upstream: Upstream) -> None:
    await upstream.open(order(), Upload())


@pytest.mark.spec("transport.key")
@pytest.mark.parametrize(("key", "ordered"), [(KEY, True), (KEY, False), (None, True)])
@both_loops
async def test_the_key_goes_up_once_where_it_was_ordered(*, key: str | None, ordered: bool) -> None:
    async with Peer((READ, OK) * 2) as peer:
        upstream = Upstream(httpx.URL(peer.origin), Transport(), key=Secret(key) if key else None)
        for _ in range(2):
            response = await upstream.open(order(replace_credential=ordered), Upload())
            await read(response)
        await upstream.aclose()
        for request in peer.requests:
            assert request.count(b"x-api-key: " + KEY.encode()) == (1 if key and ordered else 0)
            assert request.lower().count(b"x-api-key") == (1 if key and ordered else 0)


@pytest.mark.spec("transport.key-hidden")
@each_transport
@pytest.mark.parametrize("script", [(READ, FIN), (READ, RST), (READ, b"garbage\r\n\r\n", RST)])
def test_the_key_shows_in_no_error_representation_or_log(
    make: Make, script: tuple[Step, ...], caplog: pytest.LogCaptureFixture
) -> None:
    shown: list[str] = []

    async def story() -> None:
        async with Peer(script) as peer:
            upstream = Upstream(httpx.URL(peer.origin), make(), key=Secret(KEY))
            shown.append(f"{upstream!r} {vars(upstream)!r}")
            try:
                await upstream.open(order(replace_credential=True), Upload())
            except UpstreamError as error:
                shown.extend([f"{error} {error!r} {vars(error)!r}", *traceback.format_exception(error)])
            await upstream.aclose()

    caplog.set_level(logging.DEBUG)
    asyncio.run(story())
    assert len(shown) > 1
    assert KEY not in "".join(shown)
    assert KEY not in caplog.text


@pytest.mark.spec("transport.any-transport")
@each_transport
@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ((READ, FIN), Cause.CLOSED),
        ((READ, b"HTTP/1.1 2", FIN), Cause.CLOSED),
        ((READ, RST), Cause.RESET),
        ((READ, b"garbage\r\n\r\n", FIN), Cause.PROTOCOL),
    ],
)
@both_loops
async def test_any_transports_attempt_without_an_answer_has_its_cause(
    make: Make, script: tuple[Step, ...], cause: Cause
) -> None:
    async with Peer(script) as peer:
        assert await attempted(make, peer.origin) is cause


@pytest.mark.spec("transport.any-transport")
@each_transport
@both_loops
async def test_any_transports_refusal_has_its_cause(make: Make) -> None:
    assert await attempted(make, f"http://127.0.0.1:{free_port()}") is Cause.REFUSED


@pytest.mark.spec("transport.any-transport")
@each_transport
@both_loops
async def test_any_transports_silence_has_its_cause(make: Make) -> None:
    async with Peer((READ,)) as peer:
        assert await attempted(make, peer.origin, silence=0.1) is Cause.SILENT


@pytest.mark.spec("transport.any-transport")
@each_transport
@both_loops
async def test_any_transports_tls_failure_has_its_cause(make: Make) -> None:
    async with Peer((0.01, b"HTTP/1.1 400 Plain\r\n\r\n")) as peer:
        assert await attempted(make, peer.origin.replace("http:", "https:")) is Cause.TLS


@pytest.mark.spec("transport.any-transport")
@each_transport
@both_loops
async def test_any_transports_connect_timeout_has_its_cause(
    make: Make,
) -> None:
    with socket.socket() as listener, socket.socket() as one, socket.socket() as other:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (one, other):
            waiting.setblocking(False)  # noqa: FBT003 - the standard library's signature
            waiting.connect_ex(listener.getsockname())
        await asyncio.sleep(0.01)
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert await attempted(make, origin, connect=0.1) is Cause.CONNECT_TIMEOUT


@pytest.mark.spec("transport.any-transport")
@pytest.mark.parametrize("make", [Transport, httpx.AsyncHTTPTransport])
@both_loops
async def test_a_transport_that_knows_the_target_extension_relays_it(
    make: Make,
) -> None:
    async with Peer((READ, OK)) as peer:
        upstream = Upstream(httpx.URL(peer.origin), make())
        response = await upstream.open(order(b"/a//b/../c%zz?x=1&x=2"), Upload())
        assert await read(response) == b"ok"
        await response.aclose()
        await upstream.aclose()
        assert peer.requests[0].startswith(b"POST /a//b/../c%zz?x=1&x=2 HTTP/1.1\r\n")


def raised_from(error: httpx.TransportError, *beneath: BaseException) -> httpx.TransportError:
    above: BaseException = error
    for one in beneath:
        above.__cause__ = one
        above = one
    return error


CAUSES = [
    (UpstreamError(Cause.STALE), Cause.STALE),
    (httpx.ConnectTimeout(""), Cause.CONNECT_TIMEOUT),
    (httpx.PoolTimeout(""), Cause.CONNECT_TIMEOUT),
    (httpx.ReadTimeout(""), Cause.SILENT),
    (httpx.WriteTimeout(""), Cause.SILENT),
    (httpx.ConnectError(""), Cause.UNREACHABLE),
    (raised_from(httpx.ConnectError(""), socket.gaierror(-2, "unknown")), Cause.UNREACHABLE),
    (raised_from(httpx.ConnectError(""), OSError("all"), ConnectionRefusedError()), Cause.REFUSED),
    (
        raised_from(httpx.ConnectError(""), OSError("all"), ExceptionGroup("", [ConnectionRefusedError()])),
        Cause.REFUSED,
    ),
    (raised_from(httpx.ConnectError(""), ssl.SSLCertVerificationError("self-signed")), Cause.TLS),
    (raised_from(httpx.ReadError(""), OSError(), ConnectionResetError()), Cause.RESET),
    (raised_from(httpx.ConnectTimeout("Server disconnected"), OSError()), Cause.CLOSED),
    (raised_from(httpx.ConnectTimeout(""), TimeoutError()), Cause.CONNECT_TIMEOUT),
    (httpx.RemoteProtocolError("Server disconnected without sending a response."), Cause.CLOSED),
    (httpx.RemoteProtocolError("illegal status line"), Cause.PROTOCOL),
    (httpx.UnsupportedProtocol(""), Cause.PROTOCOL),
    (httpx.ReadError(""), Cause.RESET),
    (httpx.WriteError(""), Cause.RESET),
]


@pytest.mark.spec("transport.any-transport")
@pytest.mark.parametrize(("error", "cause"), CAUSES)
def test_an_httpx_error_has_one_cause(error: httpx.TransportError, cause: Cause) -> None:
    assert cause_of(error) is cause
