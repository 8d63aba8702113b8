import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from sqlalchemy import exc, text

from loom_shell.scribe.engine import FILE_NAME, WRITES, cut, engine
from loom_shell.scribe.schema import SchemaRefusedError
from loom_shell.scribe_url import Postgres, postgres

SLOW = {
    "sqlite": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(50)",
}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.spec("scribe.file")
def test_the_file_is_its_owners_alone_and_outlives_a_power_cut(tmp_path: Path) -> None:
    path = tmp_path / "made" / FILE_NAME
    mask = os.umask(0)
    try:
        made = engine(path)
        with made.connect() as connection:
            journal = connection.execute(text("PRAGMA journal_mode")).scalar_one()
            synchronous = connection.execute(text("PRAGMA synchronous")).scalar_one()
            connection.execute(text("CREATE TABLE a (b)"))
            assert (journal, synchronous) == ("wal", 2)
            assert {mode(one) for one in path.parent.iterdir()} == {0o600}
    finally:
        os.umask(mask)
    made.dispose()
    assert mode(path.parent) == 0o700


@pytest.mark.spec("scribe.file")
def test_a_file_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.touch(0o644)
    made = engine(path)
    made.connect().close()
    made.dispose()
    assert mode(path) == 0o600


@pytest.mark.spec("scribe.trouble")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    os.mkfifo(path)
    with pytest.raises(SchemaRefusedError, match="not a regular file"):
        engine(path).connect()


def test_who_writes_keeps_other_writers_out_and_lets_readers_in(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    made = engine(path)
    with made.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT * FROM sqlite_master").fetchall()
        other.execute("ROLLBACK")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
    made.dispose()


@pytest.mark.spec("scribe.bounded")
def test_what_goes_on_at_a_connection_can_be_cut_from_another_thread(place: Postgres | Path) -> None:
    made = engine(place)
    with made.connect() as connection:
        timer = threading.Timer(0.1, cut, (connection.connection.dbapi_connection,))
        timer.start()
        with pytest.raises(exc.OperationalError):
            connection.execute(text(SLOW[made.dialect.name]))
        timer.join()
        connection.invalidate()
    made.dispose()
    # Of one that is closed already there is nothing to cut.
    driver = sqlite3.connect(":memory:")
    driver.close()
    cut(driver)
    cut(None)


@pytest.mark.spec("scribe.url")
def test_no_engine_shows_the_password() -> None:
    made = engine(postgres("postgresql://loom:hunter2hunter2@127.0.0.1:1/d"))
    assert "hunter2" not in f"{made!r} {made.url!r} {made.pool!r}"
    with pytest.raises(exc.OperationalError) as refused:
        made.connect()
    assert "hunter2" not in f"{refused.value!r}"
