"""The file of the embedded memory: made, opened, brought up to date; and its troubles in plain words.

`memory` holds what was stored, forgotten rows included. `words` is the FTS5 index over it, without a
copy of the texts; triggers keep it in step, and a forgotten row is not in it. `gone` is the index of
the forgotten ones, for who asks for these by name.
"""

import sqlite3
import time
from pathlib import Path

from loom_shell import sqlite_file
from loom_shell.memory.port import TIMED_OUT, MemoryTroubleError
from loom_shell.printable import printable

FILE_NAME = "cortex.sqlite3"
APPLICATION = 0x4C6F6F6D
"""Says in the file's header whose it is ("Loom")."""

# What a search filters by stands before the texts, so that long texts are not read for it.
STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE memory (
            id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, forgotten INTEGER NOT NULL DEFAULT 0,
            provenance TEXT NOT NULL, scope TEXT NOT NULL, session TEXT NOT NULL,
            text TEXT NOT NULL, around TEXT NOT NULL)""",
        "CREATE INDEX memory_neighbours ON memory (scope, session, at, id) WHERE NOT forgotten",
        "CREATE INDEX memory_newest ON memory (at, id) WHERE NOT forgotten",
        """CREATE VIRTUAL TABLE words USING fts5(
            text, around, content = 'memory', content_rowid = 'id', tokenize = 'porter unicode61')""",
        """CREATE TRIGGER memory_put AFTER INSERT ON memory WHEN NOT new.forgotten BEGIN
            INSERT INTO words (rowid, text, around) VALUES (new.id, new.text, new.around); END""",
        """CREATE TRIGGER memory_changed AFTER UPDATE ON memory BEGIN
            INSERT INTO words (words, rowid, text, around)
                SELECT 'delete', old.id, old.text, old.around WHERE NOT old.forgotten;
            INSERT INTO words (rowid, text, around)
                SELECT new.id, new.text, new.around WHERE NOT new.forgotten;
            END""",
    ),
    (
        "ALTER TABLE memory ADD COLUMN tags TEXT NOT NULL DEFAULT '[]'",
        """CREATE VIRTUAL TABLE gone USING fts5(
            text, content = 'memory', content_rowid = 'id', tokenize = 'porter unicode61')""",
        "INSERT INTO gone (rowid, text) SELECT id, text FROM memory WHERE forgotten",
        """CREATE TRIGGER memory_gone AFTER UPDATE OF forgotten, text ON memory BEGIN
            INSERT INTO gone (gone, rowid, text) SELECT 'delete', old.id, old.text WHERE old.forgotten;
            INSERT INTO gone (rowid, text) SELECT new.id, new.text WHERE new.forgotten;
            END""",
    ),
)
"""Step n leads from version n to n + 1; the version stands in the file as `user_version`."""


def opened(path: Path, until: int) -> sqlite3.Connection:
    """A connection to the file, made and brought up to date where needed, by `until` (monotonic ns).

    The file is its owner's alone (0600), its folder too if it is made here. MemoryTroubleError for a file
    that is not ours; sqlite3.Error, OSError and ValueError as they come.
    """
    try:
        db = sqlite_file.opened(path, until / 1e9)
    except sqlite_file.NotRegularError:
        raise MemoryTroubleError(f"{_named(path)} is not a regular file: name another folder") from None
    try:
        # With WAL the end of a process loses nothing, and a power cut at most what came last.
        db.execute("PRAGMA synchronous = NORMAL")
        _migrate(db, path)
    except BaseException:
        db.close()
        raise
    return db


def seconds_until(until: int) -> float:
    return max(0.001, (until - time.monotonic_ns()) / 1e9)


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    if _state(db) == (APPLICATION, len(STEPS)):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        application, version = _state(db)
        is_new = (application, version) == (0, 0) and not _count(db, "SELECT count(*) FROM sqlite_master")
        if application != APPLICATION and not is_new:
            raise MemoryTroubleError(f"{_named(path)} is no memory of the Loom: move it away")
        if version > len(STEPS):
            raise MemoryTroubleError(f"{_named(path)} was written by a newer Loom: use that one")
        for step in STEPS[version:]:
            for statement in step:
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {len(STEPS)}")
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _state(db: sqlite3.Connection) -> tuple[int, int]:
    return _count(db, "PRAGMA application_id"), _count(db, "PRAGMA user_version")


def _count(db: sqlite3.Connection, query: str) -> int:
    return int(db.execute(query).fetchone()[0])


def trouble(error: Exception, path: Path) -> str:
    """One sentence for what SQLite or the system said: what, where, what to do."""
    where = f"the memory {_named(path)}"
    if isinstance(error, OSError):
        return f"{where} cannot be opened: {(error.strerror or 'unknown error').lower()}"
    if not isinstance(error, sqlite3.Error):
        return f"{where} cannot be used: its name, or what it holds, makes no sense"
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    match code:
        case sqlite3.SQLITE_INTERRUPT:
            return TIMED_OUT
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"{where} is locked by another program: try again, or end that one"
        case sqlite3.SQLITE_FULL:
            return f"{where} is full: make room on its disk"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return f"{where} is damaged: move it away, or put a copy of it back"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_AUTH:
            return f"{where} cannot be written: make it and its folder yours"
        case sqlite3.SQLITE_IOERR:
            return f"{where} cannot be read or written: look after its disk"
        case _:
            return f"{where} failed ({getattr(error, 'sqlite_errorname', 'SQLite')}): run `loom doctor`"


def _named(path: Path) -> str:
    return printable(str(path))
