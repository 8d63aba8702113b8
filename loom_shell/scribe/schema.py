"""How the tables of transcripts are made, and brought up to date.

A step is a tuple of statements for each kind of database; step n leads from version n to n + 1. All that are
due are taken in one transaction, by one process at a time: both kinds of database undo DDL. A step
that was ever released is not changed any more.
"""

from sqlalchemy import Connection, Inspector, inspect, text

from loom_shell.scribe.tables import LINE, SCHEMA

SQLITE = (
    (
        """CREATE TABLE transcript_line (
            id INTEGER PRIMARY KEY, session TEXT NOT NULL, line_id TEXT NOT NULL, at BIGINT NOT NULL,
            role TEXT NOT NULL, type TEXT NOT NULL, agent TEXT NOT NULL, message_id TEXT NOT NULL,
            request_id TEXT NOT NULL, problem TEXT NOT NULL, file TEXT NOT NULL, place BIGINT NOT NULL,
            text TEXT NOT NULL, raw TEXT NOT NULL, UNIQUE (session, line_id))""",
        "CREATE INDEX transcript_line_order ON transcript_line (session, at, file, place)",
        """CREATE TABLE transcript_usage (
            session TEXT NOT NULL, message_id TEXT NOT NULL, model TEXT NOT NULL,
            input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL,
            cache_read_input_tokens BIGINT NOT NULL, cache_creation_input_tokens BIGINT NOT NULL,
            PRIMARY KEY (session, message_id))""",
        """CREATE VIRTUAL TABLE transcript_words USING fts5(
            text, content = 'transcript_line', content_rowid = 'id',
            tokenize = 'porter unicode61 remove_diacritics 2')""",
        """CREATE TRIGGER transcript_line_put AFTER INSERT ON transcript_line WHEN new.text <> '' BEGIN
            INSERT INTO transcript_words (rowid, text) VALUES (new.id, new.text); END""",
    ),
)
# The words of a text stand beside it, for what makes them of it is in `words.py`. The dictionary is that
# of `english` without its stop words: what SQLite finds is found here too.
POSTGRES = (
    (
        """CREATE TABLE transcript_line (
            id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            session TEXT COLLATE "C" NOT NULL, line_id TEXT NOT NULL, at BIGINT NOT NULL,
            role TEXT NOT NULL, type TEXT NOT NULL, agent TEXT NOT NULL, message_id TEXT NOT NULL,
            request_id TEXT NOT NULL, problem TEXT NOT NULL, file TEXT NOT NULL, place BIGINT NOT NULL,
            text TEXT NOT NULL, raw TEXT NOT NULL, words TSVECTOR NOT NULL,
            UNIQUE (session, line_id))""",
        "CREATE INDEX transcript_line_order ON transcript_line (session, at, file, place)",
        """CREATE TABLE transcript_usage (
            session TEXT NOT NULL, message_id TEXT NOT NULL, model TEXT NOT NULL,
            input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL,
            cache_read_input_tokens BIGINT NOT NULL, cache_creation_input_tokens BIGINT NOT NULL,
            PRIMARY KEY (session, message_id))""",
        "CREATE TEXT SEARCH DICTIONARY transcript_stem (TEMPLATE = snowball, Language = english)",
        "CREATE TEXT SEARCH CONFIGURATION transcript_words (COPY = simple)",
        """ALTER TEXT SEARCH CONFIGURATION transcript_words
            ALTER MAPPING FOR asciiword, word, numword WITH transcript_stem""",
        "CREATE INDEX transcript_line_words ON transcript_line USING gin (words)",
    ),
)
STEPS = {"sqlite": SQLITE, "postgresql": POSTGRES}
LOCK = 0x4C6F6F6D
"""Names the lock under which a Postgres database is brought up to date ("Loom")."""


class SchemaRefusedError(Exception):
    """A database that is not ours to write: the text says what it is, and what to do."""


def migrate(connection: Connection) -> None:
    """Bring the tables up to date, within the transaction of the connection. SchemaRefusedError."""
    kind = connection.dialect.name
    steps = STEPS[kind]
    if kind == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        if connection.execute(text("SHOW server_encoding")).scalar_one() != "UTF8":
            raise SchemaRefusedError("is not in UTF-8: make one with `createdb -E UTF8 -T template0`")
    stands = version(connection)
    if stands > len(steps):
        raise SchemaRefusedError("was written by a newer Loom: use that one")
    found = inspect(connection)
    if stands == 0 and (found.has_table(LINE.name) or (kind == "sqlite" and _has_tables(found))):
        raise SchemaRefusedError("holds tables that are not the Loom's: name another place")
    for step in steps[stands:]:
        for statement in step:
            # As the driver takes it: a colon is no parameter here.
            connection.exec_driver_sql(statement)
    if stands == 0:
        SCHEMA.create(connection)
        connection.execute(SCHEMA.insert().values(version=len(steps)))
    elif stands < len(steps):
        connection.execute(SCHEMA.update().values(version=len(steps)))


def version(connection: Connection) -> int:
    """How many steps were taken; 0 where there is nothing of ours."""
    if not inspect(connection).has_table(SCHEMA.name):
        return 0
    return int(connection.execute(SCHEMA.select()).scalar_one_or_none() or 0)


def _has_tables(found: Inspector) -> bool:
    return bool(found.get_table_names())
