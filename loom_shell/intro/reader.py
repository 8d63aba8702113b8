"""Intro: reads along in every session, asks a small model what is worth remembering, and lays that down.

Three loops that need nothing of each other: one hears what the stream brings, one asks, one hears what was
stored. Whatever fails costs memorables and nothing else; it is noted once, and goes on by itself.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from attrs import define, frozen

from loom_shell.breaker import Breaker, Standing
from loom_shell.intro.envelope import GarbageError, opened
from loom_shell.intro.memorables import merged
from loom_shell.intro.model import Model, ModelTroubleError
from loom_shell.intro.notebook import Notebook, Pace
from loom_shell.intro.prompt import INSTRUCTIONS, question
from loom_shell.intro.said import said
from loom_shell.intro.shelf import ShelfTroubleError
from loom_shell.intro.stored import StoredTroubleError
from loom_shell.stream import BusTroubleError, Entry

MOST_ENTRIES = 32
"""Entries that are heard at once: between two such the loop is free for others."""
WAIT_SECONDS = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds after a trouble; they double."""
AGAIN_SECONDS = 10.0
"""A session of which asking failed is asked about again so much later."""
GARBAGE = "the model does not answer in the form it was asked for: try another one"


class Entries(Protocol):
    """What a bus.Consumer is for Intro."""

    async def next(self, most: int, wait_seconds: float) -> list[Entry]: ...

    async def ack(self, ids: Sequence[str]) -> None: ...

    async def lag(self) -> int: ...

    async def aclose(self) -> None: ...


class Shelf(Protocol):
    """What a shelf.Shelf is for Intro."""

    async def read(self, session: str) -> tuple[str, ...]: ...

    async def put(self, session: str, texts: Sequence[str]) -> None: ...

    async def aclose(self) -> None: ...


class Stored(Protocol):
    """What a stored.Stored is for Intro."""

    def sessions(self) -> AsyncIterator[str]: ...

    async def aclose(self) -> None: ...


@frozen
class Parts:
    """What Intro works with."""

    entries: Entries
    shelf: Shelf
    stored: Stored
    model: Model


@frozen
class Figures:
    """What Intro did since it began, and how it does. `trouble` is the last one that lasts, or ""."""

    sessions: int
    waiting: int
    heard: int
    asked: int
    failed: int
    noted: int
    forgotten: int
    model: Standing
    trouble: str


@define
class _Counts:
    heard: int = 0
    asked: int = 0
    failed: int = 0
    noted: int = 0
    forgotten: int = 0


class Intro:
    """One per process and event loop. `note` takes lines for the log, `clock` gives growing seconds."""

    def __init__(
        self,
        parts: Parts,
        note: Callable[[str], None],
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._entries, self._shelf = parts.entries, parts.shelf
        self._stored, self._model = parts.stored, parts.model
        self._note, self._clock = note, clock
        self._notebook = Notebook(pace)
        self._breaker = Breaker(clock)
        self._counts = _Counts()
        self._troubles: dict[str, str] = {}
        self._changed = asyncio.Event()

    @property
    def figures(self) -> Figures:
        told, counts = [*self._troubles.values()], self._counts
        return Figures(
            sessions=self._notebook.pages,
            waiting=self._notebook.waiting,
            heard=counts.heard,
            asked=counts.asked,
            failed=counts.failed,
            noted=counts.noted,
            forgotten=counts.forgotten,
            model=self._breaker.standing,
            trouble=told[-1] if told else "",
        )

    async def lag(self) -> int:
        """Entries not acknowledged, those among them that wait to be asked about. BusTroubleError."""
        return await self._entries.lag()

    async def run(self) -> None:
        """Until it is cancelled. What has yet to be asked about comes again from the stream, next time."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._on_and_on("hearing", self._hear))
            loops.create_task(self._on_and_on("asking", self._ask_in_turn))
            loops.create_task(self._on_and_on("what is stored", self._hear_stored))

    async def aclose(self) -> None:
        """Let go of all its parts; may be called twice."""
        for part in (self._entries, self._shelf, self._stored, self._model):
            await part.aclose()

    async def _on_and_on(self, what: str, work: Callable[[str], Awaitable[None]]) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await work(what)
                pause = FIRST_PAUSE
                continue
            except (BusTroubleError, StoredTroubleError, ShelfTroubleError) as error:
                trouble = str(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                trouble = _fault(error)
            self._in_trouble(what, trouble)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    # Each of these does one round

    async def _hear(self, what: str) -> None:
        done: list[str] = []
        entries = await self._entries.next(MOST_ENTRIES, WAIT_SECONDS)
        for entry in entries:
            heard = said(entry)
            self._counts.heard += heard is not None
            done += self._notebook.hear(heard, self._clock()) if heard else (entry.id,)
        self._changed.set()
        await self._entries.ack(done)
        self._is_well(what)
        # A stream with much in it, and nothing to wait for, must not keep the loop.
        await asyncio.sleep(0)

    async def _hear_stored(self, what: str) -> None:
        async for session in self._stored.sessions():
            if session:
                await self._forget(session)
            self._is_well(what)

    async def _forget(self, session: str) -> None:
        """What lies there was seen, and what mattered of it is stored: all of it is done with."""
        texts = await self._shelf.read(session)
        if texts:
            given_up = self._notebook.forget(session, texts)
            await self._shelf.put(session, ())
            self._counts.forgotten += len(texts)
            await self._entries.ack(given_up)

    async def _ask_in_turn(self, what: str) -> None:
        now = self._clock()
        session = self._notebook.due(now)
        if session is None:
            await self._until(self._notebook.next_at() - now)
        elif not self._breaker.allows():
            await asyncio.sleep(FIRST_PAUSE)
        else:
            await self._ask(session, what)

    async def _until(self, seconds: float) -> None:
        """Wait so long, or until something new is heard."""
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == float("inf") else max(0.0, seconds)):
                await self._changed.wait()

    async def _ask(self, session: str, what: str) -> None:
        about = self._notebook.page(session)
        is_ours = False
        try:
            noted = await self._shelf.read(session)
            answer = await self._model.ask(INSTRUCTIONS, question(about.heard, about.new, noted))
            # What was stored while the model thought is done with by now, and lies there no more.
            noted = await self._shelf.read(session)
            texts = merged(noted, opened(answer), self._notebook.page(session).done)
            if texts != noted:
                await self._shelf.put(session, texts)
        except ModelTroubleError as error:
            trouble, is_ours = str(error), error.is_ours
        except GarbageError:
            trouble, is_ours = GARBAGE, True
        except ShelfTroubleError as error:
            trouble = str(error)
        except Exception as error:  # noqa: BLE001 - it must not keep the other sessions from their turn
            trouble, is_ours = _fault(error), True
        else:
            self._breaker.succeeded()
            self._counts.asked += 1
            self._counts.noted += len([text for text in texts if text not in noted])
            self._is_well(what)
            await self._entries.ack(self._notebook.asked(session, about))
            return
        self._breaker.failed()
        self._counts.failed += 1
        again = self._clock() + AGAIN_SECONDS
        self._in_trouble(what, trouble)
        await self._entries.ack(self._notebook.failed(session, about, again, is_ours=is_ours))

    def _in_trouble(self, what: str, trouble: str) -> None:
        if what not in self._troubles:
            self._note(f"Intro, {what}: {trouble}; meanwhile memorables may be missed, and nothing else")
        self._troubles[what] = trouble

    def _is_well(self, what: str) -> None:
        if self._troubles.pop(what, ""):
            self._note(f"Intro, {what}: well again")


def _fault(error: Exception) -> str:
    return f"a fault of ours ({type(error).__name__})"
