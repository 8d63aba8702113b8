"""Running the app under Hypercorn: sockets, workers, signals, and a bounded drain.

One worker runs in this process. With more, this process binds the socket, forks the workers,
replaces one that dies, passes signals on, and leaves last; a worker that loses it drains and ends.
"""

import asyncio
import gc
import logging
import os
import select
import signal
import socket
import struct
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import h11
import hypercorn.asyncio.run
import hypercorn.config
import uvloop
from hypercorn.asyncio import serve
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.events import Closed, Event, RawData

from loom_shell.app import App
from loom_shell.config import Config
from loom_shell.log import Log, LoggingBridge, form_for

BACKLOG = 2_048
CLIENT_KEEP_ALIVE_SECONDS = 120.0
"""Longer than the pauses between a client's calls, so that it seldom meets a closed connection."""
MAX_REQUEST_HEAD = 131_072
_ENDING = (signal.SIGTERM, signal.SIGINT)
_LAST_SECONDS = 3.0
_RESTART_PAUSE_SECONDS = 1.0
_WATCH_SECONDS = 0.04
"""A client that went is to be noticed within 0.1 s."""
_COLLECTED_AT = 5_000
"""New objects after which cycles are looked for: its own figure, 700, is reached with a few calls."""


class CannotBind(Exception):  # noqa: N818  # It says what happened.
    """The address cannot be listened on; `str()` is one line for the user."""


class _ClientConnection(TCPServer):
    """Hypercorn's connection of a client, mended where version 0.18 is not enough for a relay."""

    async def run(self) -> None:
        self._task = asyncio.current_task()
        self._left = False
        # A connection that was cancelled is over like any other; asyncio 3.11 would print a traceback.
        with suppress(asyncio.CancelledError):
            await super().run()

    async def _read_data(self) -> None:
        # An upgrade to HTTP/2 may be ignored (RFC 9110 section 7.8). It must be: in HTTP/2 Hypercorn
        # never tells the client of an answer that broke off.
        self.protocol.protocol._check_protocol = _no_upgrade  # type: ignore[union-attr, method-assign]  # noqa: SLF001
        while not self.reader.at_eof():
            try:
                received = await self.reader.read(MAX_RECV)
            except OSError:
                break
            self._watch()
            try:
                await self.protocol.handle(RawData(received))
            finally:
                self._timer.cancel()
        self._left = True
        await self.protocol.handle(Closed())
        # Or the socket of a client that left is held until the keep-alive time is over.
        await self.idle_task.stop()

    async def _idle_timeout(self) -> None:
        if not self._left:
            await super()._idle_timeout()

    def _watch(self) -> None:
        """While the app has no room for more nothing is read, so a reset goes unseen: look for it."""
        self._timer = self.loop.call_later(_WATCH_SECONDS, self._look)

    def _look(self) -> None:
        sock = self.writer.get_extra_info("socket")
        gone = self.reader.at_eof() or sock.fileno() < 0
        if not gone:
            look = select.poll()
            look.register(sock, 0)  # POLLHUP and POLLERR come unasked.
            gone = bool(look.poll(0))
        if not gone:
            self._watch()
        elif self._task is not None:
            self._task.cancel()

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, Closed) and self._cut_short():
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        else:
            await super().protocol_send(event)

    def _cut_short(self) -> bool:
        """Whether a body stops that only the connection's end delimits: then the end must be a reset."""
        http = getattr(self.protocol.protocol, "connection", None)
        if not isinstance(http, h11.Connection):
            return False
        return http.our_state is h11.SEND_BODY and http.their_http_version == b"1.0"


async def _no_upgrade(_: h11.Request) -> None:
    """Take the request as it is."""


# Hypercorn has no setting for the class of a connection; `hypercorn.asyncio.serve` finds it by this name.
hypercorn.asyncio.run.TCPServer = _ClientConnection  # type: ignore[attr-defined]


def listen(config: Config) -> socket.socket:
    """Bind and listen; raises `CannotBind`."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=BACKLOG)
    except OSError as error:
        # `create_server` adds the address to the words of the system, in a form of Python's own.
        is_name = isinstance(error, socket.gaierror)
        reason = error.strerror if is_name or error.errno is None else os.strerror(error.errno)
        raise CannotBind(
            f"cannot listen on {config.host}:{config.port}: {reason}; choose another --host or --port"
        ) from error


def run(config: Config, sock: socket.socket, on_ready: Callable[[], None]) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. `on_ready` is called once, when requests are taken."""
    if config.workers == 1:
        _work(config, sock, on_ready, parent=None)
        return 0
    return _Workers(config, sock).run(on_ready)


def hypercorn_config(sock: socket.socket, log: Log) -> hypercorn.config.Config:
    """Hypercorn as the relay needs it: no header of its own, case of header names kept."""
    settings = hypercorn.config.Config()
    settings.bind = [f"fd://{os.dup(sock.fileno())}"]
    settings.backlog = BACKLOG
    settings.include_server_header = False
    settings.include_date_header = False
    settings.h11_pass_raw_headers = True
    settings.h11_max_incomplete_size = MAX_REQUEST_HEAD
    settings.keep_alive_timeout = CLIENT_KEEP_ALIVE_SECONDS
    settings.keep_alive_max_requests = 2**31
    settings.graceful_timeout = _LAST_SECONDS
    logger = logging.getLogger("loom.hypercorn")
    logger.handlers = [LoggingBridge(log)]
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    settings.errorlog = logger
    return settings


def _work(config: Config, sock: socket.socket, on_ready: Callable[[], None], parent: int | None) -> None:
    """One worker, from its first request to the end of its drain. `parent`: a pipe that ends with it."""
    log = Log(2, form_for(config.log, 2))
    app = App(config, log)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(app, config, hypercorn_config(sock, log), on_ready, parent))


async def _serve(
    app: App,
    config: Config,
    settings: hypercorn.config.Config,
    on_ready: Callable[[], None],
    parent: int | None,
) -> None:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    def stop() -> None:
        if told.is_set():
            app.hurry()
        told.set()

    for number in _ENDING:
        loop.add_signal_handler(number, stop)

    def orphaned(pipe: int) -> None:
        loop.remove_reader(pipe)
        stop()

    if parent is not None:
        loop.add_reader(parent, orphaned, parent)

    async def until_drained() -> None:
        _settle()
        on_ready()
        await told.wait()
        await app.drain(config.drain_seconds)

    await serve(app, settings, shutdown_trigger=until_drained)  # type: ignore[arg-type]


def _settle() -> None:
    """What was made so far stays: let no collection look at it again, which takes tens of milliseconds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_AT)


class _Workers:
    """The parent of the workers."""

    def __init__(self, config: Config, sock: socket.socket) -> None:
        self._config = config
        self._sock = sock
        self._children: set[int] = set()
        self._stopping = False
        self._alive, self._mine = os.pipe()

    def run(self, on_ready: Callable[[], None]) -> int:
        for number in _ENDING:
            signal.signal(number, self._pass_on)
        for _ in range(self._config.workers):
            self._fork()
        on_ready()
        while self._children:
            with suppress(ChildProcessError):
                pid, status = os.wait()
                self._children.discard(pid)
                if not self._stopping:
                    self._report(pid, os.waitstatus_to_exitcode(status))
                    time.sleep(_RESTART_PAUSE_SECONDS)
                    self._fork()
        return 0

    def _fork(self) -> None:
        # Between the fork and the note of its child a signal would be passed on to all but that one.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        if not self._stopping:
            pid = os.fork()
            if pid == 0:
                self._become_worker()
            self._children.add(pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)

    def _become_worker(self) -> NoReturn:
        code = 1
        try:
            # A signal that comes before the worker can drain ends it; passing signals on is for the parent.
            for number in _ENDING:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
            os.close(self._mine)
            _work(self._config, self._sock, lambda: None, self._alive)
            code = 0
        except Exception:  # noqa: BLE001  # Nothing above this line reports what ends a worker.
            traceback.print_exc()
        finally:
            os._exit(code)

    def _report(self, pid: int, code: int) -> None:
        log = Log(2, form_for(self._config.log, 2))
        log.note("error", "a worker ended; another takes its place", pid=pid, code=code)
        # Its thread must have ended before the fork.
        log.close(1.0)

    def _pass_on(self, number: int, _: object) -> None:
        self._stopping = True
        for pid in self._children:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
