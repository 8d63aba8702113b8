"""One exchange in the shell, with a server and an upstream that do their worst at the worst time."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loom_shell import relay as module
from loom_shell.app import App
from loom_shell.config import load
from loom_shell.log import Log
from loom_shell.simulator import Ending, Scenario, Simulator, Upload
from loom_shell.simulator.steps import Reset, Send, Step, Wait
from tests.shell.test_app import END, Server, ended, scope
from tests.support.deaf import Deaf, deaf, write_profile
from tests.support.wire import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


class Loomed:
    """An app in front of a simulator, with its log."""

    def __init__(self, app: App, path: Path) -> None:
        self.app = app
        self.path = path

    async def begin(self, server: Server, **asking: Any) -> "asyncio.Future[None]":  # noqa: ANN401
        return asyncio.ensure_future(self.app(scope(**asking), server.receive, server.send))

    async def lines(self, count: int = 1) -> list[dict[str, Any]]:
        await until(lambda: self.path.read_bytes().count(b"\n") >= count)
        return [msgspec.json.decode(line) for line in self.path.read_bytes().splitlines()]


@pytest.fixture
async def loomed(sim: Simulator, tmp_path: Path) -> AsyncIterator[Loomed]:
    flags = {"upstream": sim.origin, "port": "0", "retry_base_seconds": "0.01"}
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    app = App(load(flags, {"HOME": str(tmp_path)}), Log(fd, "json"))
    os.close(fd)
    yield Loomed(app, path)
    await ended(app)


def chunk(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


class Refusing(Server):
    """A server that will not take the answer."""

    async def send(self, message: Any) -> None:  # noqa: ANN401, ARG002
        self.queue.put_nowait({"type": "http.disconnect"})
        raise ValueError("a header it holds invalid")


@pytest.mark.spec("relay.server-refuses")
async def test_an_answer_the_server_will_not_take_ends_the_exchange_and_upstream(
    sim: Simulator, loomed: Loomed
) -> None:
    exchange = await loomed.begin(
        Refusing(END), path=b"/v1/messages", query=b"simulate=stall-mid-stream", method="POST"
    )
    await asyncio.wait_for(exchange, 5)
    await sim.aborted()
    note, line = await loomed.lines(2)
    assert note["text"] == "the answer could not be relayed: ValueError: a header it holds invalid"
    assert line["outcome"] == "client gone"


@pytest.mark.parametrize("name", ["stall-before-head", "stall-mid-stream"])
@pytest.mark.spec("relay.let-go")
async def test_a_server_that_lets_go_of_the_connection_ends_the_exchange_with_its_line(
    name: str, sim: Simulator, loomed: Loomed
) -> None:
    server = Server(END)
    exchange = await loomed.begin(
        server, path=b"/v1/messages", query=b"simulate=%b" % name.encode(), method="POST"
    )
    await sim.received()
    if name == "stall-mid-stream":
        await server.until(2)
    exchange.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange
    await sim.aborted()
    server.queue.put_nowait({"type": "http.disconnect"})
    (line,) = await loomed.lines()
    assert line["outcome"] == "client gone"


@pytest.mark.spec("relay.cancel")
async def test_a_disconnect_before_the_request_is_complete_sends_nothing_whole_upstream(
    sim: Simulator, loomed: Loomed
) -> None:
    server = Server(chunk(b'{"messages":'), {"type": "http.disconnect"})
    headers = [(b"content-length", b"500")]
    await asyncio.wait_for(
        await loomed.begin(server, path=b"/v1/messages", method="POST", headers=headers), 5
    )
    assert server.sent == []
    assert sim.requests == []


@pytest.mark.spec("relay.early-answer")
async def test_an_early_answer_ends_only_when_the_rest_of_the_request_was_read(
    sim: Simulator, loomed: Loomed
) -> None:
    head = b"HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno"
    sim.script(Scenario("early", lambda _: [Send(head), Wait(5)], upload=Upload.IGNORED))
    server = Server(chunk(b"x" * 100))
    headers = [(b"content-length", b"300")]
    exchange = await loomed.begin(server, path=b"/v1/files", method="PUT", headers=headers)
    await server.until(2)  # head and body are with the client
    assert server.body == b"no"
    server.queue.put_nowait(chunk(b"x" * 100))
    await asyncio.sleep(0.05)
    assert len(server.sent) == 2
    server.queue.put_nowait(chunk(b"x" * 100, more=False))
    await asyncio.wait_for(exchange, 5)
    assert server.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


@pytest.mark.spec("relay.early-answer")
async def test_the_wait_for_the_rest_of_a_request_is_bounded(
    sim: Simulator, loomed: Loomed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.05)
    head = b"HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno"
    sim.script(Scenario("early", lambda _: [Send(head), Wait(5)], upload=Upload.IGNORED))
    server = Server(chunk(b"x" * 100))
    headers = [(b"content-length", b"300")]
    exchange = await loomed.begin(server, path=b"/v1/files", method="PUT", headers=headers)
    await asyncio.wait_for(exchange, 5)
    assert server.sent[-1]["more_body"] is False


@pytest.mark.spec("relay.early-answer")
async def test_after_a_broken_answer_the_rest_of_the_request_is_still_taken_from_the_server(
    sim: Simulator, loomed: Loomed
) -> None:
    """A server whose queue stays full cannot close the connection."""
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nab"
    steps: list[Step] = [Send(head), Wait(0.05), Reset()]
    sim.script(Scenario("break", lambda _: steps, Ending.BROKEN, Upload.IGNORED))
    server = Server(*[chunk(b"x" * 100_000) for _ in range(200)])
    headers = [(b"content-length", b"300000000")]
    exchange = await loomed.begin(server, path=b"/v1/files", method="PUT", headers=headers)
    await asyncio.wait_for(exchange, 5)
    assert server.sent[-1]["more_body"] is True
    await until(server.queue.empty)
    server.queue.put_nowait({"type": "http.disconnect"})


class Slow(Server):
    """A server whose client takes nothing until told."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        super().__init__(*messages)
        self.takes = asyncio.Event()

    async def send(self, message: Any) -> None:  # noqa: ANN401
        await super().send(message)
        if message["type"] == "http.response.body":
            await self.takes.wait()


@pytest.mark.spec("relay.back-pressure-down")
async def test_upstream_is_read_only_as_fast_as_the_client_takes(sim: Simulator, loomed: Loomed) -> None:
    sent = [0]

    def steps(_: object) -> Iterator[Step]:
        yield Send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        for _ in range(1000):
            sent[0] += 100_000
            yield Send(b"x" * 100_000)

    sim.script(Scenario("flood", steps))
    server = Slow(END)
    exchange = await loomed.begin(server)
    await server.until(2)
    before = -1
    while sent[0] != before:
        before = sent[0]
        await asyncio.sleep(0.2)
    assert before < 50_000_000
    assert len(server.sent) == 2
    server.queue.put_nowait({"type": "http.disconnect"})
    await asyncio.wait_for(exchange, 5)
    await sim.aborted()


@pytest.mark.spec("relay.cancel")
async def test_a_client_that_left_while_a_chunk_waited_for_it_is_sent_no_more(
    sim: Simulator, loomed: Loomed
) -> None:
    server = Slow(END)
    exchange = await loomed.begin(server, path=b"/v1/x", query=b"simulate=paced&frames=100&rate=500")
    await server.until(2)
    server.queue.put_nowait({"type": "http.disconnect"})
    await asyncio.wait_for(exchange, 5)
    assert len(server.sent) == 2
    (line,) = await loomed.lines()
    assert line["outcome"] == "client gone"
    await sim.aborted()


@pytest.mark.spec("server.drain-deadline")
async def test_shutting_down_breaks_an_answer_that_waits_for_its_client(
    sim: Simulator, loomed: Loomed
) -> None:
    server = Slow(END)
    exchange = await loomed.begin(server, path=b"/v1/x", query=b"simulate=huge-json")
    await server.until(2)
    await loomed.app.drain(0.01)
    await asyncio.wait_for(exchange, 5)
    assert server.sent[-1]["more_body"] is True
    server.queue.put_nowait({"type": "http.disconnect"})


SAID = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"Tea?"}]}'


@pytest.fixture
async def store() -> AsyncIterator[Deaf]:
    async with deaf() as one:
        yield one


@pytest.fixture
async def weaving(sim: Simulator, store: Deaf, tmp_path: Path) -> AsyncIterator[Loomed]:
    """A Loom with a profile, whose store keeps every request waiting."""
    write_profile(tmp_path, "I am Ann.")
    flags = {"upstream": sim.origin, "port": "0", "home": str(tmp_path), "redis_url": store.url}
    path = tmp_path / "log"
    with path.open("ab") as file:
        log = Log(file.fileno(), "json")
    app = App(load({**flags, "redis_deadline_seconds": "5"}, {"HOME": str(tmp_path)}), log)
    server = Server({"type": "lifespan.startup"})
    lifespan = asyncio.ensure_future(app({"type": "lifespan"}, server.receive, server.send))
    await server.until(1)
    yield Loomed(app, path)
    server.queue.put_nowait({"type": "lifespan.shutdown"})
    await asyncio.wait_for(lifespan, 5)


async def begun(weaving: Loomed, server: Server) -> "asyncio.Future[None]":
    headers = [(b"content-length", b"%d" % len(SAID)), (b"x-loom-source", b"ann")]
    return await weaving.begin(server, path=b"/v1/messages", method="POST", headers=headers)


@pytest.mark.spec("weaver.leaves")
async def test_a_client_that_leaves_while_the_store_is_asked_ends_its_exchange_and_nothing_goes_up(
    sim: Simulator, store: Deaf, weaving: Loomed
) -> None:
    server = Server(chunk(SAID, more=False))
    exchange = await begun(weaving, server)
    await asyncio.wait_for(store.asked.wait(), 5)
    server.queue.put_nowait({"type": "http.disconnect"})
    await asyncio.wait_for(exchange, 2)
    (line,) = await weaving.lines()
    assert (line["outcome"], line["attempts"], line["status"]) == ("client gone", 0, None)
    assert server.sent == []
    assert sim.requests == []


@pytest.mark.spec("weaver.drains")
async def test_a_request_that_is_still_being_woven_when_the_drain_time_is_over_is_refused(
    sim: Simulator, store: Deaf, weaving: Loomed
) -> None:
    server = Server(chunk(SAID, more=False))
    exchange = await begun(weaving, server)
    await asyncio.wait_for(store.asked.wait(), 5)
    await asyncio.wait_for(weaving.app.drain(0.01), 2)
    await asyncio.wait_for(exchange, 2)
    assert server.status == 503
    assert server.sent[-1]["more_body"] is False
    line = (await weaving.lines(3))[-1]
    assert (line["outcome"], line["attempts"], line["status"]) == ("shut down", 0, 503)
    assert sim.requests == []


@pytest.mark.spec("weaver.leaves")
async def test_a_server_that_lets_go_while_the_store_is_asked_ends_the_exchange_with_its_line(
    sim: Simulator, store: Deaf, weaving: Loomed
) -> None:
    exchange = await begun(weaving, Server(chunk(SAID, more=False)))
    await asyncio.wait_for(store.asked.wait(), 5)
    exchange.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange
    (line,) = await weaving.lines()
    assert line["outcome"] == "client gone"
    assert sim.requests == []
