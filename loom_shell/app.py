"""The ASGI application: each request becomes one exchange; `/loom/` is the Loom's own.

`app` is for any ASGI server (`hypercorn loom_shell.app:app`), configured by environment and
`loom.toml`; `loom serve` builds its own with the flags given.
"""

import asyncio
import random
import secrets
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import count

import httpx
from msgspec.structs import replace as evolve
from starlette.routing import BaseRoute, Mount, Route

from loom_core.actions import WatchFile
from loom_core.errors import Refusal
from loom_core.events import HookReported, RequestReceived
from loom_core.rules import SECOND, Rules
from loom_core.trace import SpanRecord
from loom_core.values import ExchangeKey, Headers, Request, TurnKey
from loom_shell.config import Config, ConfigError, load
from loom_shell.driver import Driver
from loom_shell.gateway import admit
from loom_shell.last_woven import LastWoven, woven_page
from loom_shell.log import Log, form_for
from loom_shell.own import hooks_page, own_pages, status_page
from loom_shell.readers import Readers
from loom_shell.recent import RecentTurns, turns_page
from loom_shell.relay import Others, Receive, Relay, Scope, Send
from loom_shell.replay.journal import journal_of
from loom_shell.target import target_of
from loom_shell.telemetry import Telemetry
from loom_shell.transport import Transport
from loom_shell.upstream import Upstream
from loom_shell.weaver import Weaver

_WEBSOCKET = Refusal(400, "invalid_request_error", "The Loom relays HTTP; it does not speak WebSocket.")
_NOT_HTTP_1 = Refusal(505, "invalid_request_error", "The Loom speaks HTTP/1.1.", close=True)

HOOKS, CORTEX = b"/loom/hooks", b"/loom/cortex/"
"""The pages of ours that read what they are sent."""
FLUSH_SECONDS = 5.0
"""What spans and figures still waiting get at the end, after the streams have drained."""
SWEEP_SECONDS = 0.02
"""A client that leaves is seen after two of these at the latest; upstream has 100 ms to hear of it."""

_REQUEST = (("what", "request"),)


class App:
    """Relays what is not its own. Without a `config` it loads one when the server starts it up."""

    def __init__(self, config: Config | None = None, log: Log | None = None) -> None:
        self._config = config
        self._log = log
        self._loom: Loom | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._loom_now().http(scope, receive, send)
            case "lifespan":
                await self._lifespan(receive, send)
            case "websocket":
                await _refuse_websocket(receive, send)

    async def drain(self, seconds: float) -> None:
        """Take no new exchange, wait for those under way, then abort what is left."""
        if self._loom is not None:
            await self._loom.drain(seconds)

    def hurry(self) -> None:
        """End a drain early: abort what is left now."""
        if self._loom is not None:
            self._loom.hurry()

    def _loom_now(self) -> "Loom":
        if self._loom is None:
            config = self._config or load({})
            self._loom = Loom(config, self._log or Log(2, form_for(config.log, 2)))
        return self._loom

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._loom_now().start()
                except ConfigError as error:
                    # Of `lifespan.startup.failed` a server makes a traceback, and the user wants a line.
                    print(f"loom: {error}", file=sys.stderr, flush=True)  # noqa: T201
                    asyncio.get_running_loop().call_soon(sys.exit, 2)
                    continue
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._loom is not None:
                    await self._loom.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return


class Loom:
    """What one process serves with: configuration, driver, upstream, and the exchanges under way."""

    def __init__(self, config: Config, log: Log) -> None:
        self._config = config
        self._log = log
        self._telemetry = Telemetry(config.telemetry, log)
        self._recent = RecentTurns()
        self._last = LastWoven()
        self._weaver = Weaver(config, log, self._telemetry.record)
        self._rules = config.rules
        self._journal = journal_of(config, log)
        self._driver = Driver(
            log,
            self._export,
            self._telemetry.record,
            self._weaver.remember,
            self._last.keep,
            self._watch,
            self._journal,
        )
        self._readers = Readers(config, self._driver, log, self._telemetry.record)
        self._upstream = Upstream(
            httpx.URL(config.origin.url),
            Transport(),
            key=config.gateway.key,
            connect_seconds=config.connect_timeout_seconds,
            silence_seconds=config.silence_timeout_seconds,
        )
        self._others = Others(self._upstream, self._weaver)
        self._running: dict[ExchangeKey, Relay] = {}
        self._measures = config.rules.tracing.tells
        if self._measures:
            self._telemetry.watch("loom.streams.active", lambda: len(self._running))
        self._rests: set[asyncio.Task[None]] = set()
        self._draining = False
        self._quiet = asyncio.Event()
        self._hurry = asyncio.Event()
        self._ids = _ids()
        self._sweep: asyncio.TimerHandle | None = None
        self._lasting: set[ExchangeKey] = set()
        self._own = own_pages(lambda: self._draining, lambda: len(self._running), self._pages())

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, target = target_of(scope)
        is_http_1 = scope["http_version"].startswith("1.")
        if is_http_1 and (path == HOOKS or path.startswith(CORTEX)):
            await self._own({**scope, "path": path.decode("latin-1"), "raw_path": path}, receive, send)
            return
        if path == b"/loom" or path.startswith(b"/loom/") or not is_http_1:
            # Our answers read no body. Someone must, or the server's queue fills and nothing moves again.
            rest = asyncio.get_running_loop().create_task(_drop(receive))
            self._rests.add(rest)
            rest.add_done_callback(self._rests.discard)
            if is_http_1:
                await self._own({**scope, "path": path.decode("latin-1"), "raw_path": path}, receive, send)
            else:
                await _refuse(_NOT_HTTP_1, send, "http")
            return
        headers: Headers = tuple(scope["headers"])
        key = ExchangeKey(next(self._ids))
        asked = RequestReceived(
            at=self._driver.now(),
            request=Request(scope["method"], target, headers),
            rules=self._rules_now(),
            admission=admit(headers, self._config.gateway),
            seed=random.getrandbits(64),
        )
        relay = Relay(key, self._driver, self._others, receive, send)
        self._running[key] = relay
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._watch_lasting)
        try:
            await relay.run(asked, refuse=self._draining)
        finally:
            del self._running[key]
            if not self._running:
                self._quiet.set()
            if self._measures and relay.held is not None:
                self._telemetry.record("loom.proxy.overhead", relay.held / SECOND, _REQUEST)

    def _rules_now(self) -> Rules:
        weaving = self._weaver.rules
        if weaving is not self._rules.weaving:
            self._rules = evolve(self._rules, weaving=weaving)
        return self._rules

    def _watch(self, order: WatchFile) -> None:
        self._readers.watch(order)

    def _export(self, span: SpanRecord) -> None:
        self._recent.keep(span)
        self._telemetry.emit(span)

    def _pages(self) -> list[BaseRoute]:
        gateway = self._config.gateway
        cortex = self._readers.cortex()
        return [
            *([Mount("/loom/cortex", cortex)] if cortex else []),
            Route("/loom/metrics", self._telemetry.metrics_page),
            Route("/loom/status", status_page(self._status, gateway)),
            Route("/loom/turns", turns_page(self._recent, gateway)),
            Route("/loom/woven", woven_page(self._last, gateway)),
            Route("/loom/hooks", hooks_page(gateway, self._hooked), methods=["POST"]),
        ]

    def _hooked(self, key: TurnKey, hook: str, prompt_id: str, tool_use_id: str) -> None:
        self._driver.dispatch(key, HookReported(self._driver.now(), hook, prompt_id, tool_use_id))

    def _watch_lasting(self) -> None:
        """Watch the client of each exchange that outlives a sweep.

        Most that a client could leave unseen is over by then, and a watcher for each from its start
        would cost more than the rest of the relay.
        """
        for key in self._lasting & self._running.keys():
            self._running[key].watch()
        self._lasting = set(self._running)
        again = asyncio.get_running_loop().call_later
        self._sweep = again(SWEEP_SECONDS, self._watch_lasting) if self._running else None

    def _end_sweep(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()

    async def _status(self) -> dict[str, object]:
        exchanges = {"exchanges": len(self._running), "is_draining": self._draining}
        return {**exchanges, **self._weaver.status(), **await self._readers.status()}

    async def start(self) -> None:
        await self._weaver.start()
        self._readers.start()

    async def drain(self, seconds: float) -> None:
        self._draining = True
        if self._running:
            self._log.note("info", "draining", exchanges=len(self._running), seconds=seconds)
            await self._until_quiet(seconds)
        if self._running:
            self._log.note("warning", "drain time is over: aborting", exchanges=len(self._running))
            for relay in list(self._running.values()):
                relay.shut_down()
            self._hurry.clear()
            await self._until_quiet(1.0)

    def hurry(self) -> None:
        self._hurry.set()

    async def _until_quiet(self, seconds: float) -> None:
        self._quiet.clear()
        waits = [asyncio.ensure_future(event.wait()) for event in (self._quiet, self._hurry)]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def aclose(self) -> None:
        """Let go of everything, whatever fails on the way; the log last."""
        async with AsyncExitStack() as after:
            after.callback(self._log.close, 1.0)
            if self._journal is not None:
                after.push_async_callback(asyncio.to_thread, self._journal.close, FLUSH_SECONDS)
            after.push_async_callback(asyncio.to_thread, self._telemetry.close, FLUSH_SECONDS)
            after.push_async_callback(self._weaver.aclose)
            after.push_async_callback(self._readers.aclose)
            after.callback(self._driver.end_turns)
            after.push_async_callback(self._upstream.aclose)
            after.callback(self._end_sweep)
            await self.drain(0.0)


def _ids() -> Iterator[str]:
    boot = secrets.token_hex(3)
    return (f"{boot}-{number}" for number in count(1))


async def _drop(receive: Receive) -> None:
    """Read a request to the disconnect that the server reports after its response."""
    while (await receive())["type"] == "http.request":
        pass


async def _refuse_websocket(receive: Receive, send: Send) -> None:
    await receive()
    await _refuse(_WEBSOCKET, send, "websocket.http")


async def _refuse(refusal: Refusal, send: Send, kind: str) -> None:
    body = refusal.body
    start = {"status": refusal.status, "headers": refusal.headers(body)}
    await send({"type": f"{kind}.response.start", **start})
    await send({"type": f"{kind}.response.body", "body": body})


app = App()
