"""A client that goes away: upstream hears of it at once, and nothing of its exchange stays behind."""

import asyncio
import gc
import random
import time
from contextlib import suppress

import pytest

from loom_shell.simulator import Simulator
from tests.support.proxy import RunningLoom, loom
from tests.support.wire import Caller, HangsError, request, until

pytestmark = pytest.mark.anyio

PROMPTLY = 0.1
"""Seconds the issue allows between a client's leaving and upstream's connection being closed."""

STREAM = b'{"messages":[1],"stream":true}'


async def leaves(caller: Caller, how: str) -> float:
    """Go away; when that was (`time.monotonic()`)."""
    left = time.monotonic()
    if how == "reset":
        caller.reset()
    else:
        caller.writer.transport.abort()
    return left


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/other"])
@pytest.mark.spec("relay.cancel")
async def test_a_client_that_leaves_before_the_head_cancels_upstream_at_once(
    path: str, how: str, sim: Simulator, proxy: RunningLoom
) -> None:
    async with await proxy.dial() as caller:
        await caller.send(request("POST", path + "?simulate=stall-before-head", STREAM))
        await sim.received()
        left = await leaves(caller, how)
        aborted = (await sim.aborted()).aborted_at
    assert aborted is not None
    assert aborted - left < PROMPTLY
    (line,) = await proxy.logged()
    assert (line["outcome"], line["status"], line["attempts"]) == ("client gone", None, 1)


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.spec("relay.cancel")
async def test_a_client_that_leaves_in_the_middle_of_a_stream_cancels_upstream_at_once(
    how: str, sim: Simulator, proxy: RunningLoom
) -> None:
    async with await proxy.dial() as caller:
        await caller.send(request("POST", "/v1/messages?simulate=stall-mid-stream", STREAM))
        assert (await caller.head(b"POST")).status == 200
        await anext(caller.pieces())
        left = await leaves(caller, how)
        aborted = (await sim.aborted()).aborted_at
    assert aborted is not None
    assert aborted - left < PROMPTLY
    (line,) = await proxy.logged()
    assert (line["outcome"], line["status"]) == ("client gone", 200)


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.spec("relay.cancel")
async def test_a_client_that_leaves_while_uploading_cancels_upstream_at_once(
    how: str, sim: Simulator, proxy: RunningLoom
) -> None:
    async with await proxy.dial() as caller:
        await caller.send(
            b"PUT /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 10_000
        )
        request_up = await sim.arrived()
        left = await leaves(caller, how)
        aborted = (await sim.aborted()).aborted_at
    assert aborted is not None
    assert aborted - left < PROMPTLY
    assert not request_up.complete


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.spec("relay.cut-upload")
async def test_a_message_that_was_not_sent_whole_never_goes_upstream(
    how: str, sim: Simulator, proxy: RunningLoom
) -> None:
    async with await proxy.dial() as caller:
        await caller.send(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + STREAM)
        await leaves(caller, how)
        (line,) = await proxy.logged()
    assert (line["outcome"], line["attempts"], line["bytes_up"]) == ("client gone", 0, len(STREAM))
    assert sim.requests == []


@pytest.mark.spec("relay.cancel-unread")
async def test_a_client_that_resets_while_upstream_does_not_read_its_upload_is_noticed(
    sim: Simulator, proxy: RunningLoom
) -> None:
    """Nothing is read from such a client, so its reset has to be looked for."""
    async with await proxy.dial() as caller:
        head = b"PUT /v1/files?simulate=slow-reader HTTP/1.1\r\nHost: x\r\nContent-Length: 90000000\r\n\r\n"
        await caller.send(head)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.4):
                while True:
                    await caller.send(b"x" * 65_536)
        assert proxy.running == 1
        left = await leaves(caller, "reset")
        await proxy.idle()
    assert time.monotonic() - left < PROMPTLY
    assert proxy.upstream_connections == 0
    (line,) = await proxy.logged()
    assert line["outcome"] == "client gone"


@pytest.mark.spec("relay.cancel-unread")
async def test_a_client_that_resets_behind_pipelined_requests_is_noticed(
    sim: Simulator, proxy: RunningLoom
) -> None:
    async with await proxy.dial() as caller:
        await caller.send(request("GET", "/x?simulate=stall-before-head") + request())
        await sim.arrived()
        left = await leaves(caller, "reset")
        aborted = (await sim.aborted()).aborted_at
    assert aborted is not None
    assert aborted - left < PROMPTLY
    assert len(sim.requests) == 1


@pytest.mark.spec("relay.cancel")
async def test_a_client_that_leaves_between_two_attempts_ends_the_exchange(sim: Simulator) -> None:
    async with loom(sim.origin, retry_base_seconds="60", retry_cap_seconds="60") as slow:
        sim.script("rst-before-head")
        async with await slow.dial() as caller:
            await caller.send(request("GET", "/x"))
            await sim.done()
            assert slow.running == 1
            await leaves(caller, "reset")
            await slow.idle()
        (line,) = await slow.logged()
        assert (line["outcome"], line["attempts"]) == ("client gone", 1)
    assert len(sim.requests) == 1


@pytest.mark.spec("relay.sockets-let-go")
async def test_the_socket_of_a_client_that_closed_is_let_go_at_once(
    sim: Simulator, proxy: RunningLoom
) -> None:
    for _ in range(20):
        async with await proxy.dial() as caller:
            await caller.ask(request())
    await until(lambda: not left_over())


def left_over() -> list[str]:
    """The tasks that serve a client or an exchange."""
    names = ("Relay._client_side", "_ClientConnection", "TCPServer", "_handle", "_upload", "_server_callback")
    return [text for task in asyncio.all_tasks() if any(name in (text := repr(task)) for name in names)]


async def cancelled_at_random(proxy: RunningLoom, chance: random.Random) -> None:
    name = chance.choice(
        ["ok", "stall-mid-stream", "stall-before-head", "one-byte-chunks", "paced", "huge-json"]
    )
    target = f"/v1/messages?simulate={name}&seconds=5&rate=400&frames=50&size=2000000"
    whole = (
        request("POST", target, STREAM) if chance.random() < 0.6 else request("PUT", target, b"u" * 300_000)
    )
    async with await proxy.dial() as caller:
        wanted = chance.randrange(len(whole)) if chance.random() < 0.3 else len(whole)
        caller.writer.write(whole[:wanted])
        try:
            async with asyncio.timeout(chance.random() * 0.04):
                async for _ in _answers(caller):
                    pass
        except (TimeoutError, HangsError):
            pass
        await leaves(caller, chance.choice(["reset", "close"]))


async def _answers(caller: Caller):  # type: ignore[no-untyped-def]  # noqa: ANN202
    await caller.head(b"POST")
    async for piece in caller.pieces():
        yield piece


@pytest.mark.spec("relay.nothing-left")
async def test_two_hundred_random_cancels_leave_nothing_behind(sim: Simulator) -> None:
    chance = random.Random(20260101)
    async with loom(sim.origin) as proxy:
        async with await proxy.dial() as caller:
            await caller.ask(request())
        for _ in range(10):
            await asyncio.gather(*(cancelled_at_random(proxy, chance) for _ in range(20)))
        await proxy.idle()
        # Upstream sees every connection end but those that wait for the next request.
        await until(lambda: not any(received.open for received in sim.requests) and not left_over())
        transport = proxy.app._loom._upstream._transport  # type: ignore[union-attr]
        idle = sum(map(len, transport._idle.values()))  # type: ignore[attr-defined]
        assert proxy.upstream_connections == idle
        # And the next client is served.
        async with await proxy.dial() as caller:
            assert (await caller.ask(request("POST", "/echo", b"next"))).body == b"next"
        gc.collect()
        assert proxy.faults == proxy.notes == []
        assert {line["outcome"] for line in proxy.exchanges} <= {"complete", "client gone"}
