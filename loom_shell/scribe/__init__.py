"""The Scribe: what was said in sessions, kept for good and found again."""

from loom_shell.scribe.consuming import Note, Scribe, Status, Stream, group
from loom_shell.scribe.database import Database
from loom_shell.scribe.engine import FILE_NAME
from loom_shell.scribe.trouble import DatabaseTroubleError, NoDatabaseError

__all__ = [
    "FILE_NAME",
    "Database",
    "DatabaseTroubleError",
    "NoDatabaseError",
    "Note",
    "Scribe",
    "Status",
    "Stream",
    "group",
]
