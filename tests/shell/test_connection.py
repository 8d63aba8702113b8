import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from attrs import frozen

from loom_core.values import Cause, Headers
from loom_shell.connection import HIGH_WATER, MAX_HEAD, Connection, UpstreamError
from tests.support.sockets import (
    CLOSE,
    FIN,
    HEAD,
    READ,
    RST,
    Answer,
    Peer,
    Step,
    Wire,
    both_loops,
    settled,
    until,
)

OK = b"HTTP/1.1 200 OK\r\n"
ASKED = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ONE_READ = 262_144
"""The most either loop takes from a socket at once."""


async def connected(port: int, lost: list[Connection]) -> Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(lost.append), "127.0.0.1", port)
    return connection


@asynccontextmanager
async def asking(*script: Step, method: str = "GET") -> AsyncIterator[tuple[Connection, Wire]]:
    """A connection whose request is on its way, and the peer's end of it."""
    lost: list[Connection] = []
    async with Peer(script) as peer:
        connection = await connected(peer.port, lost)
        connection.begin(method)
        connection.write(ASKED)
        yield connection, await peer.accepted()
        connection.abort()
        await until(lambda: lost == [connection])


async def read(connection: Connection, silence: float | None = None) -> Answer:
    status, headers = await connection.head(silence)
    body = b""
    try:
        while piece := await connection.chunk(silence):
            body += piece
    except UpstreamError as error:
        if error.cause is Cause.SILENT:
            raise
        return Answer(status, headers, body, error)
    return Answer(status, headers, body)


@frozen
class Given:
    """What upstream sends, what of it must be seen, and whether the connection may go on."""

    raw: bytes
    status: int = 200
    headers: Headers = ()
    body: bytes = b""
    kept: bool = True
    method: str = "GET"


def line(text: bytes) -> Headers:
    """One header line as a tuple of lines."""
    name, _, value = text.partition(b": ")
    return ((name, value),)


LENGTH_2, CHUNKED = line(b"Content-Length: 2"), line(b"transfer-encoding: chunked")
GIVEN = {
    "content-length": Given(OK + b"Content-Length: 2\r\n\r\nok", headers=LENGTH_2, body=b"ok"),
    "empty": Given(OK + b"content-length: 0\r\n\r\n", headers=line(b"content-length: 0")),
    "chunked": Given(
        OK + b"transfer-encoding: chunked\r\n\r\n2;ext=1\r\nok\r\n00A\r\n0123456789\r\n0\r\n\r\n",
        headers=CHUNKED,
        body=b"ok0123456789",
    ),
    "trailers": Given(
        OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n",
        headers=CHUNKED,
        body=b"ok",
    ),
    "head with a length": Given(OK + b"Content-Length: 2\r\n\r\n", headers=LENGTH_2, method="HEAD"),
    "head of a stream": Given(OK + b"transfer-encoding: chunked\r\n\r\n", headers=CHUNKED, method="HEAD"),
    "204": Given(b"HTTP/1.1 204 No Content\r\n\r\n", 204),
    "204 with a length": Given(b"HTTP/1.1 204 N\r\nContent-Length: 2\r\n\r\n", 204, LENGTH_2),
    "304": Given(b"HTTP/1.1 304 Not Modified\r\n\r\n", 304),
    "304 with a length": Given(b"HTTP/1.1 304 N\r\nContent-Length: 2\r\n\r\n", 304, LENGTH_2),
    "100": Given(
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok", headers=LENGTH_2, body=b"ok"
    ),
    "several 1xx": Given(
        b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
        b"HTTP/1.1 102 P\r\n\r\nHTTP/1.1 199 Odd\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok",
        headers=LENGTH_2,
        body=b"ok",
    ),
    "no reason phrase": Given(b"HTTP/1.1 529\r\ncontent-length: 0\r\n\r\n", 529, line(b"content-length: 0")),
    "connection: close": Given(
        OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",
        headers=line(b"Connection: close") + LENGTH_2,
        body=b"ok",
        kept=False,
    ),
    "HTTP/1.0": Given(
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", headers=LENGTH_2, body=b"ok", kept=False
    ),
    "HTTP/1.0 kept": Given(
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        headers=line(b"Connection: keep-alive") + LENGTH_2,
        body=b"ok",
    ),
    "an upgrade offered": Given(
        OK + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok",
        headers=line(b"Connection: Upgrade") + line(b"Upgrade: h2c") + LENGTH_2,
        body=b"ok",
    ),
    "any bytes": Given(
        OK + b"X-Latin: caf\xe9\xff\r\nx-utf: \xc3\xa9\r\nX-EMPTY:\r\nset-cookie: a=1\r\nSet-Cookie: a=2\r\n"
        b"X-Space:  a  b \t \r\nContent-Length: 2\r\n\r\nok",
        headers=(
            *((b"X-Latin", b"caf\xe9\xff"), (b"x-utf", b"\xc3\xa9"), (b"X-EMPTY", b"")),
            *((b"set-cookie", b"a=1"), (b"Set-Cookie", b"a=2"), (b"X-Space", b"a  b"), *LENGTH_2),
        ),
        body=b"ok",
    ),
    "long lines": Given(
        OK + b"x-long: " + b"v" * 100_000 + b"\r\nContent-Length: 2\r\n\r\nok",
        headers=((b"x-long", b"v" * 100_000), *LENGTH_2),
        body=b"ok",
    ),
}
SHORT = {name: given for name, given in GIVEN.items() if len(given.raw) < 1000}
each_given = pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
each_short = pytest.mark.parametrize("given", SHORT.values(), ids=SHORT)


@pytest.mark.spec("transport.status", "transport.lines-back", "transport.framing", "transport.no-body")
@pytest.mark.spec("transport.interim", "transport.trailers", "transport.kept", "transport.http10")
@each_given
@both_loops
async def test_an_answer_is_read_as_it_was_sent(given: Given) -> None:
    async with asking(READ, given.raw, method=given.method) as (connection, _):
        assert await read(connection) == Answer(given.status, given.headers, given.body)
        assert connection.reusable is given.kept


@pytest.mark.spec("transport.split")
@each_short
@both_loops
async def test_an_answer_may_come_byte_by_byte(given: Given) -> None:
    pieces = [given.raw[at : at + 1] for at in range(len(given.raw))]
    async with asking(READ, *pieces, method=given.method) as (connection, _):
        assert await read(connection) == Answer(given.status, given.headers, given.body)


@pytest.mark.spec("transport.split")
@each_short
@both_loops
async def test_an_answer_may_be_cut_anywhere(given: Given) -> None:
    for at in range(1, len(given.raw)):
        connection = Connection(lambda _: None)
        connection.begin(given.method)
        connection.data_received(given.raw[:at])
        if at < len(given.raw):
            connection.data_received(given.raw[at:])
        assert await read(connection) == Answer(given.status, given.headers, given.body)


@pytest.mark.spec("transport.framing", "transport.kept")
@both_loops
async def test_an_end_of_the_connection_ends_a_body_that_has_no_other() -> None:
    for raw in (OK + b"\r\nuntil the end", b"HTTP/1.0 200 OK\r\n\r\nuntil the end"):
        async with asking(READ, raw, FIN) as (connection, wire):
            assert await read(connection) == Answer(200, (), b"until the end")
            assert not connection.reusable
            await wire.left.wait()


TOO_LONG = OK + b"x: " + b"v" * MAX_HEAD
NOT_HTTP = {
    "garbage": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "101": b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\nwhatever",
    "bare 101": b"HTTP/1.1 101 Switching\r\n\r\n",
    "099": b"HTTP/1.1 099 Low\r\ncontent-length: 0\r\n\r\n",
    "1000": b"HTTP/1.1 1000 High\r\n\r\n",
    "length and chunked": OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunked and length": OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "two lengths": OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok",
    "a negative length": OK + b"content-length: -1\r\n\r\n",
    "a folded line": OK + b"x: a\r\n b\r\n\r\n",
    "a control byte": OK + b"x: a\x00b\r\n\r\n",
    "another coding": OK + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "another coding, to the end": OK + b"transfer-encoding: gzip\r\n\r\nok",
    "an interim body": b"HTTP/1.1 104 Odd\r\ncontent-length: 2\r\n\r\nok" + OK + b"\r\n",
    "a head without end": TOO_LONG,
    "interim heads without end": b"HTTP/1.1 102 Processing\r\n\r\n" * (MAX_HEAD // 25),
}


@pytest.mark.spec("transport.not-http", "transport.codings", "transport.head-limit")
@pytest.mark.parametrize("raw", NOT_HTTP.values(), ids=NOT_HTTP)
@both_loops
async def test_what_is_not_http_is_refused_and_the_connection_closed(raw: bytes) -> None:
    async with asking(READ, raw) as (connection, wire):
        with pytest.raises(UpstreamError) as caught:
            await connection.head(None)
        assert caught.value.cause is Cause.PROTOCOL
        assert str(caught.value)
        assert not connection.reusable
        await wire.left.wait()


BROKEN = {
    "content-length": (OK + b"content-length: 9\r\n\r\npart", b"part"),
    "chunked between chunks": (OK + b"transfer-encoding: chunked\r\n\r\n4\r\npart\r\n", b"part"),
    "chunked within a chunk": (OK + b"transfer-encoding: chunked\r\n\r\n9\r\npart", b"part"),
    "chunked without the last end": (OK + b"transfer-encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n", b"part"),
    "nothing of the body": (OK + b"content-length: 9\r\n\r\n", b""),
}


@pytest.mark.spec("transport.mid-body")
@pytest.mark.parametrize("ending", [FIN, RST, CLOSE])
@pytest.mark.parametrize(("raw", "body"), BROKEN.values(), ids=BROKEN)
@both_loops
async def test_an_answer_that_breaks_off_is_broken_after_its_last_byte(
    raw: bytes, body: bytes, ending: Step
) -> None:
    async with asking(READ, raw, ending) as (connection, _):
        answer = await read(connection)
        assert answer.body == body
        assert answer.failure is not None
        assert answer.failure.cause is Cause.BROKEN
        assert not connection.reusable


@pytest.mark.spec("transport.close-delimited")
@both_loops
async def test_a_reset_is_no_end_of_a_body_that_the_connection_ends() -> None:
    async with asking(READ, OK + b"\r\npart", RST) as (connection, _):
        answer = await read(connection)
        assert answer.body == b"part"
        assert answer.failure is not None
        assert answer.failure.cause is Cause.BROKEN


@pytest.mark.spec("transport.close-delimited")
@both_loops
async def test_an_abort_of_ours_is_no_end_of_such_a_body_either() -> None:
    async with asking(READ, OK + b"\r\npart") as (connection, _):
        await connection.head(None)
        assert await connection.chunk(None) == b"part"
        connection.abort()
        with pytest.raises(UpstreamError) as caught:
            await connection.chunk(None)
        assert caught.value.cause is Cause.BROKEN


@pytest.mark.spec("transport.before-head")
@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 2", OK + b"x: y\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
@pytest.mark.parametrize(("ending", "cause"), [(FIN, Cause.CLOSED), (RST, Cause.RESET)])
@both_loops
async def test_an_end_before_the_head_is_told_from_a_reset(part: bytes, ending: Step, cause: Cause) -> None:
    async with asking(READ, part, ending) as (connection, _):
        with pytest.raises(UpstreamError) as caught:
            await connection.head(None)
        assert caught.value.cause is cause


@pytest.mark.spec("transport.mid-garbage")
@pytest.mark.parametrize("garbage", [b"zz\r\n", b"-1\r\n", b"fffffffffffffffff1\r\n", b"\r\n"])
@both_loops
async def test_garbage_in_a_body_breaks_it_after_what_was_good(garbage: bytes) -> None:
    raw = OK + b"transfer-encoding: chunked\r\n\r\n4\r\ngood\r\n" + garbage
    async with asking(READ, raw) as (connection, wire):
        answer = await read(connection)
        assert answer.body == b"good"
        assert answer.failure is not None
        assert answer.failure.cause is Cause.BROKEN
        await wire.left.wait()


@pytest.mark.spec("transport.head-limit")
@both_loops
async def test_trailers_without_end_break_the_body() -> None:
    raw = OK + b"transfer-encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n" + b"x: y\r\n" * (MAX_HEAD // 5)
    async with asking(READ, raw) as (connection, _):
        answer = await read(connection)
        assert answer.body == b"good"
        assert answer.failure is not None
        assert answer.failure.cause is Cause.BROKEN


SURPLUS = [
    b"HTTP/1.1 500 Second\r\ncontent-length: 3\r\n\r\nbad",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 099 Low\r\n\r\n",
    b"garbage",
]


@pytest.mark.spec("transport.surplus")
@pytest.mark.parametrize("surplus", SURPLUS)
@pytest.mark.parametrize(
    "name", ["content-length", "chunked", "204", "head with a length", "connection: close"]
)
@both_loops
async def test_bytes_after_an_answer_change_nothing_of_it_and_end_the_connection(
    name: str, surplus: bytes
) -> None:
    given = GIVEN[name]
    async with asking(READ, given.raw + surplus, method=given.method) as (connection, _):
        # All of it has come before the reader looks.
        await until(lambda: not connection.reusable and (connection._surplus or connection._lost))
        assert await read(connection) == Answer(given.status, given.headers, given.body)
        assert not connection.reusable


@pytest.mark.spec("transport.surplus")
@both_loops
async def test_bytes_on_an_idle_connection_end_it() -> None:
    more = asyncio.Event()
    async with asking(READ, GIVEN["content-length"].raw, more, b"HTTP/1.1 408 Late\r\n\r\n") as (it, wire):
        await read(it)
        assert it.reusable
        more.set()
        await wire.left.wait()
        assert not it.usable


@pytest.mark.spec("transport.surplus")
@both_loops
async def test_bytes_before_any_request_end_the_connection() -> None:
    lost: list[Connection] = []
    async with Peer((b"220 mail.example ESMTP\r\n",)) as peer:
        connection = await connected(peer.port, lost)
        await until(lambda: lost)
        assert not connection.usable


@pytest.mark.spec("transport.before-the-break")
@pytest.mark.parametrize("ending", [FIN, RST])
@both_loops
async def test_what_came_before_the_break_is_delivered_to_a_slow_reader_first(ending: Step) -> None:
    body, arrived = b"x" * (HIGH_WATER // 2), asyncio.Event()
    raw = OK + b"content-length: 999999\r\n\r\n" + body
    async with asking(READ, raw, arrived, ending) as (connection, _):
        # A reset makes the peer's kernel drop what it had not sent yet: that never came.
        await until(lambda: connection._waiting == len(body))
        arrived.set()
        await until(lambda: connection._lost)
        answer = await read(connection)
        assert answer.body == body
        assert answer.failure is not None
        assert answer.failure.cause is Cause.BROKEN


@pytest.mark.spec("transport.before-the-break")
@both_loops
async def test_an_end_behind_more_than_may_wait_is_seen_after_all_of_it() -> None:
    body = bytes(range(256)) * 8192
    async with asking(READ, OK + b"\r\n" + body, FIN) as (connection, _):
        await until(lambda: connection._reading_paused)
        answer = await read(connection)
        assert answer == Answer(200, (), body)


@pytest.mark.spec("transport.last-words")
@pytest.mark.parametrize("rest", [b"", b"pa", b"part"])
@both_loops
async def test_what_came_before_a_write_met_a_reset_is_delivered(rest: bytes) -> None:
    lost: list[Connection] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = await connected(listener.getsockname()[1], lost)
        connection.begin("GET")
        connection.write(ASKED)
        await asyncio.sleep(0.01)
        # Without a turn of the loop: the answer and the reset are there, and the next write comes first.
        peer, _ = listener.accept()
        with peer:
            peer.sendall(OK + b"content-length: 4\r\n\r\n" + rest)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for _ in range(3):
            connection.write(b"x" * 65_536)
        answer = await read(connection)
        assert answer.body == rest
        assert (answer.failure is None) == (rest == b"part")
        await until(lambda: lost)
        assert not connection.usable


@pytest.mark.spec("transport.early-end")
@both_loops
async def test_an_end_is_seen_although_upstream_reads_no_more_of_the_request() -> None:
    never = asyncio.Event()
    async with asking(HEAD, OK + b"\r\nearly", FIN, never) as (connection, _):
        connection.write(b"x" * 16_000_000)
        assert await read(connection) == Answer(200, (), b"early")
        assert not connection.usable
        never.set()


@pytest.mark.spec("transport.bounded-down")
@both_loops
async def test_a_reader_that_stops_stops_upstream() -> None:
    size = 16_000_000
    async with asking(READ, OK + b"content-length: %d\r\n\r\n" % size, b"x" * size) as (connection, wire):
        await connection.head(None)
        assert await settled(lambda: wire.sent) < size
        assert HIGH_WATER < connection._waiting <= HIGH_WATER + ONE_READ
        taken, most = 0, 0
        while piece := await connection.chunk(None):
            taken += len(piece)
            most = max(most, len(piece))
        assert taken == size
        assert most <= HIGH_WATER + ONE_READ
        assert connection.reusable


@pytest.mark.spec("transport.unread")
@pytest.mark.parametrize("size", [2, HIGH_WATER + 2])
@both_loops
async def test_a_connection_whose_answer_was_not_read_to_its_end_serves_no_other_request(size: int) -> None:
    async with asking(READ, OK + b"content-length: %d\r\n\r\n" % size, b"x" * size) as (connection, _):
        await connection.head(None)
        # Reading may be paused by now, and would stay so for the next answer.
        await until(lambda: connection._complete or connection._reading_paused)
        assert not connection.reusable
        while await connection.chunk(None):
            pass
        assert connection.reusable


@pytest.mark.spec("transport.unread")
@both_loops
async def test_a_connection_whose_request_is_not_sent_to_its_end_serves_no_other() -> None:
    never = asyncio.Event()
    async with asking(HEAD, GIVEN["content-length"].raw, never) as (connection, _):
        connection.write(b"x" * 16_000_000)
        assert (await read(connection)).body == b"ok"
        assert not connection.reusable
        never.set()


@pytest.mark.spec("transport.bounded-up")
@both_loops
async def test_an_upstream_that_does_not_read_makes_drain_wait() -> None:
    go_on = asyncio.Event()
    async with asking(HEAD, go_on, b"") as (connection, wire):
        connection.write(b"x" * 16_000_000)
        draining = asyncio.get_running_loop().create_task(connection.drain())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.shield(draining)
        go_on.set()
        assert await draining
        await until(lambda: len(wire.received) == len(ASKED) + 16_000_000)


@pytest.mark.spec("transport.bounded-up")
@both_loops
async def test_drain_says_when_the_connection_is_gone() -> None:
    gone = asyncio.Event()
    async with asking(HEAD, gone, RST) as (connection, _):
        connection.write(b"x" * 16_000_000)
        gone.set()
        assert not await connection.drain()
        connection.write(b"to nobody")


@pytest.mark.spec("transport.silence")
@pytest.mark.parametrize("part", [b"", OK + b"content-length: 9\r\n\r\npart"])
@both_loops
async def test_silence_is_bounded_where_a_limit_is_set(part: bytes) -> None:
    async with asking(READ, part) as (connection, wire):
        with pytest.raises(UpstreamError) as caught:
            await read(connection, 0.1)
        assert caught.value.cause is Cause.SILENT
        assert str(caught.value) == "nothing for 0.1 s"
        await wire.left.wait()


@pytest.mark.spec("transport.silence")
@both_loops
async def test_a_byte_now_and_then_is_no_silence() -> None:
    pauses = [step for byte in b"HTTP/1.1 204 N\r\n\r\n" for step in (0.02, bytes([byte]))]
    async with asking(READ, *pauses) as (connection, _):
        assert (await connection.head(0.15))[0] == 204


@pytest.mark.spec("transport.silence")
@both_loops
async def test_a_request_that_still_goes_up_is_no_silence() -> None:
    async with asking(HEAD, 0.5, b"HTTP/1.1 204 N\r\n\r\n") as (connection, _):
        awaited = asyncio.get_running_loop().create_task(connection.head(0.1))
        for _ in range(8):
            connection.write(b"slowly ")
            await asyncio.sleep(0.06)
        assert (await awaited)[0] == 204


@pytest.mark.spec("transport.stale")
@pytest.mark.parametrize("ending", [FIN, RST])
@both_loops
async def test_an_end_in_place_of_any_answer_on_a_used_connection_is_stale(ending: Step) -> None:
    async with asking(READ, GIVEN["content-length"].raw, READ, ending) as (connection, _):
        await read(connection)
        connection.begin("GET")
        connection.write(ASKED)
        with pytest.raises(UpstreamError) as caught:
            await connection.head(None)
        assert caught.value.cause is Cause.STALE


@pytest.mark.spec("transport.stale")
@both_loops
async def test_an_answer_begun_on_a_used_connection_is_not_stale() -> None:
    async with asking(READ, GIVEN["content-length"].raw, READ, b"HTTP/1.1 2", FIN) as (connection, _):
        await read(connection)
        connection.begin("GET")
        connection.write(ASKED)
        with pytest.raises(UpstreamError) as caught:
            await connection.head(None)
        assert caught.value.cause is Cause.CLOSED
