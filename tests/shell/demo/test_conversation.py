"""The calls of the conversation, and what must come of each."""

import asyncio
from collections.abc import Awaitable, Callable

import anthropic
import httpx2
import pytest

from loom_shell.demo import conversation
from loom_shell.demo.conversation import Call, Outcome, Wanted
from loom_shell.demo.stage import DemoFailed
from loom_shell.demo.tap import Tap
from loom_shell.simulator import Scenario, Simulator
from loom_shell.simulator.steps import Send

Do = Callable[[Callable[[Call], Awaitable[Outcome]], Simulator], Awaitable[None]]


def _talk(do: Do) -> list[str]:
    """Runs `do` with the SDK's client before a simulator; the texts that came as they came."""
    texts: list[str] = []

    async def run() -> None:
        async with Simulator() as simulator:
            tap = Tap(httpx2.AsyncHTTPTransport(trust_env=False), lambda _: None)
            client = conversation.caller(simulator.origin, tap)
            try:
                await do(lambda call: conversation.perform(client, call, texts.append), simulator)
            finally:
                await client.close()

    asyncio.run(run())
    return texts


async def _whole(ask: Callable[[Call], Awaitable[Outcome]]) -> list[tuple[Call, Outcome]]:
    prompt = conversation.opening()
    called = await ask(prompt)
    results = conversation.results(prompt, called)
    final = await ask(results)
    more = conversation.follow_up(results, final, "more", Wanted.WHOLE)
    told = [(prompt, called), (results, final), (more, await ask(more))]
    for wanted in (Wanted.COUNT, Wanted.REFUSAL, Wanted.BREAK):
        call = conversation.again(more, wanted.name, wanted)
        told.append((call, await ask(call)))
    return told


def test_every_call_gets_what_it_wants_and_the_cache_is_read() -> None:
    async def do(ask: Callable[[Call], Awaitable[Outcome]], simulator: Simulator) -> None:
        told = await _whole(ask)
        assert [call.wanted for call, _ in told] == list(Wanted)
        for number, (call, got) in enumerate(told):
            conversation.expect(number, call, got)
        final = told[1][1].message
        assert final is not None
        assert final.usage.cache_read_input_tokens
        assert len(simulator.requests) == 6

    texts = _talk(do)
    assert len(texts) > 4, "texts come as they stream"


def test_at_most_two_markers_are_in_a_request_the_last_on_its_last_block() -> None:
    async def do(ask: Callable[[Call], Awaitable[Outcome]], simulator: Simulator) -> None:
        for call, _ in await _whole(ask):
            marked = [
                block for message in call.messages for block in message["content"] if "cache_control" in block
            ]
            assert marked == [call.newest["content"][-1]]
        assert all(request.body.count(b'"cache_control"') == 2 for request in simulator.requests)

    _talk(do)


@pytest.mark.spec("demo.environment")
def test_the_users_environment_does_not_reach_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
        "ANTHROPIC_API_KEY": "sk-the-users-own",
        "ANTHROPIC_AUTH_TOKEN": "the-users-own-token",
        "ANTHROPIC_CUSTOM_HEADERS": "x-simulate: error-500\nx-secret: the-users-own",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)

    async def do(ask: Callable[[Call], Awaitable[Outcome]], simulator: Simulator) -> None:
        prompt = conversation.opening()
        conversation.expect(1, prompt, await ask(prompt))
        sent = b"\n".join(simulator.requests[0].lines)
        assert b"the-users-own" not in sent
        assert simulator.requests[0].values(b"x-simulate") == []

    _talk(do)


@pytest.mark.spec("demo.failure")
@pytest.mark.parametrize(
    ("wanted", "got", "said"),
    [
        (Wanted.CALLS, Outcome(), "request 3 wanted two tool calls, streamed, and got something else"),
        (Wanted.TEXT, Outcome(error="RateLimitError: no"), "got RateLimitError: no"),
        (Wanted.WHOLE, Outcome(), "wanted a text in one JSON message"),
        (Wanted.COUNT, Outcome(tokens=0), "wanted a count of tokens"),
        (Wanted.REFUSAL, Outcome(status=429, error="RateLimitError"), "an error status with its headers"),
        (Wanted.REFUSAL, Outcome(status=500, error="x", retry_after="1"), "an error status"),
        (Wanted.BREAK, Outcome(), "wanted a stream that breaks, and got something else"),
        (Wanted.BREAK, Outcome(status=502, error="InternalServerError: y"), "got InternalServerError: y"),
    ],
)
def test_an_outcome_that_does_not_fit_fails_the_demo(wanted: Wanted, got: Outcome, said: str) -> None:
    with pytest.raises(DemoFailed, match=said):
        conversation.expect(3, Call("title", wanted, ()), got)


@pytest.mark.spec("demo.broken")
def test_a_broken_stream_is_an_error_of_the_connection_not_a_short_message() -> None:
    async def do(ask: Callable[[Call], Awaitable[Outcome]], _: Simulator) -> None:
        got = await ask(Call("broken", Wanted.BREAK, conversation.opening().messages))
        assert got.message is None
        assert got.status is None
        assert got.error

    _talk(do)


def test_the_sdk_is_not_told_to_retry() -> None:
    tap = Tap(httpx2.AsyncHTTPTransport(trust_env=False), lambda _: None)
    client = conversation.caller("http://127.0.0.1:9", tap)
    assert isinstance(client, anthropic.AsyncAnthropic)
    assert client.max_retries == 0
    asyncio.run(client.close())


@pytest.mark.spec("demo.failure")
def test_an_error_that_says_nothing_is_an_outcome_too() -> None:
    async def do(ask: Callable[[Call], Awaitable[Outcome]], simulator: Simulator) -> None:
        head = b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"
        simulator.script(Scenario("mute", lambda _: [Send(head)]))
        got = await ask(conversation.opening())
        assert got.status == 500
        assert got.error.startswith("InternalServerError: ")

    _talk(do)
