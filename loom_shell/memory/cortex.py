"""The embedded memory: one SQLite file, asked in one worker thread, never for longer than it may take.

Each call is a job. The caller waits until its deadline and no longer; the job itself is ended by the same
deadline, by SQLite's progress callback while it computes and by its busy timeout while it waits for a
lock. What is wrong with the file is told in one sentence, and the next job tries anew.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from loom_core.lookup import Memory, Question, Recalled
from loom_shell.memory import items, rows, schema
from loom_shell.memory.port import TIMED_OUT, MemoryTroubleError, NewMemory
from loom_shell.memory.verbatim import storable, within
from loom_shell.sqlite_file import identity

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]

SECOND = 1_000_000_000
WRITE = 5 * SECOND
"""What everything but a search may take, in nanoseconds; so long it waits for another process too."""
LONGEST = 60 * SECOND
"""No search takes longer, whatever its question allows."""
MOST_WAITING = 64
"""Jobs that may wait for the thread; what comes then is told so at once."""
MOST_FOUND = 100
"""Memories of one answer, whatever is asked for."""
SPARE = 20
"""Found beyond the limit, for those that do not fit into the budget."""
EVERY = 1_000
"""SQLite's steps between two looks at the clock: some tens of microseconds."""


class Cortex:
    """The memory in the file `cortex.sqlite3` of a folder, which other processes may use as well.

    Making one touches nothing; the file is opened, and made, by the first call.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / schema.FILE_NAME
        self._thread = ThreadPoolExecutor(1, "cortex")
        self._waiting = 0
        self._is_closed = False
        # Of the worker thread alone:
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    async def search(self, question: Question) -> Recalled:
        limit = max(0, min(question.limit, MOST_FOUND))
        if not limit or question.budget <= 0:
            return Recalled()
        allowed = max(0, min(question.deadline, LONGEST))

        def look(db: sqlite3.Connection) -> tuple[list[Memory], tuple[str, ...]]:
            gone = rows.forgotten(db, question.exclude) if question.exclude else ()
            return rows.nearest(db, question, limit + SPARE), gone

        try:
            found, gone = await self._ask(allowed, look)
        except MemoryTroubleError as error:
            return Recalled(trouble=str(error))
        return Recalled(within(found, limit, question.budget), forgotten=gone)

    async def put(self, new: NewMemory) -> Memory:
        stored = storable(new)
        return await self._ask(WRITE, lambda db: rows.put(db, stored))

    async def forget(self, memory_id: str) -> bool:
        return await self._ask(WRITE, lambda db: rows.forget(db, memory_id))

    async def get(self, memory_id: str) -> Memory | None:
        return await self._ask(WRITE, lambda db: rows.one(db, memory_id))

    async def recent(self, limit: int, since: int = 0) -> tuple[Memory, ...]:
        most = max(0, min(limit, MOST_FOUND))
        return await self._ask(WRITE, lambda db: rows.newest(db, most, since))

    async def find(self, wanted: items.Wanted) -> items.Found:
        """What is wanted over HTTP, at most `items.MOST` of it. MemoryTroubleError."""
        return await self._ask(WRITE, lambda db: items.found(db, wanted))

    async def newest(self, limit: int, since: int = 0) -> tuple[items.Item, ...]:
        """As `recent`, with all that is kept of each."""
        most = max(0, min(limit, items.MOST))
        return await self._ask(WRITE, lambda db: items.newest(db, most, since))

    async def item(self, memory_id: str) -> items.Item | None:
        """As `get`, with all that is kept of it."""
        return await self._ask(WRITE, lambda db: items.one(db, memory_id))

    async def counts(self) -> items.Counts:
        """How many memories there are. MemoryTroubleError."""
        return await self._ask(WRITE, items.counts)

    async def health(self) -> str:
        try:
            await self._ask(WRITE, rows.probe)
        except MemoryTroubleError as error:
            return str(error)
        return ""

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        last = asyncio.get_running_loop().run_in_executor(self._thread, self._let_go)
        # The thread ends when its last job is done.
        self._thread.shutdown(wait=False)
        await asyncio.shield(last)

    # On the caller's side

    async def _ask(self, allowed: int, job: Job[T]) -> T:
        """Have a job done within `allowed` nanoseconds. MemoryTroubleError."""
        if self._is_closed:
            raise MemoryTroubleError("the memory is closed")
        if self._waiting >= MOST_WAITING:
            raise MemoryTroubleError("the memory has too much to do: ask again later")
        until = time.monotonic_ns() + allowed
        self._waiting += 1
        try:
            async with asyncio.timeout(allowed / SECOND):
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._thread, self._do, job, until)
        except TimeoutError:
            raise MemoryTroubleError(TIMED_OUT) from None
        finally:
            self._waiting -= 1

    # In the worker thread

    def _do(self, job: Job[T], until: int) -> T:
        try:
            with self._bounded(until) as db:
                return job(db)
        except (sqlite3.Error, OSError, ValueError) as error:
            told = schema.trouble(error, self.path)
        if told != TIMED_OUT:
            # Opened anew next time: the file may have been mended or put back by then.
            self._let_go()
        raise MemoryTroubleError(told)

    @contextmanager
    def _bounded(self, until: int) -> Iterator[sqlite3.Connection]:
        """The connection, on which nothing goes on for longer than `until` (monotonic nanoseconds)."""
        if self._db is not None and identity(self.path) != self._file:
            self._let_go()
        if self._db is None:
            self._db = schema.opened(self.path, until)
            self._file = identity(self.path)
        db = self._db
        db.execute(f"PRAGMA busy_timeout = {round(schema.seconds_until(until) * 1_000) + 1}")
        db.set_progress_handler(lambda: time.monotonic_ns() > until, EVERY)
        try:
            yield db
        finally:
            db.set_progress_handler(None, 0)
            if db.in_transaction:
                db.execute("ROLLBACK")

    def _let_go(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()
