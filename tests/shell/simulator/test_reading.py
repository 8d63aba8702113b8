import asyncio

import pytest

from loom_shell.simulator.reading import keeps_alive, read_body, read_head
from loom_shell.simulator.received import Received
from loom_shell.simulator.wire import ClientLeft
from tests.shell.simulator.pairs import Pair, pair

pytestmark = pytest.mark.anyio

HEAD = b"POST /v1/messages?a=1 HTTP/1.1\r\nHost:x\r\nX-Odd:  \xe9 \r\nx-ODD: 2\r\n"


async def read(it: Pair, sent: bytes) -> Received:
    it.writer.write(sent)
    request = await read_head(it.wire)
    await read_body(it.wire, request)
    return request


@pytest.mark.spec("simulator.records")
async def test_the_head_is_kept_to_the_byte() -> None:
    async with pair() as it:
        request = await read(it, b"\r\n\r\n" + HEAD + b"\r\n")
    assert (request.method, request.target, request.version) == ("POST", b"/v1/messages?a=1", b"HTTP/1.1")
    assert request.lines == (b"Host:x", b"X-Odd:  \xe9 ", b"x-ODD: 2")
    assert (request.body, request.complete) == (b"", True)


@pytest.mark.spec("simulator.records")
async def test_a_body_with_a_length_is_read_and_not_a_byte_more() -> None:
    async with pair() as it:
        request = await read(it, HEAD + b"Content-Length: 4\r\n\r\n\x00\xff\r\nGET / HTTP/1.1\r\n\r\n")
        assert request.body == b"\x00\xff\r\n"
        assert (await read_head(it.wire)).method == "GET"


@pytest.mark.spec("simulator.records")
async def test_a_chunked_body_is_put_together_with_its_trailers() -> None:
    async with pair() as it:
        sent = (
            HEAD
            + b"Transfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-End: 1\r\n\r\n"
        )
        request = await read(it, sent)
    assert (request.body, request.trailers) == (b"abc0123456789", (b"X-End: 1",))


@pytest.mark.parametrize("framing", [b"Content-Length: 2", b"Transfer-Encoding: chunked"])
async def test_a_client_that_waits_for_100_gets_it_before_its_body_is_read(framing: bytes) -> None:
    async with pair() as it:
        reading = asyncio.ensure_future(read(it, HEAD + framing + b"\r\nExpect: 100-Continue\r\n\r\n"))
        assert await it.reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        it.writer.write(b"ok" if b"Length" in framing else b"2\r\nok\r\n0\r\n\r\n")
        assert (await reading).body == b"ok"


async def test_nobody_is_asked_to_go_on_with_an_empty_body() -> None:
    async with pair() as it:
        await read(it, HEAD + b"Content-Length: 0\r\nExpect: 100-continue\r\n\r\n")
        await it.wire.finish(discard=False)
        assert await it.reader.read() == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        HEAD + b"Content-Length: many\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
    ],
    ids=["no version", "other version", "odd length", "odd chunk size", "chunk too long"],
)
async def test_a_request_that_makes_no_sense_ends_the_reading(sent: bytes) -> None:
    async with pair() as it:
        with pytest.raises(ClientLeft):
            await read(it, sent)


async def test_what_came_of_a_broken_upload_is_kept() -> None:
    async with pair() as it:
        it.writer.write(HEAD + b"Content-Length: 10\r\n\r\nhalf")
        it.writer.close()
        request = await read_head(it.wire)
        with pytest.raises(ClientLeft):
            await read_body(it.wire, request)
    assert (request.body, request.complete) == (b"half", False)


@pytest.mark.parametrize(
    ("version", "line", "keeps"),
    [
        (b"HTTP/1.1", b"Accept: */*", True),
        (b"HTTP/1.1", b"Connection: Close", False),
        (b"HTTP/1.1", b"connection: x, close", False),
        (b"HTTP/1.0", b"Accept: */*", False),
        (b"HTTP/1.0", b"Connection: Keep-Alive", True),
    ],
)
async def test_a_connection_is_kept_as_version_and_options_say(
    version: bytes, line: bytes, *, keeps: bool
) -> None:
    assert keeps_alive(Received(1, "GET", b"/", version, (line,))) is keeps
