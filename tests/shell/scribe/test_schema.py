import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from loom_shell.scribe import schema
from loom_shell.scribe.database import Database
from loom_shell.scribe.engine import WRITES, engine
from loom_shell.scribe.trouble import DatabaseTroubleError
from loom_shell.scribe_url import Postgres
from tests.support.postgres import Server
from tests.support.scribed import told

LATER = ("ALTER TABLE transcript_line ADD COLUMN mood TEXT NOT NULL DEFAULT ''",)
NAMES = {"transcript_line", "transcript_usage", "transcript_schema"}


def asked(place: Postgres | Path, *statements: str) -> list[tuple[object, ...]]:
    """The rows of the last statement, asked by somebody else."""
    found: list[tuple[object, ...]] = []
    made = engine(place)
    with made.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        for one in statements:
            done = connection.execute(text(one))
            found = [tuple(row) for row in done] if done.returns_rows else []
    made.dispose()
    return found


def tables(place: Postgres | Path) -> set[str]:
    made = engine(place)
    with made.connect() as connection:
        found = inspect(connection).get_table_names()
    made.dispose()
    return {name for name in found if not name.startswith("transcript_words")}


@pytest.mark.spec("scribe.version")
def test_what_is_made_is_the_newest_version(database: Database) -> None:
    assert database.store([told(1)]) == 1
    assert tables(database.place) == NAMES
    made = "postgresql" if isinstance(database.place, Postgres) else "sqlite"
    assert asked(database.place, "SELECT version FROM transcript_schema") == [(len(schema.STEPS[made]),)]


@pytest.mark.spec("scribe.version")
def test_an_older_version_is_brought_up_to_date(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.store([told(1)])
    database.close()
    longer = {kind: (*steps, LATER) for kind, steps in schema.STEPS.items()}
    monkeypatch.setattr(schema, "STEPS", longer)
    assert database.store([told(1), told(2)]) == 1
    found = asked(database.place, "SELECT mood FROM transcript_line")
    assert found == [("",), ("",)]
    assert asked(database.place, "SELECT version FROM transcript_schema") == [(2,)]


@pytest.mark.spec("scribe.version")
def test_a_step_that_fails_changes_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.store([told(1)])
    database.close()
    with monkeypatch.context() as patch:
        wrong = {kind: (*steps, LATER, ("no SQL",)) for kind, steps in schema.STEPS.items()}
        patch.setattr(schema, "STEPS", wrong)
        with pytest.raises(DatabaseTroubleError):
            database.store([told(2)])
    assert asked(database.place, "SELECT version FROM transcript_schema") == [(1,)]
    assert database.store([told(1), told(2)]) == 1


@pytest.mark.spec("scribe.version")
def test_a_newer_version_is_refused_and_left_as_it_is(database: Database) -> None:
    database.store([told(1)])
    database.close()
    asked(database.place, "UPDATE transcript_schema SET version = 99")
    for use in (lambda: database.store([told(2)]), lambda: database.sessions("", 1)):
        with pytest.raises(DatabaseTroubleError, match="was written by a newer Loom: use that one"):
            use()
    assert asked(database.place, "SELECT count(*) FROM transcript_line") == [(1,)]


@pytest.mark.spec("scribe.version")
def test_tables_of_another_program_are_left_alone(database: Database) -> None:
    if isinstance(database.place, Path):
        database.place.parent.mkdir()
    asked(database.place, "CREATE TABLE transcript_line (a INTEGER)")
    with pytest.raises(DatabaseTroubleError, match="holds tables that are not the Loom's"):
        database.store([told(1)])
    assert tables(database.place) == {"transcript_line"}


@pytest.mark.spec("scribe.version")
def test_a_file_of_another_program_is_no_place_but_a_server_may_hold_other_tables(
    tmp_path: Path, postgres_server: Server
) -> None:
    file = tmp_path / "other.sqlite"
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE other (a)")
    db.close()
    with pytest.raises(DatabaseTroubleError, match="holds tables that are not the Loom's"):
        Database(file).store([told(1)])
    place = postgres_server.place()
    asked(place, "CREATE TABLE other (a INTEGER)")
    one = Database(place)
    assert one.store([told(1)]) == 1
    one.close()


@pytest.mark.spec("scribe.version")
def test_a_server_s_database_must_hold_every_character(postgres_server: Server) -> None:
    one = Database(postgres_server.database("LATIN1"))
    with pytest.raises(DatabaseTroubleError, match="is not in UTF-8"):
        one.store([told(1)])
