"""Every scenario of the simulator, read directly and through the Loom: the bytes are the same."""

import re

import pytest
from attrs import evolve, frozen

from loom_shell.simulator import SCENARIOS, Ending, Received, Scenario, Simulator, Upload
from tests.support.proxy import RunningLoom
from tests.support.wire import Answer, Ended, Line, dial, end_to_end, request

OPTIONS = {
    "huge-json": "&size=400000",
    "huge-frame": "&size=400000",
    "paced": "&frames=5&rate=500",
    "stall-before-head": "&seconds=0.05",
    "stall-mid-stream": "&seconds=0.05",
}

LINES = (
    "x-api-key: sk-ant-dummy",
    "anthropic-version: 2023-06-01",
    "anthropic-beta: one-2025-01-01,two-2025-01-01",
    "Anthropic-Beta: three-2025-01-01",
    "User-Agent: claude-cli/2.1.328 (external, cli)",
    "X-Stainless-Retry-Count: 0",
    "accept-encoding: gzip, br, zstd",
    "x-empty:",
    "x-latin: caf\xe9",
    "x-repeated: a",
    "X-Repeated: b",
    "x-repeated: a",
    "Connection: keep-alive, X-Of-This-Hop",
    "x-of-this-hop: 1",
    "te: trailers",
)

MESSAGE = (
    b'{"model":"claude-opus-4-5","messages":[{"role":"user","content":"hi \\ud800 \xc3\xa9"}],'
    b'"max_tokens":9%s}'
)


@frozen
class Ask:
    """One kind of request; `framed` says whether a body with a length comes along."""

    method: str
    path: str
    body: bytes | None = None

    def bytes_for(self, scenario: Scenario) -> bytes:
        options = OPTIONS.get(scenario.name, "")
        target = f"{self.path}?simulate={scenario.name}{options}&b=2&a=%2F%20x&b=1&&c"
        return request(self.method, target, self.body, LINES)


ASKS = {
    "streamed message": Ask("POST", "/v1/messages", MESSAGE % b',"stream":true'),
    "plain message": Ask("POST", "/v1/messages", MESSAGE % b""),
    "upload": Ask("PUT", "/echo/any%2Fpath//x", bytes(range(256)) * 300),
    "no body": Ask("GET", "/v1/models"),
    "head alone": Ask("HEAD", "/api/hello"),
}


async def told(sim: Simulator, port: int, scenario: Scenario, asked: bytes) -> tuple[Answer, Received]:
    """What the client read, and the last request upstream received, of a simulator as new."""
    sim.forget()
    if scenario.upload is Upload.GATED:
        sim.gate.set()
    async with await dial(port) as caller:
        answer = await caller.ask(asked)
    return answer, await sim.done()


def seen(received: Received) -> tuple[str, bytes, tuple[Line, ...], bytes, bool]:
    """A request as upstream saw it, less what belongs to the hop."""
    body = b"" if received.scenario.startswith("early") else received.body
    return received.method, received.target, end_to_end(received.headers, b"host"), body, received.complete


def comparable(answer: Answer) -> Answer:
    """Less what belongs to the hop: its own fields, 1xx, trailers, the version; and times of sending."""
    body = re.sub(rb"(?<!\d)\d{20}(?!\d)", b"(time)", answer.body)
    return evolve(answer, version=b"", lines=answer.end_to_end, body=body, interim=(), trailers=())


def expected_end(scenario: Scenario, ask: Ask, direct: Answer) -> Ended:
    if scenario.ending is Ending.NO_HEAD or scenario.name == "stall-before-head":
        return Ended.NO_HEAD
    if scenario.ending is Ending.CLEAN or ask.method == "HEAD" or direct.status == 404:
        return Ended.COMPLETE
    return Ended.BROKEN


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ASKS)
@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.spec(
    "relay.same-answer", "relay.same-request", "relay.same-ending", "relay.no-head", "relay.stale"
)
async def test_the_client_reads_what_upstream_said_and_upstream_what_the_client_sent(
    name: str, kind: str, sim: Simulator, proxy: RunningLoom
) -> None:
    scenario, ask = SCENARIOS[name], ASKS[kind]
    asked = ask.bytes_for(scenario)
    direct, sent_directly = await told(sim, sim.port, scenario, asked)
    relayed, sent_on = await told(sim, proxy.port, scenario, asked)
    assert direct.ended is expected_end(scenario, ask, direct)
    if direct.ended is Ended.NO_HEAD:
        assert relayed.status == 502
        assert relayed.ended is Ended.COMPLETE
        assert (
            ask.method == "HEAD" or b'{"type":"error","error":{"type":"api_error","message":' in relayed.body
        )
    else:
        assert comparable(relayed) == comparable(direct)
    assert seen(sent_on) == seen(sent_directly)
    if name.startswith("stale"):
        # The next request meets the spoilt connection, and its client is none the wiser.
        async with await proxy.dial() as caller:
            assert (await caller.ask(request())).status == 200
        assert [it.scenario for it in sim.requests] == [name, "stale", "ok"]
