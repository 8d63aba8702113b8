import asyncio
import random
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from loom_core.values import Cause, Headers
from loom_shell import transport as transport_module
from loom_shell.connection import HIGH_WATER, UpstreamError
from loom_shell.transport import MAX_IDLE, Transport
from loom_shell.upload import HIGH_WATER as UPLOAD_HIGH_WATER
from loom_shell.upload import Upload
from tests.support.sockets import (
    CLOSE,
    FIN,
    HEAD,
    READ,
    RST,
    SOME,
    Peer,
    Step,
    ask,
    both_loops,
    fetch,
    free_port,
    opened,
    until,
)

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
TURN = (READ, OK)
"""A request and its answer on a connection that stays."""
CERTIFICATE = Path(__file__).parents[1] / "support" / "loopback.pem"


async def refused(transport: Transport, request: httpx.Request) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await fetch(transport, request)
    assert str(caught.value)
    return caught.value


BODY_BEGUN = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n"

# Bytes on the wire.

TARGETS = [
    b"/",
    b"/v1/messages?beta=true",
    b"/a%2Fb/%7e/%zz/%E2%82%AC/%",
    b"/a/../b/./c//d",
    b"//elsewhere.example/x",
    b"*",
    b"/?",
    b"/?a=1&a=2&a&=&b=%20+x?y",
    b"/;p='[]{}|\\^`\"<>~",
    b"/#f",
]
LINES: Headers = (
    (b"Host", b"api.example"),
    (b"X-B", b"2"),
    (b"x-a", b"1"),
    (b"X-b", b"3"),
    (b"X-Empty", b""),
    (b"x-utf-8", "é€".encode()),
    (b"x-latin", b"caf\xe9\xff"),
    (b"X-B", b"2"),
    (b"cookie", b"a=1; b=2"),
)
RAW_LINES = b"".join(b"%b: %b\r\n" % line for line in LINES)


@pytest.mark.spec("transport.target")
@pytest.mark.parametrize("target", TARGETS)
@both_loops
async def test_a_target_goes_up_to_the_letter(target: bytes) -> None:
    async with Peer(TURN) as peer, opened() as transport:
        await fetch(transport, ask(peer.origin, "GET", target, LINES[:1]))
        assert peer.requests == [b"GET %b HTTP/1.1\r\nHost: api.example\r\n\r\n" % target]


@pytest.mark.spec("transport.lines", "transport.nothing-added")
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE", "PROPFIND"])
@both_loops
async def test_header_lines_go_up_as_they_are_and_nothing_is_added(method: str) -> None:
    async with Peer((READ, b"HTTP/1.1 204 N\r\n\r\n")) as peer, opened() as transport:
        await fetch(transport, ask(peer.origin, method, b"/p", LINES))
        assert peer.requests == [b"%b /p HTTP/1.1\r\n%b\r\n" % (method.encode(), RAW_LINES)]


@pytest.mark.spec("transport.whole")
@both_loops
async def test_a_whole_body_follows_the_head_unchanged() -> None:
    body = bytes(range(256)) * 4000
    lines = (*LINES, (b"Content-Length", b"%d" % len(body)))
    async with Peer(TURN) as peer, opened() as transport:
        assert (await fetch(transport, ask(peer.origin, "POST", b"/", lines, body))).body == b"ok"
        (request,) = peer.requests
        assert request == b"POST / HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (RAW_LINES, len(body), body)


def uploaded(*pieces: bytes) -> Upload:
    upload = Upload()
    for piece in pieces:
        upload.feed(piece)
    upload.end()
    return upload


@pytest.mark.spec("transport.streamed", "transport.one-framing")
@both_loops
async def test_a_streamed_body_with_a_length_goes_up_as_it_is() -> None:
    lines = ((b"CONTENT-length", b"6"),)
    async with Peer(TURN) as peer, opened() as transport:
        await fetch(transport, ask(peer.origin, "POST", b"/", lines, uploaded(b"abc", b"", b"def")))
        assert peer.requests == [b"POST / HTTP/1.1\r\nCONTENT-length: 6\r\n\r\nabcdef"]


@pytest.mark.spec("transport.streamed", "transport.one-framing")
@both_loops
async def test_a_streamed_body_without_a_length_goes_up_in_chunks_as_they_come() -> None:
    upload = Upload()
    async with Peer(TURN) as peer, opened() as transport:
        fetching = asyncio.get_running_loop().create_task(
            fetch(transport, ask(peer.origin, "PUT", b"/", LINES[:1], upload))
        )
        wire = await peer.accepted()
        head = b"PUT / HTTP/1.1\r\nHost: api.example\r\ntransfer-encoding: chunked\r\n\r\n"
        await until(lambda: wire.received == head)
        upload.feed(b"0123456789")
        await until(lambda: wire.received == head + b"a\r\n0123456789\r\n")
        upload.end()
        assert (await fetching).body == b"ok"
        assert peer.requests == [head + b"a\r\n0123456789\r\n0\r\n\r\n"]


@pytest.mark.spec("transport.one-framing")
@both_loops
async def test_a_request_that_names_its_framing_gets_no_second_one() -> None:
    lines = ((b"Transfer-Encoding", b"chunked"),)
    async with Peer(TURN) as peer, opened() as transport:
        await fetch(transport, ask(peer.origin, "POST", b"/", lines, Pieces(b"a", b"", b"b")))
        framed = b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"
        assert peer.requests == [b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + framed]


async def fed_until_full(upload: Upload) -> None:
    """Feed pieces of 16 KB until there is no more room, and none comes for a while."""
    for _ in range(4000):
        upload.feed(b"x" * 16_384)
        try:
            async with asyncio.timeout(0.1):
                await upload.room()
        except TimeoutError:
            return
    pytest.fail("there is always room")


class Pieces(httpx.AsyncByteStream):
    """A body of another making: its pieces, then perhaps an error."""

    def __init__(self, *pieces: bytes, error: Exception | None = None) -> None:
        self._pieces, self._error = pieces, error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._error is not None:
            raise self._error


@pytest.mark.spec("transport.upload-broke")
@both_loops
async def test_a_body_that_raises_ends_the_attempt_and_never_looks_whole() -> None:
    async with Peer((READ,)) as peer, opened() as transport:
        body = Pieces(b"abc", error=ValueError("no more"))
        error = await refused(transport, ask(peer.origin, "POST", b"/", (), body))
        assert error.cause is Cause.CLOSED
        assert "ValueError: no more" in str(error)
        wire = await peer.accepted()
        await wire.left.wait()
        assert not wire.received.endswith(b"0\r\n\r\n")


# Answers while the request still goes up.


@pytest.mark.spec("transport.early-answer")
@pytest.mark.parametrize("ending", [(), (FIN,), (CLOSE,), (RST,)])
@both_loops
async def test_an_answer_before_the_upload_is_complete_is_delivered(ending: Sequence[Step]) -> None:
    early = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
    upload, answered = Upload(), asyncio.Event()
    async with Peer((HEAD, early, answered, *ending)) as peer, opened() as transport:
        upload.feed(b"x" * UPLOAD_HIGH_WATER)
        answer = await fetch(transport, ask(peer.origin, "POST", b"/", (), upload))
        assert (answer.status, answer.body, answer.failure) == (413, b"no", None)
        answered.set()
        await until(lambda: transport.connections == 0)


@pytest.mark.spec("transport.early-answer")
@both_loops
async def test_an_answer_may_stream_while_the_request_does() -> None:
    upload = Upload()
    async with Peer((HEAD, BODY_BEGUN, SOME, b"1\r\nb\r\n0\r\n\r\n")) as peer, opened() as transport:
        response = await transport.handle_async_request(ask(peer.origin, "POST", b"/", (), upload))
        body = aiter(cast("httpx.AsyncByteStream", response.stream))
        assert await anext(body) == b"a"
        upload.feed(b"still going")
        assert await anext(body) == b"b"
        assert b"still going" in peer.wires[0].received
        assert [piece async for piece in body] == []
        # The rest of the request was not sent: nothing else may follow on this connection.
        await until(lambda: transport.connections == 0)


# The pool.


@pytest.mark.spec("transport.reuse")
@both_loops
async def test_a_connection_serves_one_request_after_the_other() -> None:
    answers = (OK, b"HTTP/1.1 204 N\r\n\r\n", BODY_BEGUN + b"0\r\n\r\n")
    async with Peer([step for answer in answers for step in (READ, answer)]) as peer, opened() as transport:
        for _ in answers:
            await fetch(transport, ask(peer.origin, "POST", b"/", ((b"content-length", b"2"),), b"ab"))
            assert transport.connections == 1
        assert len(peer.wires) == 1
        assert len(peer.requests) == 3


@pytest.mark.spec("transport.reuse", "transport.streamed-fresh")
@both_loops
async def test_a_streamed_request_opens_its_own_connection_and_leaves_it_to_the_next() -> None:
    async with Peer(TURN, TURN * 2) as peer, opened() as transport:
        lines = ((b"content-length", b"3"),)
        await fetch(transport, ask(peer.origin, "POST", b"/", lines, b"abc"))
        await fetch(transport, ask(peer.origin, "POST", b"/", lines, uploaded(b"abc")))
        assert len(peer.wires) == 2
        await fetch(transport, ask(peer.origin, "POST", b"/", lines, b"abc"))
        assert len(peer.wires) == 2


@pytest.mark.spec("transport.kept")
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        OK + b"surplus",
    ],
)
@both_loops
async def test_a_connection_that_may_not_be_kept_is_closed(answer: bytes) -> None:
    async with Peer((READ, answer)) as peer, opened() as transport:
        for count in (1, 2):
            assert (await fetch(transport, ask(peer.origin))).body == b"ok"
            await (await peer.accepted(count)).left.wait()
        await until(lambda: transport.connections == 0)


async def at_once(transport: Transport, peer: Peer, count: int) -> None:
    """So many exchanges side by side: as many connections, idle afterwards in the order of the requests."""
    responses = [await transport.handle_async_request(ask(peer.origin)) for _ in range(count)]
    for response in responses:
        assert await response.aread() == b"ok"
        await response.aclose()


@pytest.mark.spec("transport.lifo")
@both_loops
async def test_the_connection_used_last_is_used_next() -> None:
    async with Peer(TURN * 9) as peer, opened() as transport:
        await at_once(transport, peer, 3)
        for _ in range(2):
            await fetch(transport, ask(peer.origin))
        assert [len(wire.requests) for wire in peer.wires] == [1, 1, 3]


@pytest.mark.spec("transport.max-idle")
@both_loops
async def test_no_more_connections_stay_idle_than_the_limit() -> None:
    async with Peer(TURN) as peer, opened() as transport:
        await at_once(transport, peer, MAX_IDLE + 3)
        await until(lambda: transport.connections == MAX_IDLE)


@pytest.mark.spec("transport.idle-expiry")
@both_loops
async def test_a_connection_idle_for_too_long_is_not_used_again() -> None:
    async with Peer(TURN * 2) as peer, opened(keep_alive=0.05) as transport:
        await at_once(transport, peer, 2)
        await asyncio.sleep(0.1)
        await fetch(transport, ask(peer.origin))
        assert len(peer.wires) == 3
        for wire in peer.wires[:2]:
            await wire.left.wait()
        assert transport.connections == 1


@pytest.mark.spec("transport.idle-closed")
@pytest.mark.parametrize("ending", [FIN, RST, b"HTTP/1.1 408 Late\r\n\r\n"])
@both_loops
async def test_an_idle_connection_that_upstream_ends_leaves_the_pool(ending: Step) -> None:
    now = asyncio.Event()
    async with Peer((*TURN, now, ending), TURN) as peer, opened() as transport:
        await fetch(transport, ask(peer.origin))
        now.set()
        await until(lambda: transport.connections == 0)
        assert not any(transport._idle.values())
        assert (await fetch(transport, ask(peer.origin))).body == b"ok"
        assert len(peer.wires) == 2


@pytest.mark.spec("transport.stale", "transport.contemporaries")
@pytest.mark.parametrize("ending", [FIN, RST])
@both_loops
async def test_after_a_stale_connection_its_contemporaries_are_not_trusted(ending: Step) -> None:
    stale = (*TURN, READ, ending)
    async with Peer(stale, stale, stale, TURN) as peer, opened() as transport:
        await at_once(transport, peer, 3)
        assert (await refused(transport, ask(peer.origin))).cause is Cause.STALE
        await until(lambda: transport.connections == 0)
        assert (await fetch(transport, ask(peer.origin))).body == b"ok"
        assert len(peer.wires) == 4


@pytest.mark.spec("transport.origins")
@both_loops
async def test_a_connection_serves_one_origin_only() -> None:
    async with Peer(TURN * 2) as one, Peer(TURN * 2) as other, opened() as transport:
        for peer in (one, other, one, other):
            await fetch(transport, ask(peer.origin))
        assert [len(peer.wires) for peer in (one, other)] == [1, 1]
        assert transport.connections == 2


@pytest.mark.spec("transport.aclose")
@both_loops
async def test_closing_the_transport_closes_every_connection() -> None:
    async with Peer(TURN, (READ, OK[:-1]), (READ,)) as peer, opened() as transport:
        idle, broken = [await transport.handle_async_request(ask(peer.origin)) for _ in range(2)]
        waiting = asyncio.get_running_loop().create_task(fetch(transport, ask(peer.origin)))
        await until(lambda: len(peer.requests) == 3)
        assert await idle.aread() == b"ok"
        assert transport.connections == 3
        await transport.aclose()
        with pytest.raises(UpstreamError):
            await waiting
        with pytest.raises(UpstreamError):
            await broken.aread()
        await broken.aclose()
        for wire in peer.wires:
            await wire.left.wait()
        assert transport.connections == 0


# Cancelling.


@pytest.mark.spec("transport.cancel")
@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 2", BODY_BEGUN])
@both_loops
async def test_a_cancel_closes_upstreams_socket_at_once(part: bytes) -> None:
    async with Peer((READ, part)) as peer, opened() as transport:
        fetching = asyncio.get_running_loop().create_task(fetch(transport, ask(peer.origin)))
        wire = await peer.accepted()
        await until(lambda: wire.requests and wire.sent == len(part))
        await asyncio.sleep(0.01)
        cancelled_at = time.monotonic()
        fetching.cancel()
        await wire.left.wait()
        assert wire.left_at - cancelled_at < 0.1
        assert fetching.cancelled()


@pytest.mark.spec("transport.cancel")
@both_loops
async def test_a_cancel_in_the_middle_of_an_upload_closes_upstreams_socket_at_once() -> None:
    reads = asyncio.Event()
    upload = Upload()
    async with Peer((HEAD, reads)) as peer, opened() as transport:
        fetching = asyncio.get_running_loop().create_task(
            fetch(transport, ask(peer.origin, "POST", b"/", (), upload))
        )
        wire = await peer.accepted()
        await fed_until_full(upload)
        cancelled_at = time.monotonic()
        fetching.cancel()
        reads.set()
        await wire.left.wait()
        assert wire.left_at - cancelled_at < 0.1


@pytest.mark.spec("transport.cancel", "transport.unread")
@both_loops
async def test_closing_an_answer_early_closes_its_connection() -> None:
    async with Peer((READ, BODY_BEGUN)) as peer, opened() as transport:
        response = await transport.handle_async_request(ask(peer.origin))
        await response.aclose()
        await (await peer.accepted()).left.wait()
        await until(lambda: transport.connections == 0)


@pytest.mark.spec("transport.no-leak")
@both_loops
async def test_random_cancels_leave_no_connection_behind_that_is_not_usable() -> None:
    chance = random.Random(1093)
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n"
    turns = (READ, 0.001, chunked, 0.001, b"1\r\n!\r\n", 0.0, b"0\r\n\r\n", *TURN)
    async with Peer(turns * 300) as peer, opened() as transport:

        async def one() -> None:
            upload = Upload()
            body = chance.choice([b"", b"x" * 300_000, upload])
            length = ((b"content-length", b"%d" % len(body)),) if isinstance(body, bytes) else ()
            fetching = asyncio.get_running_loop().create_task(
                fetch(transport, ask(peer.origin, "POST", b"/", length, body))
            )
            for _ in range(chance.randrange(40)):
                await asyncio.sleep(0)
            upload.feed(b"x" * chance.randrange(100_000))
            await asyncio.sleep(chance.choice([0, 0.001, 0.004]))
            upload.end()
            for _ in range(chance.randrange(20)):
                await asyncio.sleep(0)
            fetching.cancel()
            await asyncio.wait([fetching])

        for _ in range(30):
            await asyncio.gather(*(one() for _ in range(10)))
        await asyncio.sleep(0)
        idle = [connection for kept in transport._idle.values() for connection in kept]
        await until(lambda: transport.connections == len(idle))
        assert all(connection.usable and connection.reusable for connection in idle)
        for _ in range(len(idle) + 2):
            answer = await fetch(transport, ask(peer.origin))
            assert answer.failure is None
            assert answer.body in (b"ok", b"ok!")


@pytest.mark.spec("transport.no-leak")
@both_loops
async def test_a_cancel_at_every_turn_of_an_exchange_leaves_nothing_open() -> None:
    async with Peer((READ, *(OK[at : at + 9] for at in range(0, len(OK), 9)), *TURN)) as peer:
        for turns in range(60):
            async with opened() as transport:
                with resolving(("127.0.0.1", peer.port)):
                    await cancelled_after(turns, fetch(transport, ask("http://upstream.invalid")))
                idle = sum(map(len, transport._idle.values()))
                await until(lambda open_=transport, idle=idle: open_.connections == idle)
        for wire in peer.wires:
            await wire.left.wait()


@pytest.mark.spec("transport.no-leak")
@pytest.mark.parametrize("scheme", ["http", "https"])
@both_loops
async def test_a_cancel_at_every_turn_of_connecting_leaves_no_socket_open(scheme: str) -> None:
    async with Peer(()) as peer, opened(trusting()) as transport:
        # Without a resolver's thread every turn is one of connecting.
        with resolving(("127.0.0.1", peer.port)):
            for turns in range(50):
                await cancelled_after(turns, fetch(transport, ask(f"{scheme}://upstream.invalid")))
        await until(lambda: peer.wires and all(wire.left.is_set() for wire in peer.wires))
        assert transport.connections == 0


async def cancelled_after(turns: int, work: Coroutine[Any, Any, Any]) -> None:
    """Let a task run for so many turns of the loop, cancel it, and wait for its end."""
    task = asyncio.get_running_loop().create_task(work)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


# Back-pressure.


@pytest.mark.spec("transport.bounded-up")
@both_loops
async def test_an_upstream_that_does_not_read_bounds_what_waits_for_it() -> None:
    reads, upload = asyncio.Event(), Upload()
    async with Peer((HEAD, reads)) as peer, opened() as transport:
        lines = ((b"content-length", b"64000000"),)
        fetching = asyncio.get_running_loop().create_task(
            fetch(transport, ask(peer.origin, "POST", b"/", lines, upload))
        )
        await fed_until_full(upload)
        (connection,) = transport._open
        waiting = connection._written - connection._sent
        assert upload._waiting <= UPLOAD_HIGH_WATER + 16_384
        assert waiting <= 65_536 + UPLOAD_HIGH_WATER + 16_384 + 16
        fetching.cancel()
        reads.set()


@pytest.mark.spec("transport.bounded-down")
@both_loops
async def test_an_answer_nobody_reads_is_held_back() -> None:
    size = 16_000_000
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size
    async with Peer((READ, answer)) as peer, opened() as transport:
        response = await transport.handle_async_request(ask(peer.origin))
        (connection,) = transport._open
        await until(lambda: connection._reading_paused)
        assert connection._waiting <= 2 * HIGH_WATER
        assert peer.wires[0].sent < size
        assert len(await response.aread()) == size
        await response.aclose()


# Connecting.


@asynccontextmanager
async def deaf() -> AsyncIterator[int]:
    """A port of 127.0.0.1 that answers no connection: its queue is full."""
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003 - the standard library's signature
            waiting.connect_ex(listener.getsockname())
        await asyncio.sleep(0.01)
        yield listener.getsockname()[1]


@contextmanager
def resolving(*addresses: tuple[str, int]) -> Iterator[None]:
    """Every name leads to these addresses, at once; where there are none, to nothing."""

    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        found = [(host, port)] if host[0].isdigit() else addresses  # uvloop asks for literal ones too.
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", it) for it in found]

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        yield


@pytest.mark.spec("transport.connect-timeout")
@both_loops
async def test_connecting_is_bounded_in_time() -> None:
    async with deaf() as port, opened() as transport:
        begun = time.monotonic()
        error = await refused(transport, ask(f"http://127.0.0.1:{port}", connect=0.2))
        assert error.cause is Cause.CONNECT_TIMEOUT
        assert 0.15 < time.monotonic() - begun < 2
        assert transport.connections == 0


@pytest.mark.spec("transport.connect-timeout")
@both_loops
async def test_a_resolver_that_hangs_is_bounded_too() -> None:
    async def getaddrinfo(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        async with opened() as transport:
            error = await refused(transport, ask("http://upstream.invalid", connect=0.05))
            assert error.cause is Cause.CONNECT_TIMEOUT


@pytest.mark.spec("transport.connect-timeout")
@pytest.mark.parametrize("limit", [None, 5.0])
@both_loops
async def test_the_kernels_own_patience_is_a_timeout_as_well(limit: float | None) -> None:
    async def start_connection(*_: object, **__: object) -> None:
        raise TimeoutError(110, "Connection timed out")

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(transport_module.aiohappyeyeballs, "start_connection", start_connection)
        async with opened() as transport:
            error = await refused(transport, ask("http://127.0.0.1:9", connect=limit))
            assert error.cause is Cause.CONNECT_TIMEOUT


@pytest.mark.spec("transport.connect-causes")
@both_loops
async def test_a_port_where_nobody_listens_refuses() -> None:
    async with opened() as transport:
        for host in ("127.0.0.1", "localhost"):
            error = await refused(transport, ask(f"http://{host}:{free_port()}"))
            assert error.cause is Cause.REFUSED


@pytest.mark.spec("transport.connect-causes")
@both_loops
async def test_refused_by_one_address_and_unreachable_by_the_other_is_refused() -> None:
    # TCP goes to no broadcast address: the kernel says so without asking the network.
    with resolving(("255.255.255.255", 9), ("127.0.0.1", free_port())):
        async with opened() as transport:
            assert (await refused(transport, ask("http://upstream.invalid"))).cause is Cause.REFUSED


@pytest.mark.spec("transport.connect-causes")
@both_loops
async def test_an_address_without_a_way_is_unreachable() -> None:
    with resolving(("255.255.255.255", 9)):
        async with opened() as transport:
            assert (await refused(transport, ask("http://upstream.invalid"))).cause is Cause.UNREACHABLE


@pytest.mark.spec("transport.connect-causes")
@both_loops
async def test_a_name_nobody_knows_is_unreachable() -> None:
    with resolving():
        async with opened() as transport:
            error = await refused(transport, ask("http://upstream.invalid"))
            assert error.cause is Cause.UNREACHABLE


@pytest.mark.spec("transport.connect-causes")
@both_loops
async def test_a_name_that_is_none_is_unreachable() -> None:
    async with opened() as transport:
        error = await refused(transport, ask(f"http://{'a' * 64}.invalid"))
        assert error.cause is Cause.UNREACHABLE


@pytest.mark.spec("transport.happy-eyeballs")
@both_loops
async def test_an_address_that_refuses_gives_way_to_the_next() -> None:
    async with Peer(TURN) as peer, opened() as transport:
        with resolving(("127.0.0.1", free_port()), ("127.0.0.1", peer.port)):
            assert (await fetch(transport, ask("http://upstream.invalid"))).body == b"ok"
        assert transport.connections == 1


@pytest.mark.spec("transport.happy-eyeballs")
@both_loops
async def test_an_address_that_says_nothing_does_not_hold_up_the_next() -> None:
    async with Peer(TURN) as peer, deaf() as port, opened() as transport:
        with resolving(("127.0.0.1", port), ("127.0.0.1", peer.port)):
            begun = time.monotonic()
            assert (await fetch(transport, ask("http://upstream.invalid"))).body == b"ok"
            assert time.monotonic() - begun < 1


@pytest.mark.spec("transport.before-head")
@pytest.mark.parametrize("ending", [FIN, RST])
@both_loops
async def test_an_upstream_that_ends_each_connection_at_once_is_told_and_leaves_nothing(ending: Step) -> None:
    async with Peer((ending,)) as peer, opened() as transport:
        for _ in range(20):
            error = await refused(transport, ask(peer.origin))
            assert error.cause in (Cause.CLOSED, Cause.RESET)
        await until(lambda: transport.connections == 0)


@pytest.mark.spec("transport.before-head")
@both_loops
async def test_a_connection_that_is_gone_before_it_is_used_is_told_and_not_counted() -> None:
    loop = asyncio.get_running_loop()
    real = loop.create_connection

    async def create_connection(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - the loop's own
        made = await real(*args, **named)
        await until(lambda: not made[1].usable)
        await asyncio.sleep(0.01)
        return made

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(loop, "create_connection", create_connection)
        async with Peer((FIN,), (b"220 mail.example ESMTP\r\n",)) as peer, opened() as transport:
            for _ in range(2):
                assert (await refused(transport, ask(peer.origin))).cause is Cause.CLOSED
                assert transport.connections == 0


@pytest.mark.spec("transport.connect-causes")
@both_loops
async def test_a_socket_the_loop_does_not_take_is_closed_and_told() -> None:
    async def create_connection(*_: object, **__: object) -> None:
        raise RuntimeError("File descriptor 7 is used by transport")

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create_connection)
        async with Peer(()) as peer, opened() as transport:
            assert (await refused(transport, ask(peer.origin))).cause is Cause.UNREACHABLE
            await (await peer.accepted()).left.wait()


@pytest.mark.spec("transport.aclose")
@both_loops
async def test_a_connection_made_after_the_transport_was_closed_is_closed() -> None:
    async with Peer(TURN) as peer, opened() as transport:
        resolved, real = asyncio.Event(), asyncio.get_running_loop().getaddrinfo

        async def getaddrinfo(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - the loop's own
            await resolved.wait()
            return await real(*args, **named)

        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
            fetching = asyncio.get_running_loop().create_task(fetch(transport, ask(peer.origin)))
            await asyncio.sleep(0)
            await transport.aclose()
            resolved.set()
            with pytest.raises(UpstreamError):
                await fetching
        await (await peer.accepted()).left.wait()
        assert transport.connections == 0


# TLS.

Served = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


@asynccontextmanager
async def tls_server(*answers: bytes, alert: bool = True, reset: bool = False) -> AsyncIterator[str]:
    """Each answer for one request of a connection, then the end, with a closure alert or without."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    context.set_alpn_protocols(["h2", "http/1.1"])
    running: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(cast("asyncio.Task[Any]", asyncio.current_task()))
        try:
            for answer in answers:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            if reset:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.close() if alert else writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        if running:
            await asyncio.wait(running)


@pytest.mark.spec("transport.tls")
@both_loops
async def test_https_upstreams_are_spoken_to_and_kept() -> None:
    async with tls_server(OK, OK) as origin, opened(trusting()) as transport:
        assert (await fetch(transport, ask(origin))).body == b"ok"
        (connection,) = transport._open
        assert (await fetch(transport, ask(origin))).body == b"ok"
        assert connection.uses == 2
        await until(lambda: transport.connections == 0)


@pytest.mark.spec("transport.tls")
@both_loops
async def test_a_certificate_that_is_not_trusted_is_refused() -> None:
    async with tls_server(OK) as origin, opened() as transport:
        error = await refused(transport, ask(origin))
        assert error.cause is Cause.TLS
        assert transport.connections == 0


@pytest.mark.spec("transport.tls")
@both_loops
async def test_authorities_named_by_the_environment_are_trusted_and_http_1_1_is_spoken() -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        async with tls_server(OK) as origin, opened() as transport:
            response = await transport.handle_async_request(ask(origin))
            (connection,) = transport._open
            assert connection._transport is not None
            tls = connection._transport.get_extra_info("ssl_object")
            assert tls.selected_alpn_protocol() == "http/1.1"
            assert await response.aread() == b"ok"
            await response.aclose()


@pytest.mark.spec("transport.tls")
@both_loops
async def test_authorities_that_cannot_be_read_are_told_and_nothing_stays_open() -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE.with_name("missing.pem")))
        async with Peer(()) as peer, opened() as transport:
            error = await refused(transport, ask(peer.origin.replace("http:", "https:")))
            assert error.cause is Cause.TLS
            await (await peer.accepted()).left.wait()


@pytest.mark.spec("transport.tls")
@both_loops
async def test_a_server_that_speaks_no_tls_is_told() -> None:
    async with Peer((0.01, b"HTTP/1.1 400 Plain\r\n\r\n")) as peer, opened(trusting()) as transport:
        error = await refused(transport, ask(peer.origin.replace("http:", "https:")))
        assert error.cause is Cause.TLS


@pytest.mark.spec("transport.tls")
@pytest.mark.parametrize("ending", [FIN, RST])
@both_loops
async def test_an_end_within_the_handshake_is_told(ending: Step) -> None:
    async with Peer((0.01, ending)) as peer, opened(trusting()) as transport:
        error = await refused(transport, ask(peer.origin.replace("http:", "https:")))
        assert error.cause in (Cause.RESET, Cause.CLOSED, Cause.TLS)
        assert transport.connections == 0


@pytest.mark.spec("transport.tls")
@both_loops
async def test_a_handshake_that_hangs_is_bounded() -> None:
    async with Peer(()) as peer, opened(trusting()) as transport:
        error = await refused(transport, ask(peer.origin.replace("http:", "https:"), connect=0.1))
        assert error.cause is Cause.CONNECT_TIMEOUT
        await (await peer.accepted()).left.wait()


@pytest.mark.spec("transport.tls", "transport.before-head")
@both_loops
async def test_a_server_that_ends_right_after_the_handshake_is_told() -> None:
    for alert in (True, False):
        async with tls_server(alert=alert) as origin, opened(trusting()) as transport:
            error = await refused(transport, ask(origin))
            assert error.cause in (Cause.CLOSED, Cause.RESET)
            await until(lambda open_=transport: open_.connections == 0)


UNTIL_END = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (2 * HIGH_WATER)


@pytest.mark.spec("transport.tls-end")
@pytest.mark.parametrize("slow", [False, True])
@both_loops
async def test_over_tls_only_a_closure_alert_ends_a_body_that_has_no_other_end(*, slow: bool) -> None:
    for alert in (True, False):
        async with tls_server(UNTIL_END, alert=alert) as origin, opened(trusting()) as transport:
            response = await transport.handle_async_request(ask(origin))
            if slow:
                (connection,) = transport._open
                await until(lambda it=connection: it._reading_paused)
            stream, body, broke = cast("httpx.AsyncByteStream", response.stream), b"", False
            try:
                async for piece in stream:
                    body += piece
            except UpstreamError as error:
                broke = error.cause is Cause.BROKEN
            await stream.aclose()
            assert broke is not alert
            if alert:
                assert len(body) == 2 * HIGH_WATER


@pytest.mark.spec("transport.tls-end")
@both_loops
async def test_over_tls_a_body_with_an_end_of_its_own_needs_no_alert() -> None:
    async with tls_server(OK, alert=False) as origin, opened(trusting()) as transport:
        assert (await fetch(transport, ask(origin))).body == b"ok"
    async with tls_server(OK[:-1], alert=True) as origin, opened(trusting()) as transport:
        answer = await fetch(transport, ask(origin))
        assert answer.failure is not None
        assert answer.failure.cause is Cause.BROKEN


@pytest.mark.spec("transport.mid-body")
@both_loops
async def test_over_tls_a_reset_breaks_a_body() -> None:
    async with tls_server(OK[:-1], alert=False, reset=True) as origin, opened(trusting()) as transport:
        answer = await fetch(transport, ask(origin))
        assert answer.failure is not None
        assert answer.failure.cause is Cause.BROKEN


@pytest.mark.spec("transport.cancel")
@both_loops
async def test_a_cancel_over_tls_leaves_nothing_open() -> None:
    for turns in range(0, 60, 3):
        async with tls_server(OK[:-1], OK) as origin, opened(trusting()) as transport:
            await cancelled_after(turns, fetch(transport, ask(origin)))
            await until(lambda it=transport: it.connections == 0)
