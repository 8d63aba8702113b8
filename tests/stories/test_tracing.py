"""One prompt, one trace: real clients, a real Loom, a receiver that reads the protobuf it is sent."""

import asyncio
import logging
import random
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loom_core import turn
from loom_shell import app as module
from loom_shell.simulator import Simulator
from tests.support.child import served
from tests.support.hooked import (
    ASK,
    KEY,
    Prompt,
    Traced,
    answered,
    ask,
    named,
    picture,
    roots,
    tool_loop,
    traced,
)
from tests.support.otlp import receiver
from tests.support.proxy import RunningLoom
from tests.support.wire import Answer, HangsError, dial, request, until

pytestmark = pytest.mark.anyio

POST = "loom: POST /v1/messages"
SESSION = b"x-claude-code-session-id"


def input_tokens(message: Any) -> int:  # noqa: ANN401 - the SDK's own type
    usage = message.usage
    return (
        usage.input_tokens + (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)
    )


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.spec("tracing.hooked-turn", "tracing.stop-hook", "tracing.tokens", "tracing.no-context")
async def test_a_prompt_and_all_it_caused_are_one_trace_begun_in_the_hook(
    *, streamed: bool, sim: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    prompt = Prompt(1)
    with caplog.at_level(logging.DEBUG, "opentelemetry"):
        async with traced(sim) as told, told.sdk() as client:
            asks, says = await tool_loop(client, prompt.hooked, prompt.headers(), streamed=streamed)
            assert roots(told.spans) == []
            assert await told.stop(prompt) == 204
            spans = await told.told(lambda spans: bool(roots(spans)))
    assert {span.trace_id for span in spans} == {prompt.trace_id}
    (root,) = (span for span in spans if not span.parent_id)
    assert (root.span_id, root.start) == (prompt.root_id, prompt.began)
    chat = ("chat claude-sonnet-5", [])
    tool = ("execute_tool Bash", [])
    name, below = picture(spans, root)
    assert name == f"user-turn:{prompt.session[:8]}"
    assert below == [("hook:collect-metadata", []), (POST, [chat]), tool, tool, (POST, [chat])]
    (hook,) = named(spans, "hook:")
    assert hook.span_id == prompt.ids["hook_span_id"]
    assert (hook.start, hook.end) == (prompt.began, prompt.began + 1_000_000)
    assert [span.attributes["loom.turn.call_index"] for span in named(spans, POST)] == [1, 2]
    assert root.attributes["input.value"] == prompt.words
    assert root.attributes["output.value"] == says.content[0].text
    assert root.attributes["loom.turn.outcome"] == "complete"
    assert {span.attributes["session.id"] for span in spans} == {prompt.session}
    asked_for = [block.id for block in asks.content if block.type == "tool_use"]
    tools = named(spans, "execute_tool")
    assert sorted(span.attributes["gen_ai.tool.call.id"] for span in tools) == sorted(asked_for)
    counts = [span.attributes["llm.token_count.prompt"] for span in named(spans, "chat")]
    assert counts == [input_tokens(asks), input_tokens(says)]
    assert root.attributes["loom.turn.tokens.prompt"] == sum(counts)
    assert says.usage.cache_read_input_tokens > 0
    assert [it for it in caplog.records if it.name == "opentelemetry.context"] == []
    assert logging.getLogger("opentelemetry.context").isEnabledFor(logging.ERROR)


@pytest.mark.spec("tracing.no-hook", "tracing.next-prompt")
async def test_without_hook_and_headers_the_loom_makes_the_root_and_the_next_prompt_ends_it(
    sim: Simulator,
) -> None:
    session = {"user_id": "user_ab_account__session_5e550001-0000-4000-8000-000000000001"}
    first: list[Any] = [{"role": "user", "content": "List the files."}]
    async with traced(sim) as told, told.sdk() as client:
        asks = await client.messages.create(
            model="claude-sonnet-5",
            max_tokens=1000,
            metadata=session,
            tools=[{"name": "Bash", "input_schema": {"type": "object"}}],
            messages=first,
        )
        second = [*answered(asks, first), {"role": "assistant", "content": "Two."}]
        second.append({"role": "user", "content": "And now say bye."})
        await client.messages.create(
            model="claude-sonnet-5", max_tokens=1000, metadata=session, messages=second
        )
        spans = await told.told(lambda spans: len(roots(spans)) == 1)
        assert [root.attributes["input.value"] for root in roots(spans)] == ["List the files."]
    old, new = sorted(roots(told.spans), key=lambda root: root.start)
    assert old.trace_id != new.trace_id
    assert (old.parent_id, new.parent_id) == ("", "")
    assert old.attributes["loom.turn.outcome"].startswith("abandoned: next prompt")
    assert new.attributes["input.value"] == "And now say bye."
    for root in (old, new):
        assert [name for name, _ in picture(told.spans, root)[1] if name == POST] == [POST]


@pytest.mark.spec("tracing.grace")
async def test_without_a_stop_hook_the_last_answer_ends_the_turn_after_a_grace(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "GRACE", 30_000_000)
    prompt = Prompt(3)
    async with traced(sim) as told, told.sdk() as client:
        await ask(client, [{"role": "user", "content": "Say hello."}], prompt.headers(), tools=())
        (root,) = roots(await told.told(lambda spans: bool(roots(spans))))
    assert root.attributes["loom.turn.outcome"] == "complete"
    (post,) = named(told.spans, POST)
    assert root.end == post.end


@pytest.mark.spec("tracing.never-mixed")
async def test_fifty_sessions_at_once_never_mix(sim: Simulator) -> None:
    prompts = [Prompt(number, f"List the files of {number}.") for number in range(1, 51)]

    async def one(told: Traced, client: Any, prompt: Prompt) -> None:  # noqa: ANN401
        is_hooked = prompt.number % 2
        await tool_loop(client, prompt.hooked if is_hooked else prompt.typed, prompt.headers())
        assert await told.stop(prompt) == 204

    async with traced(sim) as told, told.sdk() as client:
        await asyncio.gather(*(one(told, client, prompt) for prompt in prompts))
    of_trace: dict[str, list[Any]] = {}
    for span in told.spans:
        of_trace.setdefault(span.trace_id, []).append(span)
    assert len(of_trace) == 50
    by_session = {spans[0].attributes["session.id"]: spans for spans in of_trace.values()}
    for prompt in prompts:
        spans = by_session[prompt.session]
        assert {span.attributes["session.id"] for span in spans} == {prompt.session}
        (root,) = (span for span in spans if not span.parent_id)
        assert root.attributes["input.value"] == prompt.words
        kinds = Counter(span.name.split(" ")[0].split(":")[0] for span in spans)
        hook = {"hook": 1} if prompt.number % 2 else {}
        assert kinds == {"user-turn": 1, "loom": 2, "chat": 2, "execute_tool": 2, **hook}


@pytest.mark.spec("tracing.subagents")
async def test_parallel_subagents_are_parts_of_the_main_trace(sim: Simulator) -> None:
    prompt = Prompt(2)
    async with traced(sim) as told, told.sdk() as client:
        asks = await ask(client, [prompt.hooked], prompt.headers())
        agents = [f"agent-{number}" for number in range(4)]

        async def work(agent: str) -> None:
            headers = prompt.headers(x_claude_code_agent_id=agent, x_claude_code_request_class="subagent")
            await tool_loop(client, {"role": "user", "content": f"Work as {agent}."}, headers)

        await asyncio.gather(*map(work, agents))
        await ask(client, answered(asks, [prompt.hooked]), prompt.headers())
        assert await told.stop(prompt) == 204
    spans = told.spans
    assert {span.trace_id for span in spans} == {prompt.trace_id}
    (root,) = (span for span in spans if not span.parent_id)
    parts = named(spans, "agent:")
    assert sorted(part.name for part in parts) == [f"agent:{agent}" for agent in agents]
    for part in parts:
        assert part.parent_id == root.span_id
        names = Counter(name for name, _ in picture(spans, part)[1])
        assert names == {POST: 2, "execute_tool Bash": 2}
        assert part.attributes["input.value"] == f"Work as {part.name.removeprefix('agent:')}."
    assert Counter(name for name, _ in picture(spans, root)[1])[POST] == 2


@pytest.mark.spec("tracing.gone")
async def test_whenever_a_client_leaves_its_spans_are_closed_and_exported_once(sim: Simulator) -> None:
    chance = random.Random(3)
    prompts = [Prompt(number) for number in range(20)]
    async with traced(sim) as told:

        async def leave(prompt: Prompt) -> None:
            lines = tuple(f"{name}: {value}" for name, value in prompt.headers().items())
            body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"Go."}]}'
            how = chance.choice(["paced&frames=30&rate=1000", "stall-before-head", "stall-mid-stream"])
            wait = chance.uniform(0.0, 0.05)
            session = prompt.session.encode()
            async with await told.loom.dial() as caller:
                await caller.send(request("POST", f"/v1/messages?simulate={how}", body, lines))
                if prompt.number % 4:
                    await sim.until(lambda: any(session in it.values(SESSION) for it in sim.requests))
                with suppress(TimeoutError, HangsError, ConnectionError, EOFError):
                    async with asyncio.timeout(wait):
                        await caller.head(b"POST")
                        async for _ in caller.pieces():
                            pass
                caller.reset()

        await asyncio.gather(*map(leave, prompts))
        await told.loom.idle()
        begun = [line for line in told.loom.exchanges if line["bytes_up"] and line["attempts"]]
        # One that left before its whole request was here has begun nothing.
        assert 15 <= len(begun) <= 20
    posts = named(told.spans, POST)
    assert Counter(span.attributes["loom.exchange.id"] for span in posts) == {it["id"]: 1 for it in begun}
    ids = Counter(span.span_id for span in told.spans)
    assert set(ids.values()) == {1}
    assert len({root.attributes["session.id"] for root in roots(told.spans)}) == len(begun)
    assert len(roots(told.spans)) == len(begun)
    assert {span.parent_id for span in posts} == {root.span_id for root in roots(told.spans)}


@pytest.mark.spec("tracing.sigterm")
async def test_a_sigterm_in_the_middle_of_a_stream_delivers_the_spans(sim: Simulator, tmp_path: Path) -> None:
    prompt = Prompt(4)
    lines = tuple(f"{name}: {value}" for name, value in prompt.headers().items())
    body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"Go."}]}'
    with receiver() as backend:
        flags = ("--upstream", sim.origin, "--drain-seconds", "0.1")
        async with (
            served(*flags, home=tmp_path, LOOM_TELEMETRY_EXPORTERS=backend.url) as process,
            await dial(process.port) as caller,
        ):
            await caller.send(request("POST", "/v1/messages?simulate=stall-mid-stream", body, lines))
            await caller.head(b"POST")
            await anext(caller.pieces())
            process.signal()
            assert await process.ended() == 0
        spans = backend.spans
    (root,) = roots(spans)
    (chat,) = named(spans, "chat")
    assert picture(spans, root) == (root.name, [(POST, [(chat.name, [])])])
    assert len(spans) == 3
    assert named(spans, POST)[0].attributes["loom.outcome"] == "shut down"
    assert root.attributes["loom.turn.outcome"].startswith(("abandoned", "failed"))


@pytest.mark.parametrize("content", ["full", "metadata", "off"])
@pytest.mark.spec("tracing.content", "tracing.no-secret")
async def test_words_leave_only_where_they_may_and_secrets_nowhere(content: str, sim: Simulator) -> None:
    secret = "ghp_" + "a1B2" * 9
    prompt = Prompt(5, f"List the files of Elsinore with {secret}.")
    headers = prompt.headers(authorization="Bearer tkn-of-a-test-0123456789", cookie="crumb-0123456789")
    async with traced(sim, LOOM_TRACE_CONTENT=content) as told, told.sdk() as client:
        messages = [prompt.hooked]
        asks = await ask(client, messages, headers)
        says = await ask(client, answered(asks, messages, f"yorick.txt {secret}"), headers)
        assert await told.stop(prompt) == 204
    octets = b"".join(body for _, body, _ in told.backend.bodies)
    assert {root.trace_id for root in roots(told.spans)} == {prompt.trace_id}
    for hidden in (secret, KEY, "tkn-of-a-test", "crumb-0123"):
        assert hidden.encode() not in octets
    is_full = content == "full"
    for word in ("Elsinore", "yorick.txt", says.content[0].text):
        assert (word.encode() in octets) is is_full
    assert (b"box.example" in octets) is (content != "off")


@pytest.mark.spec("tracing.off")
async def test_with_turns_switched_off_nothing_is_told_and_the_relay_works(sim: Simulator) -> None:
    prompt = Prompt(6)
    async with traced(sim, trace_turns="false") as told, told.sdk() as client:
        asks, says = await tool_loop(client, prompt.hooked, prompt.headers(x_loom_source="laptop"))
        assert (asks.stop_reason, says.stop_reason) == ("tool_use", "end_turn")
        assert await told.stop(prompt) == 204
        await told.loom.idle()
        assert list(told.loom.app._loom._driver.states()) == []  # type: ignore[union-attr]
    assert told.spans == []
    assert [b"LOOM_METADATA" in received.body for received in sim.requests] == [False, False]
    assert [received.values(b"x-loom-source") for received in sim.requests] == [[], []]


ILL = Prompt(10)


async def three_answers(proxy: RunningLoom, sim: Simulator) -> list[Answer]:
    """A stream, a message in JSON and a stream that breaks, read to their ends."""
    sim.forget()
    answers = []
    for streamed, scenario in ((True, "ok"), (False, "ok"), (True, "fin-mid-stream")):
        body = msgspec.json.encode({**ASK, "messages": [ILL.hooked], "stream": streamed})
        lines = tuple(f"{name}: {value}" for name, value in ILL.headers().items())
        async with await proxy.dial() as caller:
            sent = request("POST", f"/v1/messages?simulate={scenario}", body, lines)
            answers.append(await caller.ask(sent))
    return answers


@pytest.mark.parametrize("ill", ["down", "slow", "unavailable", "refusing"])
@pytest.mark.spec("tracing.ill-backend", "tracing.shutdown")
async def test_a_backend_that_is_ill_changes_nothing_for_the_client(
    ill: str, sim: Simulator, proxy: RunningLoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.5)
    expected = await three_answers(proxy, sim)
    wanted = [received.body for received in sim.requests]
    with receiver() as gone:
        down = gone.url
    with receiver(status=[503 if ill == "unavailable" else 403], silent=ill == "slow") as backend:
        if ill == "down":
            backend.url = down
        async with traced(sim, backend) as told:
            answers = await three_answers(told.loom, sim)
            assert [(it.status, it.body, it.ended, it.end_to_end) for it in answers] == [
                (it.status, it.body, it.ended, it.end_to_end) for it in expected
            ]
            assert [received.body for received in sim.requests] == wanted
            await told.loom.idle()
            assert told.loom.running == 0
            if ill == "refusing":
                # While it runs, its own page counts them too.
                telemetry = told.loom.app._loom._telemetry  # type: ignore[union-attr]
                await until(lambda: b"loom_telemetry_dropped_total{" in telemetry._metrics.page()[0])
                assert 'reason="refused"' in await told.metrics()
            leaving = time.monotonic()
        assert time.monotonic() - leaving < 4.0
    assert told.spans == []
    lost = [line for line in told.loom.notes if line["text"] == "telemetry was not delivered"]
    counts = [count for line in lost for name, count in line.items() if " traces " in name]
    # Three exchanges and their answers, four tools nobody executed, the hook and the root.
    assert sum(counts) == 12
