"""A Loom that runs here: the app under Hypercorn, as `loom serve` sets it up, in the test's own loop."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from hypercorn.asyncio import serve

from loom_shell.app import App
from loom_shell.config import Config, load
from loom_shell.log import Log
from loom_shell.server import hypercorn_config, listen
from tests.support.wire import Caller, dial, until

QUICK = {"retry_base_seconds": "0.01", "retry_cap_seconds": "0.05"}
"""Retries that do not make a test wait."""

DEADLINE = 5.0


class RunningLoom:
    """A Loom that listens on `port`. `faults` holds what reached the loop's exception handler."""

    def __init__(self, app: App, config: Config, port: int, log: Log) -> None:
        self.app = app
        self._log = log
        self._marks = 0
        self.config = config
        self.port = port
        self.faults: list[Mapping[str, Any]] = []
        self.raw_log = bytearray()
        self._changed = threading.Condition()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def dial(self, *, receive_buffer: int | None = None) -> Caller:
        return await dial(self.port, receive_buffer=receive_buffer)

    @property
    def running(self) -> int:
        """Exchanges under way."""
        return len(self.app._loom._running) if self.app._loom else 0

    @property
    def upstream_connections(self) -> int:
        return self.app._loom._upstream._transport.connections if self.app._loom else 0  # type: ignore[attr-defined]

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log so far."""
        with self._changed:
            whole = bytes(self.raw_log).rpartition(b"\n")[0]
        return [msgspec.json.decode(line) for line in whole.splitlines()]

    @property
    def exchanges(self) -> list[dict[str, Any]]:
        """The log's lines about exchanges."""
        return [line for line in self.lines if "outcome" in line]

    @property
    def notes(self) -> list[dict[str, Any]]:
        """The log's other lines: warnings, tracebacks of the server."""
        return [line for line in self.lines if "outcome" not in line]

    async def logged(self, count: int = 1, within: float = DEADLINE) -> list[dict[str, Any]]:
        """The exchanges' lines, once there are `count` of them."""

        def there() -> bool:
            return self.raw_log.count(b'"outcome"') >= count

        def wait() -> bool:
            with self._changed:
                return self._changed.wait_for(there, within)

        if not await asyncio.to_thread(wait):
            raise TimeoutError(f"{len(self.exchanges)} of {count} lines: {self.raw_log!r}")
        return self.exchanges

    def forget(self) -> None:
        """Start the log anew."""
        with self._changed:
            self.raw_log.clear()

    async def idle(self, within: float = DEADLINE) -> None:
        """Wait until no exchange is under way and every line of the log is here."""
        await until(lambda: not self.running, within)
        self._marks += 1
        mark = f'"text":"mark {self._marks}"}}\n'.encode()
        self._log.note("info", f"mark {self._marks}")

        def wait() -> bool:
            with self._changed:
                return self._changed.wait_for(lambda: mark in self.raw_log, within)

        assert await asyncio.to_thread(wait)
        with self._changed:
            end = self.raw_log.index(mark)
            del self.raw_log[self.raw_log.rindex(b'{"time"', 0, end) : end + len(mark)]

    def _read_log(self, fd: int) -> None:
        while piece := os.read(fd, 65_536):
            with self._changed:
                self.raw_log += piece
                self._changed.notify_all()
        os.close(fd)


@asynccontextmanager
async def loom(upstream: str, **flags: str | bool) -> AsyncIterator[RunningLoom]:
    """Run a Loom in front of `upstream` until the block ends. `flags` are those of `config.load`.

    It sees no setting of this machine: neither the environment nor a file.
    """
    with TemporaryDirectory() as folder:
        variables = {"HOME": folder, **{k: str(v) for k, v in flags.items() if k.startswith("LOOM_")}}
        given = {k: v for k, v in flags.items() if not k.startswith("LOOM_")}
        config = load({"upstream": upstream, "port": "0", "home": folder, **QUICK, **given}, variables)
        async with _running(config) as running:
            yield running


@asynccontextmanager
async def _running(config: Config) -> AsyncIterator[RunningLoom]:
    readable, writable = os.pipe()
    log = Log(writable, "json")
    os.close(writable)
    with listen(config) as sock:
        app = App(config, log)
        settings = hypercorn_config(sock, log)
        running = RunningLoom(app, config, sock.getsockname()[1], log)
    reader = threading.Thread(target=running._read_log, args=(readable,), daemon=True)
    reader.start()
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: running.faults.append(context))
    stop = asyncio.Event()
    serving = loop.create_task(serve(app, settings, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
    try:
        yield running
    finally:
        stop.set()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(serving, 10.0)
        loop.set_exception_handler(before)
        log.close(2.0)
        await asyncio.to_thread(reader.join, 5.0)


def tokens(folder: Path, **known: str) -> str:
    """A file of client tokens (name -> token), as `loom token` writes it; its path."""
    from loom_shell.gateway import ClientToken, digest_of, write_tokens  # noqa: PLC0415 - one test file wants it

    path = folder / "client-tokens"
    write_tokens(path, tuple(ClientToken(name, digest_of(token.encode())) for name, token in known.items()))
    return str(path)
