import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import anthropic
import pytest
import uvloop

from loom_core.meter import Meter, measure
from loom_shell.simulator import SCENARIOS, Ending, Received, Scenario, Simulator
from loom_shell.simulator.steps import Finish, Send
from tests.shell.simulator.raw import PROMPT, STREAMED, TOOL, Heard, request, talk

QUICK = "&size=100000&seconds=0.02&frames=3&rate=100000"
"""Keeps each scenario short."""

RESETS = {"rst-mid-stream", "rst-mid-json", "rst-close-delimited", "rst-before-head", "early-413-rst"}

Run = Callable[[Coroutine[Any, Any, None]], None]


def client(sim: Simulator) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=sim.origin, api_key="dummy", max_retries=0)


@pytest.mark.spec("simulator.endings")
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda one: one.name)
def test_every_scenario_ends_as_it_says(scenario: Scenario, run: Run) -> None:
    async def main() -> None:
        async with Simulator() as sim:
            sim.gate.set()
            said = await talk(
                sim.port, request(target=f"/v1/messages?simulate={scenario.name}{QUICK}", body=STREAMED)
            )
            answered = await sim.done(0)
            await sim.quiet()
        assert (answered.scenario, answered.aborted_at) == (scenario.name, None)
        assert said.reset is (scenario.name in RESETS)
        assert_ended(scenario.ending, said)

    run(main())


def assert_ended(ending: Ending, said: Heard) -> None:
    while said.raw.startswith(b"HTTP/1.1 1"):
        said = Heard(said.rest, said.reset)
    headed = said.raw.startswith(b"HTTP/1.") and b"\r\n\r\n" in said.raw
    match ending:
        case Ending.CLEAN:
            assert said.whole
        case Ending.BROKEN:
            assert headed
            assert not said.whole
        case Ending.NO_HEAD:
            assert not headed
        case Ending.STALLS:
            assert not headed or not said.whole


@pytest.mark.anyio
@pytest.mark.spec("simulator.records")
async def test_what_came_is_kept_to_the_byte() -> None:
    async with Simulator() as sim:
        sent = request("PATCH", "/echo/%7e?a=1&a=2", b"\x00\xffbody", ("X-Odd:  b ", "x-odd: c"))
        said = await talk(sim.port, sent)
        kept = await sim.received(0)
    assert said.rest == kept.body == b"\x00\xffbody"
    assert (kept.method, kept.target) == ("PATCH", b"/echo/%7e?a=1&a=2")
    assert kept.lines == (
        b"Host: sim",
        b"X-Odd:  b ",
        b"x-odd: c",
        b"connection: close",
        b"content-length: 6",
    )
    assert (kept.complete, kept.answered, kept.number, kept.connection) == (True, True, 0, 1)


@pytest.mark.anyio
@pytest.mark.spec("simulator.aborts")
@pytest.mark.parametrize("name", ["stall-before-head", "stall-mid-stream", "paced", "slow-reader"])
async def test_the_moment_a_client_leaves_is_kept(name: str) -> None:
    async with Simulator() as sim:
        _, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        writer.write(request(target=f"/v1/messages?simulate={name}&frames=1000", body=STREAMED))
        await sim.arrived(0)
        before = time.monotonic()
        writer.transport.abort()
        left = await sim.aborted(0)
        await sim.quiet()
    assert left.aborted_at is not None
    assert before <= left.aborted_at <= time.monotonic()
    assert not left.answered


@pytest.mark.anyio
@pytest.mark.spec("simulator.aborts")
async def test_a_client_that_leaves_while_it_uploads_is_kept_with_what_came() -> None:
    done: list[Received] = []
    async with Simulator(on_done=done.append) as sim:
        _, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        writer.write(b"POST /v1/messages HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf")
        kept = await sim.arrived(0)
        await sim.until(lambda: kept.body == b"half" or kept.aborted_at is not None)
        writer.close()
        await sim.aborted(0)
        await sim.quiet()
    assert (kept.body, kept.complete) == (b"half", False)
    assert done == [kept]


@pytest.mark.anyio
@pytest.mark.spec("simulator.keeps-alive")
async def test_requests_may_follow_each_other_on_one_connection_even_ahead_of_the_answers() -> None:
    async with Simulator() as sim:
        first, second = (request(target="/echo", body=body, last=body == b"b") for body in (b"a", b"b"))
        said = await talk(sim.port, first + second)
    assert said.raw.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert said.raw.endswith(b"\r\n\r\nb")
    assert [kept.connection for kept in sim.requests] == [1, 1]
    assert sim.connections_seen == 1


@pytest.mark.anyio
@pytest.mark.spec("simulator.keeps-alive")
@pytest.mark.parametrize("body", [PROMPT, STREAMED])
async def test_an_http_10_client_gets_an_answer_that_ends_with_the_connection(body: object) -> None:
    async with Simulator() as sim:
        said = await talk(sim.port, request(body=body, version="1.0", last=False))
    assert b"transfer-encoding" not in said.headers
    assert b"message" in said.rest


@pytest.mark.anyio
@pytest.mark.spec("simulator.keeps-alive")
async def test_an_http_10_client_may_keep_the_connection() -> None:
    async with Simulator() as sim:
        kept = request(
            target="/echo", body=b"a", lines=("connection: keep-alive",), version="1.0", last=False
        )
        said = await talk(sim.port, kept + request(target="/echo", body=b"b", version="1.0", last=False))
    assert said.raw.count(b"HTTP/1.1 200 OK\r\n") == 2


@pytest.mark.anyio
@pytest.mark.spec("simulator.choice")
async def test_header_goes_before_query_before_script_before_default() -> None:
    async with Simulator("error-400") as sim:
        sim.script("error-401", "error-404")
        named = ("x-simulate: error-529",)
        sent = [
            request(target="/?simulate=error-500", lines=named),
            request(target="/?simulate=error-500"),
            request(),
            request(),
            request(),
        ]
        statuses = [(await talk(sim.port, one)).status for one in sent]
    assert statuses == [529, 500, 401, 404, 400]


@pytest.mark.anyio
async def test_an_unknown_scenario_is_refused() -> None:
    async with Simulator() as sim:
        said = await talk(sim.port, request(lines=("x-simulate: nonsense",)))
        with pytest.raises(ValueError, match="nonsense"):
            sim.script("ok", "nonsense")
        assert (await talk(sim.port, request(body=PROMPT))).status == 200
    assert said.status == 400
    assert b"nonsense" in said.rest


@pytest.mark.anyio
async def test_a_test_may_bring_a_scenario_of_its_own() -> None:
    async with Simulator() as sim:
        sim.script(Scenario("own", lambda asked: [Send(b"raw " + asked.body), Finish()]))
        assert (await talk(sim.port, request(body=b"bytes"))).raw == b"raw bytes"


@pytest.mark.anyio
@pytest.mark.spec("simulator.repeatable")
async def test_equal_requests_get_equal_bytes_from_fresh_simulators() -> None:
    tooled = {**STREAMED, "tools": [TOOL], "thinking": {"type": "enabled"}}

    async def bytes_of(sim: Simulator) -> list[bytes]:
        return [(await talk(sim.port, request(body=body))).raw for body in (PROMPT, tooled, PROMPT)]

    async with Simulator() as one, Simulator() as other:
        first = await bytes_of(one)
        assert first == await bytes_of(other)
        one.forget()
        assert one.requests == []
        assert first == await bytes_of(one)
    assert first[0] != first[2]


@pytest.mark.anyio
@pytest.mark.spec("simulator.usage")
async def test_usage_is_what_the_meter_says_in_stream_and_json() -> None:
    marked = {"type": "text", "text": "weft " * 2000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    body: Any = {**PROMPT, "system": [marked]}
    state, first = measure(Meter(), {**body, "max_tokens": 99}, 0)
    _, second = measure(state, {**body, "max_tokens": 99}, 1)
    async with Simulator(clock=lambda: 0) as sim, client(sim) as sdk:
        said = await sdk.messages.create(max_tokens=99, **body)
        async with sdk.messages.stream(max_tokens=99, **body) as stream:
            streamed = await stream.get_final_message()
    for message, figures in ((said, first), (streamed, second)):
        usage = message.usage
        assert usage.input_tokens == figures.input_tokens
        assert usage.cache_read_input_tokens == figures.cache_read_input_tokens
        assert usage.cache_creation_input_tokens == figures.cache_creation_input_tokens
        assert usage.cache_creation is not None
        assert usage.cache_creation.ephemeral_1h_input_tokens == figures.ephemeral_1h_input_tokens
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens > 2000


@pytest.mark.anyio
@pytest.mark.spec("simulator.tools", "simulator.stream")
async def test_the_official_client_goes_through_a_tool_loop() -> None:
    tool: Any = TOOL
    messages: Any = [{"role": "user", "content": "look"}]
    async with Simulator() as sim, client(sim) as sdk:
        async with sdk.messages.stream(
            model="claude-sonnet-5", max_tokens=999, messages=messages, tools=[tool]
        ) as stream:
            calls = await stream.get_final_message()
        used = [block for block in calls.content if block.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "seen"} for call in used]
        messages += [{"role": "assistant", "content": calls.content}, {"role": "user", "content": results}]
        last = await sdk.messages.create(
            model="claude-sonnet-5", max_tokens=999, messages=messages, tools=[tool]
        )
    assert (calls.stop_reason, [call.input for call in used]) == ("tool_use", [{"at": "loom"}] * 2)
    assert (last.stop_reason, [block.type for block in last.content]) == ("end_turn", ["text"])
    assert sim.requests[0].body.startswith(b"{")


@pytest.mark.anyio
async def test_the_official_client_counts_tokens_and_lists_models() -> None:
    body: Any = PROMPT
    async with Simulator() as sim, client(sim) as sdk:
        counted = await sdk.messages.count_tokens(**body)
        said = await sdk.messages.create(max_tokens=99, **body)
        models = [model.id async for model in sdk.models.list()]
    assert counted.input_tokens > 0
    assert abs(said.usage.input_tokens - counted.input_tokens) < 5
    assert "claude-sonnet-5" in models


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("error-400", anthropic.BadRequestError),
        ("error-401", anthropic.AuthenticationError),
        ("error-404", anthropic.NotFoundError),
        ("error-413", anthropic.RequestTooLargeError),
        ("error-429", anthropic.RateLimitError),
        ("error-500", anthropic.InternalServerError),
        ("error-529", anthropic.OverloadedError),
        ("error-frame", anthropic.APIStatusError),
        ("rst-before-head", anthropic.APIConnectionError),
    ],
)
async def test_the_official_client_sees_each_refusal(name: str, error: type[Exception]) -> None:
    body: Any = PROMPT
    async with Simulator(name) as sim, client(sim) as sdk:
        with pytest.raises(error):
            async with sdk.messages.stream(max_tokens=99, **body) as stream:
                await stream.get_final_message()


@pytest.mark.anyio
async def test_a_gated_upload_waits_for_the_gate() -> None:
    body = b"x" * 20_000_000
    async with Simulator("slow-reader") as sim:
        talking = asyncio.ensure_future(talk(sim.port, request(target="/echo", body=body)))
        kept = await sim.arrived(0)
        assert (kept.body, kept.complete) == (b"", False)
        sim.gate.set()
        await sim.received(0)
        said = await talking
    assert said.rest == kept.body == body


@pytest.mark.anyio
async def test_an_early_refusal_comes_before_the_upload_is_read() -> None:
    async with Simulator("early-413") as sim:
        reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        writer.write(b"POST /v1/messages HTTP/1.1\r\ncontent-length: 9000000\r\n\r\n" + b"x" * 1000)
        answer = await reader.read()
        writer.close()
        await sim.quiet()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert (sim.requests[0].body, sim.requests[0].complete) == (b"", False)


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "reset"), [("stale-keepalive", False), ("stale-keepalive-rst", True)])
async def test_a_stale_connection_dies_of_the_next_request(name: str, *, reset: bool) -> None:
    async with Simulator() as sim:
        sim.script(name)
        said = await talk(sim.port, request(body=PROMPT, last=False) + request(body=PROMPT))
        assert (await talk(sim.port, request(body=PROMPT))).status == 200
        await sim.quiet()
    assert said.whole
    assert said.reset is reset
    assert [kept.scenario for kept in sim.requests] == [name, "stale", "ok"]
    assert not sim.requests[1].complete


@pytest.mark.anyio
async def test_waiting_for_what_does_not_come_has_an_end() -> None:
    async with Simulator() as sim:
        for wait in (sim.arrived, sim.received, sim.aborted, sim.done):
            with pytest.raises(TimeoutError):
                await wait(0, within=0.001)
        await sim.quiet(within=0.001)


@pytest.mark.anyio
async def test_the_end_of_the_block_ends_what_is_open() -> None:
    async with Simulator("stall-before-head") as sim:
        reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        writer.write(request(body=PROMPT))
        await sim.received(0)
        assert sim.connections_open == 1
    assert sim.connections_open == 0
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


def test_a_scenario_that_fails_ends_its_connection_and_is_heard_of() -> None:
    heard_of: list[object] = []

    async def main() -> Heard:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: heard_of.append(told["exception"]))
        async with Simulator() as sim:
            sim.script(Scenario("failing", lambda asked: [Send(asked.options["missing"].encode())]))
            said = await talk(sim.port, request(body=PROMPT))
            await sim.quiet()
        return said

    assert asyncio.run(main()).raw == b""
    assert [type(error) for error in heard_of] == [KeyError]


@pytest.mark.anyio
async def test_a_simulator_may_keep_nothing() -> None:
    done: list[Received] = []
    async with Simulator(on_done=done.append) as sim:
        sim.keep = False
        await talk(sim.port, request(body=PROMPT))
        await sim.until(lambda: bool(done))
    assert sim.requests == []
    assert done[0].body.startswith(b"{")
