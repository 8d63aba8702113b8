import sqlite3
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import exc

from loom_shell.scribe.schema import SchemaRefusedError
from loom_shell.scribe.trouble import is_refusal, shown, trouble
from loom_shell.scribe_url import postgres

FILE = Path("here\nthere")
SERVER = postgres("postgresql://loom:hunter2hunter2@db.example/d")
HELD = "secret words of a row"


def of_sqlite(code: int) -> exc.OperationalError:
    error = sqlite3.OperationalError(HELD)
    error.sqlite_errorcode, error.sqlite_errorname = code, "SQLITE_MISUSE"
    return exc.OperationalError(f"INSERT {HELD}", {"a": HELD}, error)


def of_postgres(code: str | None, said: str = HELD) -> exc.DBAPIError:
    error = psycopg.errors.lookup(code)(said) if code and code[:2] != "99" else psycopg.OperationalError(said)
    error.sqlstate = code
    return exc.DBAPIError(f"INSERT {HELD}", {"a": HELD}, error)


@pytest.mark.spec("scribe.trouble")
@pytest.mark.parametrize(
    ("code", "told"),
    [
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "is locked by another program"),
        (sqlite3.SQLITE_FULL, "is full"),
        (sqlite3.SQLITE_CORRUPT_VTAB, "is damaged"),
        (sqlite3.SQLITE_NOTADB, "is damaged"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "cannot be written"),
        (sqlite3.SQLITE_CANTOPEN, "cannot be opened"),
        (sqlite3.SQLITE_IOERR_READ, "cannot be read or written"),
        (sqlite3.SQLITE_INTERRUPT, "took too long"),
        (sqlite3.SQLITE_MISUSE, "failed (SQLITE_MISUSE)"),
    ],
)
def test_what_sqlite_says_is_one_sentence_of_our_own(code: int, told: str) -> None:
    said = trouble(of_sqlite(code), FILE)
    assert told in said
    assert "\n" not in said
    assert "secret" not in said


@pytest.mark.spec("scribe.trouble")
@pytest.mark.parametrize(
    ("code", "words", "told"),
    [
        ("28P01", HELD, "refuses the user or the password"),
        ("3D000", HELD, "is not there: make it"),
        ("42501", HELD, "may not be used so by its user"),
        ("53100", HELD, "is full"),
        ("53300", HELD, "has no room"),
        ("57014", HELD, "took too long"),
        ("57P01", HELD, "is being started or stopped"),
        ("55P03", HELD, "is locked"),
        ("40P01", HELD, "was written by another at once"),
        ("08006", HELD, "cannot be reached"),
        ("XX001", HELD, "is damaged"),
        ("42601", HELD, "failed (SQLSTATE 42601)"),
        (None, 'FATAL: password authentication failed for "secret"', "refuses the user"),
        (None, 'FATAL: database "secret" does not exist', "or its user is not there"),
        (None, "secret connection refused", "cannot be reached"),
    ],
)
def test_what_a_server_says_is_one_sentence_of_our_own(code: str | None, words: str, told: str) -> None:
    said = trouble(of_postgres(code, words), SERVER)
    assert said.startswith("the database of transcripts at db.example:5432/d ")
    assert told in said
    assert "secret" not in said
    assert "hunter2" not in said


@pytest.mark.spec("scribe.trouble")
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SchemaRefusedError("was written by a newer Loom"), "was written by a newer Loom"),
        (ModuleNotFoundError(HELD, name="psycopg"), "needs a driver: install `loom[postgres]`"),
        (PermissionError(13, HELD), "cannot be opened: permission denied"),
        (ValueError(HELD), "failed (ValueError)"),
    ],
)
def test_other_troubles_are_told_too(error: Exception, told: str) -> None:
    said = trouble(error, FILE)
    assert told in said
    assert "secret" not in said
    assert said.startswith(shown(FILE))


@pytest.mark.spec("scribe.refused")
def test_a_refusal_is_the_fault_of_what_was_to_be_stored() -> None:
    assert is_refusal(of_postgres("54000"))
    assert is_refusal(of_postgres("22P05"))
    assert is_refusal(of_sqlite(sqlite3.SQLITE_TOOBIG))
    assert is_refusal(exc.DBAPIError("", {}, UnicodeEncodeError("utf-8", "\ud800", 0, 1, "")))
    assert not is_refusal(of_postgres("53100"))
    assert not is_refusal(of_sqlite(sqlite3.SQLITE_FULL))
    assert not is_refusal(OSError())
