"""What a database or its driver raises, in words of our own: no text of an error is passed on.

For such a text may quote what was to be stored, or the password.
"""

import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import exc

from loom_shell.printable import printable
from loom_shell.scribe.schema import SchemaRefusedError
from loom_shell.scribe_url import Postgres

SQLITE = {
    sqlite3.SQLITE_BUSY: "is locked by another program: end that one, or wait",
    sqlite3.SQLITE_LOCKED: "is locked by another program: end that one, or wait",
    sqlite3.SQLITE_INTERRUPT: "took too long",
    sqlite3.SQLITE_FULL: "is full: make room on its disk",
    sqlite3.SQLITE_CORRUPT: "is damaged: move it away, or put a copy of it back",
    sqlite3.SQLITE_NOTADB: "is damaged: move it away, or put a copy of it back",
    sqlite3.SQLITE_READONLY: "cannot be written: make it and its folder yours",
    sqlite3.SQLITE_PERM: "cannot be written: make it and its folder yours",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: make it and its folder yours",
    sqlite3.SQLITE_AUTH: "cannot be written: make it and its folder yours",
    sqlite3.SQLITE_IOERR: "cannot be read or written: look after its disk",
}
"""By primary result code."""
# https://www.postgresql.org/docs/current/errcodes-appendix.html: a code, or the class it begins with.
POSTGRES = {
    "28": "refuses the user or the password",
    "3D": "is not there: make it with `createdb`",
    "42501": "may not be used so by its user: grant CREATE on its schema",
    "25006": "is read-only: name the primary server",
    "53100": "is full: make room on its disk",
    "53": "has no room for this now",
    "57014": "took too long",
    "57": "is being started or stopped",
    "55P03": "is locked by another program: end that one, or wait",
    "40": "was written by another at once",
    "XX": "is damaged: look into the log of its server",
}
LIBPQ = {
    "authentication failed": "refuses the user or the password",
    "no password supplied": "wants a password",
    "pg_hba.conf": "does not let this user in from here",
    "does not exist": "or its user is not there",
    "starting up": "is being started or stopped",
    "shutting down": "is being started or stopped",
    "too many clients": "has no room for this now",
}
"""What libpq and the server say, untranslated, when a connection is refused: there is no code for it then."""
REFUSED = ("22", "54")
"""Classes of codes that refuse what was to be stored, and would again: data, and limits of size."""


class DatabaseTroubleError(Exception):
    """Why a database did not do what it was asked: one sentence that says what, where, what to do."""


class NoDatabaseError(DatabaseTroubleError):
    """There is no database yet."""


def shown(place: Postgres | Path) -> str:
    if isinstance(place, Postgres):
        return f"the database of transcripts at {printable(place.shown)}"
    return f"the database of transcripts {printable(str(place))}"


def trouble(error: Exception, place: Postgres | Path) -> str:
    return f"{shown(place)} {_words(error)}"


def is_refusal(error: Exception) -> bool:
    """Whether what was to be stored is at fault, and not the database."""
    beneath = _beneath(error)
    code = getattr(beneath, "sqlstate", None)
    too_big = getattr(beneath, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_TOOBIG
    is_value = isinstance(beneath, UnicodeError | OverflowError | sqlite3.DataError)
    return is_value or too_big or (isinstance(code, str) and code.startswith(REFUSED))


def _beneath(error: Exception) -> BaseException:
    return error.orig if isinstance(error, exc.DBAPIError | exc.StatementError) and error.orig else error


def _words(error: Exception) -> str:
    beneath: Any = _beneath(error)
    match beneath:
        case SchemaRefusedError():
            return str(beneath)
        case ModuleNotFoundError():
            return "needs a driver: install `loom[postgres]`"
        case sqlite3.Error():
            code = getattr(beneath, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            name = getattr(beneath, "sqlite_errorname", "SQLite")
            return SQLITE.get(code) or f"failed ({name}): run `loom doctor`"
        case OSError():
            return f"cannot be opened: {os.strerror(beneath.errno or 0).lower()}"
        case _ if isinstance(code := getattr(beneath, "sqlstate", None), str):
            return _of_code(code)
        case _ if hasattr(beneath, "sqlstate"):
            said = str(beneath)
            found = (words for mark, words in LIBPQ.items() if mark in said)
            return next(found, "cannot be reached: start its server, or name another place")
        case _:
            return f"failed ({type(beneath).__name__}): run `loom doctor`"


def _of_code(code: str) -> str:
    for length in (5, 2):
        if words := POSTGRES.get(code[:length]):
            return words
    if code.startswith("08"):
        return "cannot be reached: start its server, or name another place"
    return f"failed (SQLSTATE {printable(code, 5)}): look into the log of its server"
