"""Retries as clients and upstream see them: only what a client cannot see is tried again."""

import socket
import time

import pytest

from loom_shell.simulator import Scenario, Simulator
from loom_shell.simulator.steps import Finish, Send
from tests.support.proxy import RunningLoom, loom
from tests.support.wire import Answer, Ended, request, until

pytestmark = pytest.mark.anyio

MESSAGE = request("POST", "/v1/messages", b'{"messages":[1]}')


async def asked(proxy: RunningLoom, whole: bytes = MESSAGE) -> Answer:
    async with await proxy.dial() as caller:
        return await caller.ask(whole)


def free_port() -> int:
    """A port nobody listens on; bound once, it is not given to another socket soon."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.spec("relay.retried")
async def test_an_upstream_that_refuses_and_then_listens_answers_the_client_that_waited() -> None:
    port = free_port()
    patient = {"retry_base_seconds": "0.2", "retry_max_attempts": "20", "retry_cap_seconds": "0.2"}
    async with loom(f"http://127.0.0.1:{port}", **patient) as proxy, await proxy.dial() as caller:
        started = time.monotonic()
        await caller.send(MESSAGE)
        # Two attempts fail at the least: the waits before them are 0.1 s and more.
        await until(lambda: time.monotonic() - started > 0.35)
        async with Simulator(port=port) as sim:
            answer = await caller.answer(b"POST")
            assert (answer.status, len(sim.requests)) == (200, 1)
        (line,) = await proxy.logged()
        assert line["attempts"] >= 3
        assert proxy.notes == proxy.faults == []


@pytest.mark.spec("relay.refused")
async def test_an_upstream_that_refuses_to_the_end_is_a_502_that_names_the_cause() -> None:
    async with loom(f"http://127.0.0.1:{free_port()}") as proxy:
        answer = await asked(proxy)
        (line,) = await proxy.logged()
    assert answer.status == 502
    assert answer.values(b"content-type") == [b"application/json"]
    assert b"connection refused (3 attempts)" in answer.body
    assert b"127.0.0.1" not in answer.body
    assert (line["attempts"], line["outcome"], line["status"]) == (3, "no answer", 502)


@pytest.mark.parametrize("name", ["stale-keepalive", "stale-keepalive-rst"])
@pytest.mark.parametrize(
    "whole",
    [MESSAGE, request("GET", "/v1/models"), request("DELETE", "/echo"), request("POST", "/echo", b"")],
    ids=["message", "get", "delete", "empty post"],
)
@pytest.mark.spec("relay.stale")
async def test_a_stale_connection_to_upstream_is_hidden_from_the_client(
    name: str, whole: bytes, sim: Simulator, proxy: RunningLoom
) -> None:
    sim.script(name)
    first = await asked(proxy)
    second = await asked(proxy, whole)
    assert (first.status, second.status) == (200, 200)
    assert [received.scenario for received in sim.requests] == [name, "stale", "ok"]
    assert [line["attempts"] for line in await proxy.logged(2)] == [1, 2]


@pytest.mark.parametrize("name", ["stale-keepalive", "stale-keepalive-rst"])
@pytest.mark.spec("relay.stale")
async def test_a_streamed_upload_never_meets_a_stale_connection(
    name: str, sim: Simulator, proxy: RunningLoom
) -> None:
    sim.script(name)
    await asked(proxy)
    answer = await asked(proxy, request("PUT", "/echo", b"sent once only"))
    assert (answer.status, answer.body) == (200, b"sent once only")


@pytest.mark.parametrize("name", ["fin-before-head", "rst-before-head"])
@pytest.mark.spec("relay.retried")
async def test_an_upstream_that_ends_before_any_head_is_tried_again(
    name: str, sim: Simulator, proxy: RunningLoom
) -> None:
    sim.script(name, name, "ok")
    assert (await asked(proxy)).status == 200
    assert [received.complete for received in sim.requests] == [True, True, True]
    assert len({(received.target, received.body, received.lines) for received in sim.requests}) == 1
    sim.script(name, name, name, "ok")
    answer = await asked(proxy)
    assert (answer.status, b"api_error" in answer.body) == (502, True)
    # Three, and no more: what was scripted for a fourth is still there for the next request.
    assert len(sim.requests) == 6
    assert (await asked(proxy)).status == 200


@pytest.mark.parametrize("name", ["fin-mid-head", "garbage-head"])
@pytest.mark.spec("relay.no-head")
async def test_what_is_no_http_is_a_502_at_once_or_after_retries_and_never_a_hang(
    name: str, sim: Simulator, proxy: RunningLoom
) -> None:
    answer = await asked(proxy, request("POST", f"/v1/messages?simulate={name}", b"{}"))
    assert answer.status == 502
    assert 1 <= len(sim.requests) <= 3


@pytest.mark.parametrize("name", ["fin-mid-stream", "rst-mid-stream", "fin-mid-json", "rst-mid-json"])
@pytest.mark.spec("relay.never-twice")
async def test_nothing_is_tried_again_once_a_head_came(name: str, sim: Simulator, proxy: RunningLoom) -> None:
    answer = await asked(proxy, request("POST", f"/v1/messages?simulate={name}", b"{}"))
    assert (answer.status, answer.ended) == (200, Ended.BROKEN)
    (line,) = await proxy.logged()
    assert (line["attempts"], line["outcome"]) == (1, "upstream broke")
    assert len(sim.requests) == 1


@pytest.mark.spec("relay.never-twice")
async def test_an_upload_that_was_begun_is_not_sent_twice(sim: Simulator, proxy: RunningLoom) -> None:
    answer = await asked(proxy, request("PUT", "/echo?simulate=rst-before-head", b"x" * 100_000))
    assert answer.status == 502
    assert len(sim.requests) == 1


@pytest.mark.spec("relay.statuses")
async def test_no_status_is_tried_again_unless_it_is_configured(sim: Simulator, proxy: RunningLoom) -> None:
    for status in (429, 500, 529):
        sim.script(f"error-{status}")
        assert (await asked(proxy)).status == status
    assert len(sim.requests) == 3


@pytest.mark.spec("relay.statuses")
async def test_a_configured_status_is_tried_again_and_retry_after_is_waited_for(sim: Simulator) -> None:
    def overloaded(after: bytes) -> Scenario:
        head = b"HTTP/1.1 529 Overloaded\r\nretry-after: %b\r\ncontent-length: 4\r\n\r\nbusy" % after
        return Scenario("overloaded", lambda _: [Send(head), Finish()])

    flags = {"retry_statuses": "529", "retry_cap_seconds": "2"}
    async with loom(sim.origin, **flags) as proxy:
        sim.script(overloaded(b"1"), "ok")
        started = time.monotonic()
        assert (await asked(proxy)).status == 200
        assert 1.0 <= time.monotonic() - started < 3.0
        # The last answer is the client's, and one that asks for more than the cap is so at once.
        sim.script(overloaded(b"0"), overloaded(b"0"), overloaded(b"0"))
        last = await asked(proxy)
        assert (last.status, last.body, last.values(b"retry-after")) == (529, b"busy", [b"0"])
        sim.script(overloaded(b"60"))
        assert (await asked(proxy)).values(b"retry-after") == [b"60"]
        # Another status is not retried.
        sim.script("error-429")
        assert (await asked(proxy)).status == 429
        lines = await proxy.logged(4)
        assert [(line["status"], line["attempts"]) for line in lines] == [
            (200, 2),
            (529, 3),
            (529, 1),
            (429, 1),
        ]
        await proxy.idle()
        assert proxy.notes == proxy.faults == []


@pytest.mark.spec("relay.timeouts")
async def test_an_upstream_silent_for_longer_than_configured_is_a_504_or_a_broken_stream(
    sim: Simulator,
) -> None:
    async with loom(sim.origin, silence_timeout_seconds="0.1") as proxy:
        before = await asked(proxy, request("POST", "/v1/messages?simulate=stall-before-head", b"{}"))
        assert (before.status, b'"type":"timeout_error"' in before.body) == (504, True)
        during = await asked(proxy, request("POST", "/v1/messages?simulate=stall-mid-stream", b"{}"))
        assert (during.status, during.ended) == (200, Ended.BROKEN)
        assert all(received.aborted_at for received in [await sim.aborted(0), await sim.aborted(1)])
        assert proxy.upstream_connections == 0
        assert proxy.notes == proxy.faults == []
