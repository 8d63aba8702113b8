"""The ASGI application, spoken to in ASGI: what a server says and hears."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loom_shell.app import App
from loom_shell.config import load
from loom_shell.driver import Driver
from loom_shell.log import Log
from loom_shell.simulator import Simulator
from tests.support.wire import until

pytestmark = pytest.mark.anyio

Sent = list[dict[str, Any]]


class Server:
    """As much of an ASGI server as one exchange needs: what the app receives, and what it sent."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for message in messages:
            self.queue.put_nowait(message)
        self.sent: Sent = []
        self.changed = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        return await self.queue.get()

    async def send(self, message: Any) -> None:  # noqa: ANN401 - ASGI's messages are open
        self.sent.append(dict(message))
        self.changed.set()
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            # As the specification has it: after the response, receive brings the disconnect.
            self.queue.put_nowait({"type": "http.disconnect"})

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.sent) < count:
                self.changed.clear()
                await self.changed.wait()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


def scope(path: bytes = b"/echo", query: bytes = b"", method: str = "GET", **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path.decode("latin-1"),
        "raw_path": path,
        "query_string": query,
        "headers": [],
        **more,
    }


END = {"type": "http.request", "body": b"", "more_body": False}


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def app(sim: Simulator, tmp_path: Path) -> AsyncIterator[App]:
    config = load({"upstream": sim.origin, "port": "0"}, {"HOME": str(tmp_path)})
    with (tmp_path / "log").open("wb") as file:
        app = App(config, Log(file.fileno(), "json"))
    yield app
    await ended(app)


async def ended(app: App) -> None:
    server = Server({"type": "lifespan.shutdown"})
    await app({"type": "lifespan"}, server.receive, server.send)
    assert server.sent == [{"type": "lifespan.shutdown.complete"}]


async def asked(app: App, asking: dict[str, Any], *messages: dict[str, Any]) -> Server:
    server = Server(*(messages or (END,)))
    await app(asking, server.receive, server.send)
    return server


@pytest.mark.spec("server.lifespan")
async def test_starting_up_and_shutting_down_is_acknowledged(app: App) -> None:
    server = Server({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    await app({"type": "lifespan"}, server.receive, server.send)
    assert server.sent == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]


@pytest.mark.spec("server.lifespan")
async def test_a_server_without_lifespan_is_served_as_well(app: App, sim: Simulator) -> None:
    server = await asked(
        app, scope(method="POST", headers=[(b"content-length", b"3")]), {**END, "body": b"abc"}
    )
    assert (server.status, server.body) == (200, b"abc")


@pytest.mark.spec("server.lifespan")
async def test_shutting_down_aborts_what_is_left_and_closes_every_connection(
    sim: Simulator, tmp_path: Path
) -> None:
    config = load({"upstream": sim.origin, "port": "0"}, {"HOME": str(tmp_path)})
    with (tmp_path / "log").open("wb") as file:
        app = App(config, Log(file.fileno(), "json"))
    server = Server(END)
    asking = scope(b"/v1/messages", b"simulate=stall-mid-stream", "POST")
    exchange = asyncio.ensure_future(app(asking, server.receive, server.send))
    await server.until(2)
    await ended(app)
    await exchange
    assert server.sent[-1]["more_body"] is True  # left open, so that the server breaks the connection
    await sim.quiet()
    (line,) = (tmp_path / "log").read_bytes().splitlines()[-1:]
    assert msgspec.json.decode(line)["outcome"] == "shut down"


@pytest.mark.spec("server.drain", "server.no-new-requests")
async def test_draining_waits_for_what_runs_and_refuses_what_comes(app: App, sim: Simulator) -> None:
    server = Server(END)
    asking = scope(b"/v1/messages", b"simulate=stall-mid-stream&seconds=0.3", "POST")
    exchange = asyncio.ensure_future(app(asking, server.receive, server.send))
    await server.until(2)
    draining = asyncio.ensure_future(app.drain(30))
    await asyncio.sleep(0)
    refused = await asked(app, scope(b"/v1/messages", method="POST"))
    assert refused.status == 503
    assert (b"connection", b"close") in refused.sent[0]["headers"]
    assert (await asked(app, scope(b"/loom/readyz"))).status == 503
    assert (await asked(app, scope(b"/loom/healthz"))).status == 200
    assert not draining.done()
    await exchange
    await asyncio.wait_for(draining, 1)
    assert len(sim.requests) == 1


@pytest.mark.spec("server.drain")
async def test_draining_with_nothing_under_way_is_over_at_once(app: App) -> None:
    await app.drain(30)  # nothing was ever asked
    await asked(app, scope())
    await asyncio.wait_for(app.drain(30), 1)


@pytest.mark.spec("server.hurry")
async def test_hurrying_ends_a_drain_and_aborts_what_is_left(app: App, sim: Simulator) -> None:
    app.hurry()  # before anything was asked it means nothing
    server = Server(END)
    asking = scope(b"/v1/messages", b"simulate=stall-before-head", "POST")
    exchange = asyncio.ensure_future(app(asking, server.receive, server.send))
    await sim.received()
    draining = asyncio.ensure_future(app.drain(30))
    await asyncio.sleep(0)
    assert not draining.done()
    app.hurry()
    await asyncio.wait_for(draining, 2)
    await exchange
    assert server.status == 503
    await sim.aborted()


@pytest.mark.spec("relay.websocket")
async def test_a_websocket_is_refused_over_the_extension_for_http_answers(app: App, sim: Simulator) -> None:
    server = Server({"type": "websocket.connect"})
    await app({"type": "websocket", "path": "/"}, server.receive, server.send)
    start, body = server.sent
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 400)
    assert msgspec.json.decode(body["body"])["error"]["type"] == "invalid_request_error"
    assert sim.requests == []


@pytest.mark.parametrize("version", ["2", "3", "0.9", "2.0"])
@pytest.mark.spec("relay.http-1-only")
async def test_any_other_version_of_http_is_refused(version: str, app: App, sim: Simulator) -> None:
    for path in (b"/v1/messages", b"/loom/healthz"):
        server = await asked(app, scope(path, http_version=version))
        assert (server.status, msgspec.json.decode(server.body)["type"]) == (505, "error")
    assert sim.requests == []


@pytest.mark.spec("relay.own-pages")
async def test_a_body_for_our_own_pages_is_read_to_its_end(app: App) -> None:
    pieces = [{"type": "http.request", "body": b"x", "more_body": True}] * 50
    server = await asked(app, scope(b"/loom/nothing", method="POST"), *pieces, END)
    assert server.status == 404
    await until(server.queue.empty)


@pytest.mark.spec("relay.log")
async def test_ids_count_up_and_tell_processes_apart(sim: Simulator, tmp_path: Path) -> None:
    ids = []
    for name in ("one", "two"):
        config = load({"upstream": sim.origin, "port": "0"}, {"HOME": str(tmp_path)})
        with (tmp_path / name).open("wb") as file:
            app = App(config, Log(file.fileno(), "json"))
        await asked(app, scope())
        await asked(app, scope())
        await ended(app)
        ids += [msgspec.json.decode(line)["id"] for line in (tmp_path / name).read_bytes().splitlines()]
    assert [it.rpartition("-")[2] for it in ids] == ["1", "2", "1", "2"]
    assert len({it.rpartition("-")[0] for it in ids}) == 2


async def figures(app: App) -> dict[str, float]:
    page = (await asked(app, scope(b"/loom/metrics"))).body.decode()
    lines = (line.rpartition(" ") for line in page.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


@pytest.mark.spec("metrics.level")
async def test_the_exchanges_under_way_are_counted_when_the_page_is_read(app: App) -> None:
    server = Server(END)
    asking = scope(b"/v1/messages", b"simulate=stall-mid-stream", "POST")
    exchange = asyncio.ensure_future(app(asking, server.receive, server.send))
    await server.until(2)
    assert (await figures(app))["loom_streams_active"] == 1
    server.queue.put_nowait({"type": "http.disconnect"})
    await exchange
    assert (await figures(app))["loom_streams_active"] == 0


HELD = 'loom_proxy_overhead_seconds_{}{{what="request"}}'
LENGTH = [(b"content-length", b"3")]
PART = {"type": "http.request", "body": b"abc", "more_body": True}


@pytest.mark.spec("metrics.overhead")
async def test_a_request_is_held_from_its_last_byte_to_the_order_of_its_first_attempt(
    app: App, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(1_700_000_000_000_000_000, 1_800_000_000_000_000_000, 1_000_000))
    monkeypatch.setattr(Driver, "now", staticmethod(lambda: next(now)))
    sim.script("stale-keepalive")
    for _ in range(2):  # The second is tried again.
        await asked(app, scope(b"/v1/messages", method="POST", headers=LENGTH), PART, END)
    assert len(sim.requests) == 3
    told = await figures(app)
    assert told[HELD.format("count")] == 2
    # The clock goes on by 1 ms whenever it is asked: next for the order.
    assert told[HELD.format("sum")] == pytest.approx(2 * 0.001)


@pytest.mark.spec("metrics.overhead")
async def test_what_streams_up_or_never_goes_up_is_not_held(app: App) -> None:
    await asked(app, scope(method="POST", headers=LENGTH), PART, END)
    await asked(app, scope(b"/v1/messages", method="POST"), {"type": "http.disconnect"})
    told = await figures(app)
    assert told["loom_streams_active"] == 0
    assert HELD.format("count") not in told


@pytest.mark.spec("metrics.off")
async def test_with_turns_switched_off_no_exchange_is_measured(sim: Simulator, tmp_path: Path) -> None:
    config = load({"upstream": sim.origin, "port": "0", "trace_turns": "false"}, {"HOME": str(tmp_path)})
    with (tmp_path / "log").open("wb") as file:
        app = App(config, Log(file.fileno(), "json"))
    await asked(app, scope(b"/v1/messages", method="POST"))
    assert await figures(app) == {}
    await ended(app)
