import os
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loom_shell.memory import MemoryTroubleError, schema

MAKE = """
import sys, time
from pathlib import Path
from loom_shell.memory import schema
db = schema.opened(Path(sys.argv[1]), time.monotonic_ns() + 20_000_000_000)
fields = "at, provenance, scope, session, text, around"
db.execute(f"INSERT INTO memory ({fields}) VALUES (1, 'user', '', '', 'x', '')")
db.close()
"""


def soon(seconds: float = 5.0) -> int:
    return time.monotonic_ns() + round(seconds * 1e9)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / schema.FILE_NAME


@pytest.mark.spec("memory.file")
def test_the_file_and_its_folder_are_made_for_the_owner_alone(path: Path) -> None:
    mask = os.umask(0)
    try:
        db = schema.opened(path, soon())
    finally:
        os.umask(mask)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (1,)
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert {mode(one) for one in path.parent.iterdir()} == {0o600}
    db.close()


@pytest.mark.spec("memory.file")
def test_a_file_that_others_may_read_is_closed_to_them(path: Path) -> None:
    schema.opened(path, soon()).close()
    path.chmod(0o644)
    schema.opened(path, soon()).close()
    assert mode(path) == 0o600


@pytest.mark.spec("memory.shared")
def test_processes_can_make_one_file_at_once(path: Path) -> None:
    started = [subprocess.Popen([sys.executable, "-c", MAKE, str(path)]) for _ in range(3)]
    assert [one.wait(30) for one in started] == [0, 0, 0]
    db = schema.opened(path, soon())
    assert db.execute("SELECT count(*) FROM memory").fetchone() == (3,)
    db.execute("INSERT INTO words (words) VALUES ('integrity-check')")
    db.close()


@pytest.mark.spec("memory.trouble", "memory.deadline")
def test_a_file_that_another_keeps_to_itself_is_waited_for_no_longer_than_allowed(tmp_path: Path) -> None:
    path = tmp_path / schema.FILE_NAME
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        schema.opened(path, soon(0.05))
    other.execute("ROLLBACK")
    other.close()
    schema.opened(path, soon()).close()


@pytest.mark.spec("memory.version")
def test_an_older_file_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema.opened(path, soon()).close()
    later = (*schema.STEPS, ("ALTER TABLE memory ADD COLUMN extra TEXT NOT NULL DEFAULT ''",))
    monkeypatch.setattr(schema, "STEPS", later)
    db = schema.opened(path, soon())
    assert db.execute("PRAGMA user_version").fetchone() == (len(later),)
    assert db.execute("SELECT extra FROM memory").fetchall() == []
    db.close()


@pytest.mark.spec("memory.version")
def test_a_step_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema.opened(path, soon()).close()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "STEPS", (*schema.STEPS, ("CREATE TABLE extra (a)", "no SQL")))
        with pytest.raises(sqlite3.OperationalError):
            schema.opened(path, soon())
    db = schema.opened(path, soon())
    assert db.execute("SELECT name FROM sqlite_master WHERE name = 'extra'").fetchall() == []
    db.close()


@pytest.mark.spec("memory.version")
@pytest.mark.parametrize(
    ("statements", "told"),
    [
        ((f"PRAGMA application_id = {schema.APPLICATION}", "PRAGMA user_version = 99"), "by a newer Loom"),
        (("CREATE TABLE other (a)",), "is no memory of the Loom"),
        (("PRAGMA user_version = 1",), "is no memory of the Loom"),
    ],
)
def test_a_file_that_is_not_ours_is_left_as_it_is(
    tmp_path: Path, statements: tuple[str, ...], told: str
) -> None:
    path = tmp_path / schema.FILE_NAME
    db = sqlite3.connect(path)
    for statement in statements:
        db.execute(statement)
    before = db.execute("SELECT sql FROM sqlite_master").fetchall()
    db.close()
    with pytest.raises(MemoryTroubleError, match=told):
        schema.opened(path, soon())
    db = sqlite3.connect(path)
    assert db.execute("SELECT sql FROM sqlite_master").fetchall() == before
    db.close()


@pytest.mark.spec("memory.trouble")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / schema.FILE_NAME
    os.mkfifo(path)
    with pytest.raises(MemoryTroubleError, match="is not a regular file"):
        schema.opened(path, soon())


@pytest.mark.spec("memory.trouble")
@pytest.mark.parametrize(
    ("code", "told"),
    [
        (sqlite3.SQLITE_INTERRUPT, "timed out"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "locked by another program"),
        (sqlite3.SQLITE_FULL, "is full"),
        (sqlite3.SQLITE_CORRUPT_VTAB, "is damaged"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "cannot be written"),
        (sqlite3.SQLITE_IOERR_READ, "cannot be read or written"),
        (sqlite3.SQLITE_MISUSE, "failed (SQLITE_MISUSE)"),
    ],
)
def test_each_kind_of_trouble_is_one_sentence(code: int, told: str) -> None:
    error = sqlite3.OperationalError("secret words of a query")
    error.sqlite_errorcode, error.sqlite_errorname = code, "SQLITE_MISUSE"
    said = schema.trouble(error, Path("here\nthere"))
    assert told in said
    assert "\n" not in said
    assert "secret" not in said


@pytest.mark.spec("memory.trouble")
def test_troubles_of_the_system_and_of_names_are_told() -> None:
    told = schema.trouble(PermissionError(13, "Permission denied"), Path("x"))
    assert told == "the memory x cannot be opened: permission denied"
    assert "makes no sense" in schema.trouble(ValueError("embedded null byte"), Path("x"))


@pytest.mark.spec("memory.version", "memory.include-forgotten")
def test_a_file_of_the_first_version_keeps_what_it_has_and_what_it_forgot(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = "at, provenance, scope, session, text, around, forgotten"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "STEPS", schema.STEPS[:1])
        db = schema.opened(path, soon())
        for text, is_forgotten in (("green tea", 0), ("black tea", 1)):
            put = f"INSERT INTO memory ({fields}) VALUES (1, 'user', '', '', ?, '', ?)"  # noqa: S608 - our own words
            db.execute(put, (text, is_forgotten))
        db.close()
    db = schema.opened(path, soon())
    assert db.execute("SELECT text, tags FROM memory").fetchall() == [
        ("green tea", "[]"),
        ("black tea", "[]"),
    ]
    for index, row in (("words", 1), ("gone", 2)):
        found = db.execute(f"SELECT rowid FROM {index} WHERE {index} MATCH 'tea'")  # noqa: S608 - as above
        assert found.fetchall() == [(row,)]
        db.execute(f"INSERT INTO {index} ({index}) VALUES ('integrity-check')")  # noqa: S608 - as above
    db.close()
