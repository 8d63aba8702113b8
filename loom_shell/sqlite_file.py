"""A file of SQLite's that is its owner's alone, and takes several processes at once."""

import os
import sqlite3
import stat
import time
from pathlib import Path

PAUSE = 0.01
"""Seconds between two tries of what SQLite itself does not wait for."""


class NotRegularError(Exception):
    """There is something there that is no regular file."""


def opened(path: Path, until: float, *, anywhere: bool = False) -> sqlite3.Connection:
    """Open it in WAL mode, made if it is not there (0600, its folder 0700), with transactions begun by name.

    `until`: by the monotonic clock, how long others are waited for. `anywhere`: it may be used from any
    thread. NotRegularError; sqlite3.Error and OSError as they come.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _claim(path)
    wait = max(0.001, until - time.monotonic())
    db = sqlite3.connect(path, timeout=wait, isolation_level=None, check_same_thread=not anywhere)
    try:
        _use_wal(db, until)
    except BaseException:
        db.close()
        raise
    return db


def identity(path: Path) -> tuple[int, int] | None:
    """Which file stands there now; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _claim(path: Path) -> None:
    """Make the file before SQLite does, with our mode; its -wal and -shm files take that over."""
    # Opening a pipe that nobody writes to would wait without O_NONBLOCK.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise NotRegularError
        if found.st_mode & 0o077 and found.st_uid == os.geteuid():
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _use_wal(db: sqlite3.Connection, until: float) -> None:
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(PAUSE)
        else:
            return
