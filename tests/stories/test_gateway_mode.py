"""Who pays: the client's own credential untouched, or the Loom's key in place of a client token."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from loom_shell.simulator import Simulator
from tests.support.proxy import RunningLoom, loom, tokens
from tests.support.wire import Answer, request

pytestmark = pytest.mark.anyio

KEY = "sk-ant-api03-CANARY-of-the-loom"
TOKEN = "loom_CANARY-token-of-anna"
OTHER = "loom_CANARY-token-of-ben"
OWN = "sk-ant-oat01-CANARY-of-the-client"

BODY = b'{"messages":[1]}'


@pytest.fixture(scope="module")
async def shared_gateway(
    shared_sim: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningLoom]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    file = tokens(folder, anna=TOKEN, ben=OTHER)
    async with loom(shared_sim.origin, client_tokens_file=file, LOOM_UPSTREAM_API_KEY=KEY) as running:
        yield running


@pytest.fixture
async def gateway(sim: Simulator, shared_gateway: RunningLoom) -> AsyncIterator[RunningLoom]:
    shared_gateway.forget()
    yield shared_gateway
    await shared_gateway.idle()
    assert shared_gateway.notes == shared_gateway.faults == []
    assert b"CANARY" not in shared_gateway.raw_log


async def asked(proxy: RunningLoom, *lines: str, path: str = "/v1/messages") -> Answer:
    async with await proxy.dial() as caller:
        return await caller.ask(request("POST", path, BODY, lines))


@pytest.mark.parametrize(
    "lines",
    [
        (f"x-api-key: {TOKEN}",),
        (f"X-API-Key:   {OTHER}  ",),
        (f"Authorization: Bearer {TOKEN}",),
        (f"authorization: bearer {OTHER}",),
        (f"Authorization: Bearer {TOKEN}", f"x-api-key: {TOKEN}"),
        (f"Authorization: Bearer {TOKEN}", "Connection: authorization, x-api-key"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/echo"])
@pytest.mark.spec("relay.one-credential")
async def test_a_client_token_is_replaced_by_the_looms_key(
    lines: tuple[str, ...], path: str, sim: Simulator, gateway: RunningLoom
) -> None:
    answer = await asked(gateway, "anthropic-version: 2023-06-01", *lines, path=path)
    assert answer.status == 200
    received = sim.requests[0]
    assert received.values(b"x-api-key") == [KEY.encode()]
    assert received.values(b"authorization") == []
    everything = b"\n".join((received.target, *received.lines, received.body))
    assert b"loom_" not in everything
    assert received.values(b"anthropic-version") == [b"2023-06-01"]


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (f"x-api-key: {OWN}",),
        (f"Authorization: Bearer {OWN}",),
        (f"Authorization: Basic {TOKEN}",),
        (f"x-api-key: {TOKEN}x",),
        (f"x-api-key: {TOKEN[:-1]}",),
        (f"x-api-key: {KEY}",),
        ("x-api-key:",),
        (f"x-api-key: {TOKEN}", f"x-api-key: {OWN}"),
        (f"x-api-key: {TOKEN}", f"Authorization: Bearer {OWN}"),
        ("x-api-key: \xff\xfe",),
    ],
)
@pytest.mark.spec("relay.unauthorised")
async def test_whoever_has_no_token_is_refused_and_nothing_of_it_goes_upstream(
    lines: tuple[str, ...], sim: Simulator, gateway: RunningLoom
) -> None:
    answer = await asked(gateway, *lines)
    assert answer.status == 401
    assert msgspec.json.decode(answer.body)["error"]["type"] == "authentication_error"
    assert b"CANARY" not in answer.body
    assert sim.requests == []


@pytest.mark.spec("relay.one-credential")
async def test_the_key_goes_up_with_every_attempt(sim: Simulator, gateway: RunningLoom) -> None:
    sim.script("rst-before-head", "rst-before-head")
    assert (await asked(gateway, f"x-api-key: {TOKEN}")).status == 200
    assert [received.values(b"x-api-key") for received in sim.requests] == [[KEY.encode()]] * 3


@pytest.mark.spec("relay.unauthorised")
async def test_the_looms_own_pages_ask_for_no_token(gateway: RunningLoom) -> None:
    async with await gateway.dial() as caller:
        assert (await caller.ask(request("GET", "/loom/healthz"))).status == 200


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (f"x-api-key: {OWN}",),
        (f"Authorization: Bearer {OWN}",),
        (f"X-Api-Key: {OWN}", f"authorization: Bearer {OWN}", "X-Api-Key: second"),
        (f"Proxy-Authorization: Basic {OWN}",),
        (f"Cookie: session={OWN}",),
    ],
)
@pytest.mark.spec("relay.own-credential")
async def test_without_a_gateway_what_the_client_sends_goes_up_and_nothing_is_added(
    lines: tuple[str, ...], sim: Simulator, proxy: RunningLoom
) -> None:
    await asked(proxy, *lines)
    # Proxy-Authorization is meant for this hop (RFC 9110 section 11.7.2).
    kept = [line.encode() for line in lines if not line.startswith("Proxy-")]
    assert sim.requests[0].lines == (
        b"Host: 127.0.0.1:%d" % sim.port,
        *kept,
        b"Content-Length: %d" % len(BODY),
    )
    await proxy.idle()
    assert b"CANARY" not in proxy.raw_log
