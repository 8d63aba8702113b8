"""From the stream into the database: stored, then acknowledged, and in trouble tried again.

What is not acknowledged comes again, and what is stored is not stored twice: so the process may end at any
point. The event loop never waits for the database; one thread at a time does.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, Protocol

from anyio import CancelScope, CapacityLimiter, move_on_after, sleep
from anyio.to_thread import run_sync
from attrs import frozen

from loom_shell.scribe.database import Database, Told
from loom_shell.scribe.rows import row
from loom_shell.scribe.trouble import DatabaseTroubleError, shown
from loom_shell.scribe_url import Postgres
from loom_shell.stream import BusTroubleError, Entry

MOST = 256
"""Entries of one transaction; the stream gives less of them where they are large."""
WAIT_SECONDS = 2.0
"""So long the stream is waited for, and so old a lag may be."""
STORE_SECONDS = 20.0
"""What one transaction gets."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 15.0

GROUP = "scribe"
"""The consumer group of the Scribes of one database."""

Note = Callable[[Literal["info", "warning"], str], None]
"""Takes a level of the log and a sentence."""


def group(place: Postgres | Path, machine: str) -> str:
    """The consumer group of a database. `machine`: the name of this one if others use the store, else "".

    An entry goes to one consumer of a group: a file that others do not write needs a group of its own, or
    it would have some of the lines only.
    """
    if isinstance(place, Postgres) or not machine:
        return GROUP
    own = f"{machine}\0{place.absolute()}".encode("utf-8", "surrogateescape")
    return f"{GROUP}:{blake2b(own, digest_size=8).hexdigest()}"


class Stream(Protocol):
    """Where entries come from, at least once each. `loom_shell.consumer.Consumer` is one."""

    async def next(self, most: int, wait_seconds: float) -> list[Entry]:
        """Some entries, or none after the wait. BusTroubleError."""
        ...

    async def ack(self, ids: Sequence[str]) -> None:
        """Be done with these. BusTroubleError."""
        ...

    def again(self) -> None:
        """Next come all entries that were not acknowledged."""
        ...

    async def lag(self) -> int:
        """Entries yet to be acknowledged. BusTroubleError."""
        ...


@frozen
class Status:
    """`stored` and `seen` since the start: lines that were new, and all that came. `lag` -1: not known.

    `trouble` is the one there is now, or ""; `last_trouble` the last there was; `stored_at` the time of the
    last line that was new, in nanoseconds since the epoch, or 0.
    """

    stored: int
    seen: int
    lag: int
    trouble: str
    last_trouble: str
    stored_at: int


class Scribe:
    """One per process and event loop."""

    def __init__(self, stream: Stream, database: Database, note: Note) -> None:
        self._stream, self._database, self._note = stream, database, note
        self._thread = CapacityLimiter(1)
        self._stored = self._seen = self._stored_at = 0
        self._lag, self._asked_at = -1, -WAIT_SECONDS
        self._trouble = self._last_trouble = ""
        self._pause = FIRST_PAUSE

    async def run(self) -> None:
        """Go on until cancelled; a transaction that is under way comes to its end, and is acknowledged."""
        try:
            while True:
                await self._look()
                if batch := await self._next():
                    await self._keep(batch)
        except Exception:
            # What was taken and not stored comes first, should it run again.
            self._stream.again()
            raise
        finally:
            with CancelScope(shield=True):
                await run_sync(self._database.close)

    def status(self) -> Status:
        """The figures now; it asks nobody."""
        return Status(self._stored, self._seen, self._lag, self._trouble, self._last_trouble, self._stored_at)

    async def _next(self) -> list[Entry]:
        try:
            batch = await self._stream.next(MOST, WAIT_SECONDS)
        except BusTroubleError as error:
            await self._rest(str(error))
            return []
        if not batch:
            self._well()
        return batch

    async def _keep(self, batch: list[Entry]) -> None:
        self._seen += len(batch)
        told = await run_sync(_rows, batch, limiter=self._thread)
        while not await self._is_kept(batch, told):
            await self._look()

    async def _is_kept(self, batch: list[Entry], told: list[Told]) -> bool:
        try:
            await _to_the_end(self._store_and_ack(batch, told))
        except DatabaseTroubleError as error:
            await self._rest(str(error))
            return False
        except BusTroubleError as error:
            # They are stored: that is found when they come again.
            self._stream.again()
            await self._rest(str(error))
            return True
        self._well()
        return True

    async def _store_and_ack(self, batch: list[Entry], told: list[Told]) -> None:
        new = await self._store(told)
        self._stored += new
        self._stored_at = time.time_ns() if new else self._stored_at
        await self._stream.ack([one.id for one in batch])

    async def _store(self, told: list[Told]) -> int:
        with move_on_after(STORE_SECONDS):
            return await run_sync(self._database.store, told, abandon_on_cancel=True, limiter=self._thread)
        self._database.cut()
        raise DatabaseTroubleError(f"{shown(self._database.place)} does not answer: look after its server")

    async def _look(self) -> None:
        """Ask for the lag, if that was a while ago."""
        now = time.monotonic()
        if now - self._asked_at >= WAIT_SECONDS:
            self._asked_at = now
            try:
                self._lag = await self._stream.lag()
            except BusTroubleError:
                # The next reading has the same trouble, and tells it.
                self._lag = -1

    async def _rest(self, trouble: str) -> None:
        if not self._trouble:
            self._note("warning", f"the scribe waits: {trouble}")
        self._trouble = self._last_trouble = trouble
        await sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _well(self) -> None:
        if self._trouble:
            self._note("info", "the scribe goes on")
        self._trouble, self._pause = "", FIRST_PAUSE


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await the work, which is not cancelled with the one who waits; then that one waits for its end."""
    task = asyncio.ensure_future(work)
    # The scope is for who is cancelled by anyio, the shield for who is by asyncio.
    with CancelScope(shield=True):
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            if not task.cancelled():
                # What went wrong with it is nobody's any more; it comes again.
                task.exception()
            raise


def _rows(batch: list[Entry]) -> list[Told]:
    return [row(one) for one in batch]
