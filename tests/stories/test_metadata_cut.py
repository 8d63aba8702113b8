"""The metadata block, and the Loom's own headers, end at the Loom: upstream sees none of it."""

from itertools import pairwise
from typing import Any

import anthropic
import msgspec
import pytest

from loom_shell.simulator import Simulator
from loom_shell.turn_block import CANARY
from tests.support.hooked import ASK, Prompt, answered, ask, roots, tool_loop, traced
from tests.support.proxy import RunningLoom
from tests.support.wire import request

pytestmark = pytest.mark.anyio

PROMPT = Prompt(7, "Say hello – in one word 🧵.")


def client_of(proxy: RunningLoom) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=proxy.origin, api_key="sk-ant-dummy", max_retries=0)


def laid_out(layout: str, prompt: Prompt) -> tuple[list[Any], list[Any]]:
    """The messages of one prompt as a client lays them out, with the block and without it."""
    said = f"UserPromptSubmit hook additional context: {prompt.block}"
    typed = {"role": "user", "content": prompt.words}
    match layout:
        case "A":
            kept = "Today is Friday."
            return [typed, {"role": "system", "content": f"{kept}\n\n{said}"}], [
                typed,
                {"role": "system", "content": kept},
            ]
        case "B":
            wrapped = f"<system-reminder>\n{said}\n</system-reminder>"
            return [typed, {"role": "system", "content": wrapped}], [typed]
    return [prompt.hooked], [prompt.typed]


def odd(fields: dict[str, Any], messages: list[Any]) -> bytes:
    """A body with what must survive: spaces, unknown keys, odd numbers, a lone surrogate."""
    told = msgspec.json.encode(messages)
    rest = msgspec.json.encode(fields)[1:-1]
    return b'{ "new_key": 1.0E+2,"messages":%b , %b,"note":"\\ud800","more":[ ]}\n' % (told, rest)


@pytest.mark.parametrize("layout", ["A", "B", "C"])
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("path", ["/v1/messages?beta=true", "/v1/messages/count_tokens?beta=true"])
@pytest.mark.spec("tracing.cut")
async def test_upstream_gets_the_body_without_the_block_and_every_other_byte(
    path: str, layout: str, *, streamed: bool, sim: Simulator, proxy: RunningLoom
) -> None:
    hooked, bare = laid_out(layout, PROMPT)
    fields = {"model": "claude-sonnet-5", "max_tokens": 100, "stream": streamed}
    lines = ("Content-Type: application/json", "X-Loom-Source: laptop", "x-loom-session: s-1")
    async with await proxy.dial() as caller:
        answer = await caller.ask(request("POST", path, odd(fields, hooked), lines))
    assert answer.status == 200
    (received,) = sim.requests
    assert received.body == odd(fields, bare)
    assert received.values(b"content-length") == [b"%d" % len(received.body)]
    assert CANARY.encode() not in received.body
    assert not [name for name, _ in received.headers if name.lower().startswith(b"x-loom")]
    (line,) = await proxy.logged()
    assert line["status"] == 200


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.spec("tracing.cut-history")
async def test_no_request_of_a_conversation_carries_a_canary_and_each_extends_the_one_before(
    *, streamed: bool, sim: Simulator, proxy: RunningLoom
) -> None:
    first, second = Prompt(8, "List the files."), Prompt(9, "Again, please.")
    headers = first.headers(x_loom_source="laptop", x_loom_session=first.session)
    async with client_of(proxy) as client:
        asks = await ask(client, [first.hooked], headers, streamed=streamed)
        messages = answered(asks, [first.hooked])
        says = await ask(client, messages, headers, streamed=streamed)
        messages += [{"role": "assistant", "content": says.content[0].text}, second.hooked]
        await ask(client, messages, second.headers(), streamed=streamed)
    sent = [msgspec.json.decode(received.body)["messages"] for received in sim.requests]
    assert [len(messages) for messages in sent] == [1, 3, 5]
    for before, after in pairwise(sent):
        assert after[: len(before)] == before
    assert sent[2][4] == second.typed
    assert [CANARY.encode() in received.body for received in sim.requests] == [False] * 3
    for received in sim.requests:
        assert not [name for name, _ in received.headers if name.lower().startswith(b"x-loom")]


@pytest.mark.spec("tracing.cut")
async def test_tokens_are_counted_as_if_there_were_no_block(sim: Simulator, proxy: RunningLoom) -> None:
    async with client_of(proxy) as client:
        counted = [
            await client.messages.count_tokens(model=ASK["model"], messages=[message])  # type: ignore[typeddict-item]
            for message in (PROMPT.hooked, PROMPT.typed)
        ]
    assert counted[0].input_tokens == counted[1].input_tokens > 0
    assert sim.requests[0].body == sim.requests[1].body


@pytest.mark.spec("tracing.own-headers")
async def test_a_source_and_session_of_the_looms_own_headers_are_told_and_go_no_further(
    sim: Simulator,
) -> None:
    async with traced(sim) as told, told.sdk() as client:
        headers = {"x-loom-source": "a laptop", "x-loom-session": "a-session"}
        await tool_loop(client, PROMPT.typed, headers)
    (root,) = roots(told.spans)
    assert (root.attributes["session.id"], root.attributes["loom.source"]) == ("a-session", "a laptop")
    for received in sim.requests:
        assert not [name for name, _ in received.headers if name.lower().startswith(b"x-loom")]
