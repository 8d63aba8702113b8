"""An engine on a place: a SQLite file of the owner alone, or a database of a PostgreSQL server."""

import os
import socket
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event

from loom_shell.scribe.schema import SchemaRefusedError
from loom_shell.scribe_url import Postgres
from loom_shell.sqlite_file import NotRegularError, opened

FILE_NAME = "transcripts.sqlite"
WAIT_SECONDS = 2.0
"""How long a database that others write is waited for; who stores tries again later."""
CONNECT_SECONDS = 5
WRITES = "loom_writes"
"""The option of a connection on which a transaction is begun to write."""


def engine(place: Postgres | Path) -> Engine:
    """An engine of one connection at a time, that may go from thread to thread."""
    if isinstance(place, Postgres):
        made = create_engine(
            "postgresql+psycopg://", creator=lambda: _postgres(place), pool_size=1, max_overflow=0
        )
    else:
        made = create_engine(
            "sqlite://", creator=lambda: _sqlite(place), poolclass=QueuePool, pool_size=1, max_overflow=0
        )
        event.listen(made, "begin", _begin)
    return made


def cut(driver: Any) -> None:  # noqa: ANN401 - a connection of either driver
    """Make what goes on at a driver's connection fail, from another thread."""
    if isinstance(driver, sqlite3.Connection):
        with suppress(sqlite3.ProgrammingError):
            driver.interrupt()
        return
    # A server that was stopped answers no cancellation either: its connection ends.
    with suppress(OSError, Exception), socket.socket(fileno=os.dup(driver.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def _begin(connection: Connection) -> None:
    # With IMMEDIATE who writes waits for another at once, and never between reading and writing.
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgres(place: Postgres) -> Any:  # noqa: ANN401 - psycopg is there only where it is wanted
    import psycopg  # noqa: PLC0415 - an extra that most do not have

    options: dict[str, Any] = {
        "host": place.host or None,
        "port": place.port,
        "user": place.user or None,
        "password": place.password.expose() if place.password else None,
        "application_name": "loom scribe",
        **dict(place.options),
    }
    return psycopg.connect(
        dbname=place.database,
        connect_timeout=CONNECT_SECONDS,
        client_encoding="utf-8",
        options=f"-c lock_timeout={round(WAIT_SECONDS * 1_000)} -c idle_in_transaction_session_timeout=60000",
        **{name: value for name, value in options.items() if value is not None},
    )


def _sqlite(path: Path) -> sqlite3.Connection:
    try:
        db = opened(path, time.monotonic() + WAIT_SECONDS, anywhere=True)
    except NotRegularError:
        raise SchemaRefusedError("is not a regular file: name another folder") from None
    # What is acknowledged is gone from the stream: it must outlive a power cut as well.
    db.execute("PRAGMA synchronous = FULL")
    return db
