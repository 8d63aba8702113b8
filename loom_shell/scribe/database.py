"""The database of transcripts: lines go in, each once, and are found again.

Its methods wait for disk or network: call them in a thread. What goes wrong is DatabaseTroubleError, and
the next call begins anew.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from attrs import evolve
from sqlalchemy import Connection, Engine

from loom_shell.scribe import schema, statements
from loom_shell.scribe.engine import WRITES, cut, engine
from loom_shell.scribe.rows import Row, Usage
from loom_shell.scribe.trouble import DatabaseTroubleError, NoDatabaseError, is_refusal, shown, trouble
from loom_shell.scribe_url import Postgres
from loom_shell.sqlite_file import identity

Told = tuple[Row, Usage | None]
Line = Row
BUSY_SECONDS = 0.1
SET_ASIDE = "refused by the database"
"""The problem of a line that no database would take: its place is kept, and what it held is not."""


class Database:
    """One per process. Making one touches nothing; the first call connects, and makes what is missing."""

    def __init__(self, place: Postgres | Path) -> None:
        self.place = place
        self._engine: Engine | None = None
        self._file: tuple[int, int] | None = None
        self._driver: Any = None
        self._is_busy = Lock()

    def store(self, told: Sequence[Told]) -> int:
        """Store what is not there yet, all or nothing but for what is refused; how many lines were new."""
        with self._alone():
            try:
                return self._put(told)
            except Exception as error:
                if not is_refusal(error):
                    raise
            return sum(self._put_one(one) for one in told)

    def find(self, wanted: statements.Wanted) -> list[Line]:
        """What holds all the words, newest first. NoDatabaseError where nothing was ever stored."""
        with self._reading() as connection:
            return [
                *map(statements.line, connection.execute(statements.found(wanted, connection.dialect.name)))
            ]

    def sessions(self, beginning: str, most: int) -> list[str]:
        """Sessions whose name begins so, those first that spoke last."""
        with self._reading() as connection:
            return [*connection.execute(statements.sessions(beginning, most)).scalars()]

    def lines(self, session: str) -> Iterator[Line]:
        """Everything of a session, in the order in which it was said; read as it is taken."""
        with self._reading() as connection:
            asked = connection.execution_options(yield_per=100)
            with asked.execute(statements.conversation(session)) as rows:
                yield from map(statements.line, rows)

    def used(self, session: str) -> Usage:
        """What the messages of a session used together, each counted once."""
        with self._reading() as connection:
            counts = connection.execute(statements.used(session)).one()
            return Usage(session, "", "", *(int(count or 0) for count in counts))

    def count(self) -> int:
        """Lines there are."""
        with self._reading() as connection:
            return int(connection.execute(statements.COUNT).scalar_one())

    def cut(self) -> None:
        """Make what another thread waits for fail now."""
        if (driver := self._driver) is not None:
            cut(driver)

    def close(self) -> None:
        """Let go of the database; a later call connects again."""
        made, self._engine = self._engine, None
        if made is not None:
            made.dispose()

    # Inside

    def _put(self, told: Sequence[Told]) -> int:
        # In one order, so that two who store the same never wait for one another.
        rows = sorted((row for row, _ in told), key=lambda it: (it.session, it.line_id))
        usages = sorted((used for _, used in told if used), key=lambda it: (it.session, it.message_id))
        with self._transaction(writes=True) as connection:
            return statements.put(connection, rows, usages)

    def _put_one(self, one: Told) -> int:
        try:
            return self._put([one])
        except Exception as error:
            if not is_refusal(error):
                raise
        return self._put([(evolve(one[0], text="", raw="", problem=SET_ASIDE), one[1])])

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._alone():
            if not isinstance(self.place, Postgres) and identity(self.place) is None:
                raise NoDatabaseError(
                    f"{shown(self.place)} is not there yet: `loom serve` or `loom scribe` makes it"
                )
            with self._transaction(writes=False) as connection:
                yield connection

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One thread at a time; whatever comes out is DatabaseTroubleError."""
        if not self._is_busy.acquire(timeout=BUSY_SECONDS):
            raise DatabaseTroubleError(f"{shown(self.place)} still does what it was asked before")
        try:
            yield
        except DatabaseTroubleError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            self.close()
            raise DatabaseTroubleError(trouble(error, self.place)) from None
        finally:
            self._is_busy.release()

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        made = self._opened()
        with made.connect().execution_options(**{WRITES: writes}) as connection:
            self._driver = connection.connection.dbapi_connection
            try:
                with connection.begin():
                    yield connection
            finally:
                self._driver = None
        if writes and self._is_replaced():
            # It was written to a file that nobody will find again.
            raise FileNotFoundError(2, "")

    def _opened(self) -> Engine:
        if self._is_replaced():
            self.close()
        if self._engine is None:
            made = engine(self.place)
            try:
                with made.connect().execution_options(**{WRITES: True}) as connection:
                    self._driver = connection.connection.dbapi_connection
                    with connection.begin():
                        schema.migrate(connection)
            except BaseException:
                made.dispose()
                raise
            finally:
                self._driver = None
            self._engine, self._file = made, self._identity()
        return self._engine

    def _identity(self) -> tuple[int, int] | None:
        return None if isinstance(self.place, Postgres) else identity(self.place)

    def _is_replaced(self) -> bool:
        return self._engine is not None and self._identity() != self._file
