from sqlalchemy import inspect

from loom_shell.scribe.database import Database
from loom_shell.scribe.engine import engine
from loom_shell.scribe.tables import METADATA
from tests.support.scribed import told


def test_statements_name_what_the_steps_make(database: Database) -> None:
    database.store([told(1)])
    made = engine(database.place)
    with made.connect() as connection:
        found = inspect(connection)
        for table in METADATA.sorted_tables:
            columns = {one["name"]: one["nullable"] for one in found.get_columns(table.name)}
            assert {one.name for one in table.columns} <= set(columns)
            assert set(columns) - {one.name for one in table.columns} <= {"words"}
            # SQLite's rowid says that it may be null, and never is.
            assert not any(may for name, may in columns.items() if name != "id")
    made.dispose()
