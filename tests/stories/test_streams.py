"""Server-sent events go through one by one: each is with the client before upstream has the next."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from loom_shell.simulator import Scenario, Simulator
from loom_shell.simulator.steps import Send, Step, Wait
from tests.support.proxy import RunningLoom
from tests.support.wire import Ended, request

pytestmark = pytest.mark.anyio

FRAMES = [
    b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":1}}}\n\n',
    b'event: ping\ndata: {"type":"ping"}\n\n',
    b": a comment\n\n",
    b":\n",
    b'event: something_new\r\ndata: {"type":"something_new"}\r\n\r\n',
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":',
    b'{"type":"text_delta","text":"\xe2\x82',
    b'\xac"}}\n\n',
    b"data: [DONE]\n\n",
    b"data: {broken\n\n",
    b"x",
    b"\n",
]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n%b\r\n"
ASKED = request("POST", "/v1/messages", b'{"messages":[1],"stream":true}')


class Gated:
    """An answer whose next piece is sent only when the test says so."""

    def __init__(self, head: bytes, pieces: list[bytes]) -> None:
        self.allowed = 0
        self._head, self._pieces = head, pieces

    @property
    def scenario(self) -> Scenario:
        return Scenario("gated", lambda _: self._steps())

    def _steps(self) -> Iterator[Step]:
        yield Send(self._head)
        for number, piece in enumerate(self._pieces):
            while self.allowed <= number:
                yield Wait(0.001)
            yield Send(piece)


@pytest.mark.parametrize("framing", ["chunked", "close-delimited", "sized"])
@pytest.mark.spec("relay.unbuffered")
async def test_each_piece_of_a_stream_reaches_the_client_before_upstream_sends_the_next(
    framing: str, sim: Simulator, proxy: RunningLoom
) -> None:
    size = sum(map(len, FRAMES))
    lines = {
        "chunked": b"transfer-encoding: chunked\r\n",
        "close-delimited": b"connection: close\r\n",
        "sized": b"content-length: %d\r\n" % size,
    }
    pieces = [b"%x\r\n%b\r\n" % (len(it), it) for it in FRAMES] if framing == "chunked" else FRAMES
    gated = Gated(HEAD % lines[framing], pieces)
    sim.script(gated.scenario)
    async with await proxy.dial() as caller:
        await caller.send(ASKED)
        # The head is here though no byte of the body was sent.
        assert (await caller.head(b"POST")).status == 200
        body = caller.pieces()
        for frame in FRAMES:
            gated.allowed += 1
            read = b""
            while len(read) < len(frame):
                read += await anext(body)
            assert read == frame


@pytest.mark.spec("relay.unbuffered")
async def test_a_stream_in_chunks_of_one_byte_is_not_gathered(sim: Simulator, proxy: RunningLoom) -> None:
    whole = b"".join(FRAMES)[:120]
    gated = Gated(HEAD % b"transfer-encoding: chunked\r\n", [b"1\r\n%c\r\n" % byte for byte in whole])
    sim.script(gated.scenario)
    async with await proxy.dial() as caller:
        await caller.send(ASKED)
        await caller.head(b"POST")
        body = caller.pieces()
        for byte in whole:
            gated.allowed += 1
            assert await anext(body) == bytes([byte])


@pytest.mark.spec("relay.unbuffered")
async def test_the_parts_of_a_compressed_stream_are_not_held_back(sim: Simulator, proxy: RunningLoom) -> None:
    async with await proxy.dial() as caller:
        answer = await caller.ask(request("GET", "/x?simulate=gzip-stream"))
        assert (answer.ended, answer.values(b"content-encoding")) == (Ended.COMPLETE, [b"gzip"])
    # Split in the middle of the deflate stream: no decoder of ours stands between.
    body = answer.body
    pieces = [body[:5], body[5:40], body[40:]]
    head = HEAD % b"content-encoding: gzip\r\ntransfer-encoding: chunked\r\n"
    gated = Gated(head, [b"%x\r\n%b\r\n" % (len(it), it) for it in pieces])
    sim.script(gated.scenario)
    async with await proxy.dial() as caller:
        await caller.send(ASKED)
        await caller.head(b"POST")
        stream = caller.pieces()
        for piece in pieces:
            gated.allowed += 1
            assert await anext(stream) == piece


@pytest.mark.spec("relay.order")
async def test_fifty_streams_side_by_side_each_keep_their_order(sim: Simulator, proxy: RunningLoom) -> None:
    async def stream() -> list[int]:
        async with await proxy.dial() as caller:
            answer = await caller.ask(request("GET", "/x?simulate=paced&frames=20&rate=200"))
        assert answer.ended is Ended.COMPLETE
        return [int(text) for text in _texts(answer.body)]

    for stamps in await asyncio.gather(*(stream() for _ in range(50))):
        assert len(stamps) == 20
        assert stamps == sorted(stamps)
        assert stamps[-1] < time.monotonic_ns()


def _texts(body: bytes) -> Iterator[bytes]:
    for part in body.split(b'"text_delta","text":"')[1:]:
        yield part[:20]


@pytest.mark.spec("relay.head-first")
async def test_no_status_goes_out_before_upstream_has_one(sim: Simulator, proxy: RunningLoom) -> None:
    release = asyncio.Event()

    def steps(_: object) -> Iterator[Step]:
        while not release.is_set():
            yield Wait(0.001)
        yield Send(b"HTTP/1.1 529 Overloaded\r\ncontent-length: 0\r\n\r\n")

    sim.script(Scenario("late", steps))
    async with await proxy.dial() as caller:
        await caller.send(ASKED)
        await sim.received()
        first = asyncio.ensure_future(caller.reader.read(1))
        done, _ = await asyncio.wait([first], timeout=0.05)
        assert not done
        release.set()
        assert await first == b"H"
        assert await caller._until(b"\r\n\r\n") == b"TTP/1.1 529 \r\ncontent-length: 0\r\n\r\n"
