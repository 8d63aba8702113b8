"""What the log says of an exchange, and what it never says."""

from typing import Any

import pytest

from loom_shell.simulator import SCENARIOS, Simulator, Upload
from tests.support.proxy import RunningLoom, loom
from tests.support.wire import chunked, request

pytestmark = pytest.mark.anyio

CANARY = "CANARY-9f2c"


async def logged(proxy: RunningLoom, whole: bytes) -> dict[str, Any]:
    async with await proxy.dial() as caller:
        answer = await caller.ask(whole)
        (line,) = await proxy.logged()
    assert line["status"] == answer.status
    assert line["bytes_down"] == len(answer.body)
    return line


@pytest.mark.spec("relay.log")
async def test_an_exchange_is_one_line_with_its_figures(sim: Simulator, proxy: RunningLoom) -> None:
    body = b'{"model":"claude-opus-4-5","messages":[{"role":"user","content":"hi"}],"stream":true}'
    line = await logged(proxy, request("POST", "/v1/messages?beta=true&key=secret", body))
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/messages", 200)
    assert (line["attempts"], line["bytes_up"], line["outcome"]) == (1, len(body), "complete")
    assert 0 < line["ms_to_head"] <= line["ms"] < 5000
    assert (line["model"], line["stop_reason"]) == ("claude-opus-4-5", "end_turn")
    assert line["tokens"]["output"] > 0
    assert line["level"] == "info"
    assert len(line["id"].split("-")) == 2


@pytest.mark.parametrize(
    ("whole", "bytes_up"),
    [
        (request("PUT", "/echo", b"x" * 300_000), 300_000),
        (b"PUT /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"ab", b"c"), 3),
        (request("GET", "/echo"), 0),
    ],
)
@pytest.mark.spec("relay.log")
async def test_bytes_are_those_of_the_bodies(whole: bytes, bytes_up: int, proxy: RunningLoom) -> None:
    assert (await logged(proxy, whole))["bytes_up"] == bytes_up


@pytest.mark.parametrize(
    ("target", "status", "outcome", "level"),
    [
        ("/v1/messages?simulate=error-529", 529, "complete", "warning"),
        ("/v1/messages?simulate=error-401", 401, "complete", "info"),
        ("/v1/messages?simulate=fin-mid-stream", 200, "upstream broke", "warning"),
        ("/v1/messages?simulate=garbage-head", 502, "no answer", "warning"),
    ],
)
@pytest.mark.spec("relay.log")
async def test_the_line_says_how_an_exchange_ended(
    target: str, status: int, outcome: str, level: str, proxy: RunningLoom
) -> None:
    line = await logged(proxy, request("POST", target, b"{}"))
    assert (line["status"], line["outcome"], line["level"]) == (status, outcome, level)


@pytest.mark.spec("relay.log")
async def test_ids_differ_and_requests_refused_by_us_have_a_line_too(proxy: RunningLoom) -> None:
    two = b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    async with await proxy.dial() as caller:
        await caller.ask(request())
        await caller.ask(request())
        await caller.ask(b"POST /echo HTTP/1.1\r\nHost: x\r\n" + two)
    lines = await proxy.logged(3)
    assert len({line["id"] for line in lines}) == 3
    assert (lines[2]["status"], lines[2]["outcome"], lines[2]["attempts"]) == (400, "refused", 0)


@pytest.mark.parametrize("name", [name for name, it in SCENARIOS.items() if it.upload is not Upload.GATED])
@pytest.mark.spec("relay.log-discreet")
async def test_no_header_value_query_or_body_ever_reaches_the_log(
    name: str, sim: Simulator, proxy: RunningLoom
) -> None:
    lines = (
        f"x-api-key: {CANARY}",
        f"Authorization: Bearer {CANARY}",
        f"Cookie: {CANARY}",
        f"X-{CANARY}: 1",
        f"Content-Type: {CANARY}",
    )
    body = b'{"messages":[{"role":"user","content":"%b"}],"stream":true}' % CANARY.encode()
    options = f"size=100000&frames=2&seconds=0.02&{CANARY}={CANARY}"
    async with await proxy.dial() as caller:
        for path in ("/v1/messages", "/echo"):
            await caller.ask(request("POST", f"{path}?simulate={name}&{options}", body, lines))
    async with await proxy.dial() as caller:
        await caller.ask(request("POST", f"/echo?{CANARY}", body, (*lines, "Transfer-Encoding: chunked")))
    # One line for each that reached us; a broken answer closed the connection before the second.
    await proxy.idle()
    assert len(proxy.exchanges) >= 2
    assert CANARY.encode() not in proxy.raw_log


@pytest.mark.spec("relay.log-discreet")
async def test_an_upstream_cannot_put_its_words_into_the_log(sim: Simulator) -> None:
    from loom_shell.simulator import Scenario  # noqa: PLC0415
    from loom_shell.simulator.steps import Finish, Send  # noqa: PLC0415

    async with loom(sim.origin) as proxy:
        for head in (
            b"%b\r\n\r\n",
            b"HTTP/1.1 200 %b\r\nx-%b: %b\r\ncontent-length: 99999\r\n\r\n%b",
            b"HTTP/1.1 200 OK\r\n%b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: %b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%b\r\n",
        ):
            sim.script(
                *[
                    Scenario(
                        "odd", lambda _, head=head: [Send(head.replace(b"%b", CANARY.encode())), Finish()]
                    )
                ]
                * 3
            )
            async with await proxy.dial() as caller:
                await caller.ask(request())
            sim.forget()
        await proxy.idle()
        assert len(proxy.exchanges) == 5
        assert CANARY.encode() not in proxy.raw_log
