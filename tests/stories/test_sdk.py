"""The official Python SDK of the API, pointed at the Loom: it notices nothing."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx2
import pytest

from loom_shell.simulator import Simulator
from tests.support.proxy import RunningLoom

pytestmark = pytest.mark.anyio

ASK: dict[str, Any] = {
    "model": "claude-opus-4-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Say hello – in one word 🧵."}],
}
TOOLS: list[Any] = [
    {
        "name": "look_up",
        "description": "Look a word up.",
        "input_schema": {"type": "object", "properties": {"word": {"type": "string"}}},
    },
    {"name": "count", "description": "Count.", "input_schema": {"type": "object", "properties": {}}},
]


def simulate(name: str) -> dict[str, str]:
    return {"x-simulate": name}


@pytest.fixture(scope="module")
async def sdks(
    shared_sim: Simulator, shared_proxy: RunningLoom
) -> AsyncIterator[tuple[anthropic.AsyncAnthropic, anthropic.AsyncAnthropic]]:
    async with (
        anthropic.AsyncAnthropic(base_url=shared_sim.origin, api_key="sk-ant-dummy", max_retries=0) as direct,
        anthropic.AsyncAnthropic(
            base_url=shared_proxy.origin, api_key="sk-ant-dummy", max_retries=0
        ) as relayed,
    ):
        yield direct, relayed


@pytest.fixture
def client(
    proxy: RunningLoom, sdks: tuple[anthropic.AsyncAnthropic, anthropic.AsyncAnthropic]
) -> anthropic.AsyncAnthropic:
    return sdks[1]


@pytest.fixture
def direct(sdks: tuple[anthropic.AsyncAnthropic, anthropic.AsyncAnthropic]) -> anthropic.AsyncAnthropic:
    """The same client without a Loom between."""
    return sdks[0]


@pytest.mark.spec("relay.sdk")
async def test_a_message_is_the_one_the_api_sent(
    sim: Simulator, client: anthropic.AsyncAnthropic, direct: anthropic.AsyncAnthropic
) -> None:
    said = await direct.messages.create(**ASK)
    sim.forget()
    relayed = await client.messages.create(**ASK)
    assert relayed.to_dict() == said.to_dict()
    assert relayed._request_id == said._request_id
    assert relayed._request_id
    assert relayed.usage.output_tokens > 0


@pytest.mark.spec("relay.sdk")
async def test_a_stream_gathers_to_the_message_the_api_sent(
    sim: Simulator, client: anthropic.AsyncAnthropic, direct: anthropic.AsyncAnthropic
) -> None:
    async with direct.messages.stream(**ASK) as stream:
        said = await stream.get_final_message()
    sim.forget()
    async with client.messages.stream(**ASK) as stream:
        kinds = [event.type async for event in stream]
        relayed = await stream.get_final_message()
        assert stream.response.headers["request-id"]
    assert relayed.to_dict() == said.to_dict()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"


@pytest.mark.parametrize("name", ["pings-and-comments", "one-byte-chunks", "split-utf8", "gzip-stream"])
@pytest.mark.spec("relay.sdk")
async def test_a_stream_in_an_odd_shape_gathers_to_the_same_message(
    name: str, client: anthropic.AsyncAnthropic
) -> None:
    async with client.messages.stream(**ASK, extra_headers=simulate(name)) as stream:
        message = await stream.get_final_message()
    assert message.stop_reason == "end_turn"
    assert "".join(block.text for block in message.content if block.type == "text").endswith("🧵.")


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.spec("relay.sdk")
async def test_a_tool_loop_with_parallel_calls_goes_round(
    *, streamed: bool, sim: Simulator, client: anthropic.AsyncAnthropic
) -> None:
    async def turn(messages: list[Any], name: str) -> Any:  # noqa: ANN401 - the SDK's own type
        asked = {**ASK, "messages": messages, "tools": TOOLS, "extra_headers": simulate(name)}
        if not streamed:
            return await client.messages.create(**asked)
        async with client.messages.stream(**asked) as stream:
            return await stream.get_final_message()

    conversation: list[Any] = [*ASK["messages"]]
    calls = await turn(conversation, "tool-use")
    assert calls.stop_reason == "tool_use"
    used = [block for block in calls.content if block.type == "tool_use"]
    assert len(used) == 2
    results = [{"type": "tool_result", "tool_use_id": block.id, "content": "42"} for block in used]
    conversation += [{"role": "assistant", "content": calls.content}, {"role": "user", "content": results}]
    assert (await turn(conversation, "ok")).stop_reason == "end_turn"
    assert [received.complete for received in sim.requests] == [True, True]


@pytest.mark.spec("relay.sdk")
async def test_signed_thinking_comes_through(client: anthropic.AsyncAnthropic) -> None:
    message = await client.messages.create(**ASK, extra_headers=simulate("thinking"))
    thinking = message.content[0]
    assert thinking.type == "thinking"
    assert thinking.signature


ERRORS = {
    400: anthropic.BadRequestError,
    401: anthropic.AuthenticationError,
    404: anthropic.NotFoundError,
    413: anthropic.APIStatusError,
    429: anthropic.RateLimitError,
    500: anthropic.InternalServerError,
    529: anthropic.InternalServerError,
}


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("status", ERRORS)
@pytest.mark.spec("relay.sdk-errors")
async def test_an_error_of_the_api_is_the_exception_it_would_be_without_us(
    status: int,
    *,
    streamed: bool,
    sim: Simulator,
    client: anthropic.AsyncAnthropic,
    direct: anthropic.AsyncAnthropic,
) -> None:
    async def refused(sdk: anthropic.AsyncAnthropic) -> anthropic.APIStatusError:
        with pytest.raises(ERRORS[status]) as caught:
            await sdk.messages.create(**ASK, stream=streamed, extra_headers=simulate(f"error-{status}"))
        assert isinstance(caught.value, anthropic.APIStatusError)
        return caught.value

    said = await refused(direct)
    sim.forget()
    relayed = await refused(client)
    assert type(relayed) is type(said)
    assert (relayed.status_code, relayed.body, relayed.request_id) == (
        said.status_code,
        said.body,
        said.request_id,
    )
    assert relayed.request_id
    for name in ("retry-after", "x-should-retry", "anthropic-ratelimit-requests-remaining"):
        assert relayed.response.headers.get(name) == said.response.headers.get(name)


@pytest.mark.spec("relay.sdk-errors")
async def test_an_overload_in_the_middle_of_a_stream_is_the_sdks_exception(
    client: anthropic.AsyncAnthropic,
) -> None:
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        async with client.messages.stream(**ASK, extra_headers=simulate("error-frame")) as stream:
            await stream.get_final_message()


@pytest.mark.parametrize("name", ["fin-mid-stream", "rst-mid-stream", "fin-mid-chunk", "rst-close-delimited"])
@pytest.mark.spec("relay.sdk-errors")
async def test_an_answer_that_broke_off_raises_as_it_does_without_us(
    name: str, client: anthropic.AsyncAnthropic, direct: anthropic.AsyncAnthropic
) -> None:
    for sdk in (direct, client):
        with pytest.raises(httpx2.TransportError):
            async with sdk.messages.stream(**ASK, extra_headers=simulate(name)) as stream:
                await stream.get_final_message()


@pytest.mark.spec("relay.sdk")
async def test_tokens_are_counted_and_models_listed(
    sim: Simulator, client: anthropic.AsyncAnthropic, direct: anthropic.AsyncAnthropic
) -> None:
    asked = {"model": ASK["model"], "messages": ASK["messages"]}
    counted = await client.messages.count_tokens(**asked)
    assert counted.input_tokens == (await direct.messages.count_tokens(**asked)).input_tokens > 0
    models = [model.id async for model in client.models.list(limit=1000)]
    assert models == [model.id async for model in direct.models.list(limit=1000)]
    assert models
    assert sim.requests[2].target == b"/v1/models?limit=1000"


@pytest.mark.spec("relay.cancel")
async def test_a_stream_the_program_leaves_is_cancelled_upstream(
    sim: Simulator, client: anthropic.AsyncAnthropic
) -> None:
    async with client.messages.stream(**ASK, extra_headers=simulate("stall-mid-stream")) as stream:
        async for event in stream:
            if event.type == "content_block_start":
                break
    assert (await sim.aborted()).aborted_at is not None


@pytest.mark.spec("relay.sdk-retries")
async def test_the_sdks_own_retries_work_as_without_us(
    sim: Simulator, proxy: RunningLoom, client: anthropic.AsyncAnthropic
) -> None:
    sim.script("error-529", "error-429", "ok")
    patient = client.with_options(max_retries=2)
    message = await patient.messages.create(**ASK)
    assert message.stop_reason == "end_turn"
    bodies = {received.body for received in sim.requests}
    assert (len(sim.requests), len(bodies)) == (3, 1)
    # Three exchanges of one attempt each: a status is for the client to retry.
    lines = await proxy.logged(3)
    assert [(line["status"], line["attempts"]) for line in lines] == [(529, 1), (429, 1), (200, 1)]


@pytest.mark.spec("relay.same-request")
async def test_the_api_receives_what_the_sdk_sent(
    sim: Simulator, client: anthropic.AsyncAnthropic, direct: anthropic.AsyncAnthropic
) -> None:
    for sdk in (direct, client):
        await sdk.beta.messages.create(**ASK, betas=["one-2025-01-01", "two-2025-01-01"])
    sent, relayed = sim.requests
    assert (relayed.method, relayed.target, relayed.body) == (sent.method, sent.target, sent.body)
    of_the_hop = {b"host", b"connection"}
    assert [it for it in relayed.headers if it[0].lower() not in of_the_hop] == [
        it for it in sent.headers if it[0].lower() not in of_the_hop
    ]
    assert relayed.values(b"anthropic-beta") == [b"one-2025-01-01,two-2025-01-01"]
