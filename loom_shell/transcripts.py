"""Transcripts in one process: the store they are published to, the bus, and the watcher.

No store is started before a transcript was found that a request has named, and none of it can fail a request.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from loom_core.actions import WatchFile
from loom_shell.bus import Bus
from loom_shell.driver import Driver
from loom_shell.embedded import START_SECONDS, Embedded, EmbeddedError
from loom_shell.guarded import Record
from loom_shell.redis_url import Redis
from loom_shell.watch import Places, Watcher, Watching

TEND_SECONDS = 1.0
"""How often it is looked whether the store answers."""
VERIFY_SECONDS = 30.0
"""How often it is looked whether the store still has what it took, besides after each trouble."""
ILL = frozenset({"in trouble", "left alone"})


class Transcripts:
    """One per process and event loop. `redis` None: the store is the home's own, started and looked after."""

    def __init__(
        self,
        driver: Driver,
        places: Places,
        redis: Redis | None,
        note: Callable[[str], None],
        record: Record | None = None,
    ) -> None:
        embedded = Embedded(places.home)
        self._embedded = None if redis else embedded
        self._note = note
        self.place: Redis | Path = redis or embedded.place
        """Where the stream is, for those who consume it; `opened` says from when on."""
        self.opened = asyncio.Event()
        self._bus = Bus(self.place, record=record)
        self._wanted = asyncio.Event()
        self._watcher = Watcher(driver, self._bus, places, note, self.open)
        self._closing = asyncio.Event()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._trouble = ""
        self._is_ill = self._is_left = False
        self._verified_at = time.monotonic()

    def start(self) -> None:
        """Look for what is named from now on."""
        create = asyncio.get_running_loop().create_task
        self._tasks = (create(self._watcher.run()), create(self._run()))

    def open(self) -> None:
        """Have the store, whether a transcript was found or not."""
        self._wanted.set()

    def watch(self, order: WatchFile) -> None:
        """Follow what a request has named, some time soon."""
        self._watcher.watch(order)

    def status(self) -> Watching:
        return self._watcher.status()

    async def leave(self) -> None:
        """Publish what was read, and follow nothing any more; the store stays."""
        self._is_left = True
        await self._watcher.aclose()

    async def aclose(self) -> None:
        """Let go of everything; the last process of a home ends its store."""
        self._closing.set()
        self._wanted.set()
        try:
            if not self._is_left:
                await self.leave()
        finally:
            await self._end_store()

    async def _end_store(self) -> None:
        # A start that is under way comes to its end, or its server would be nobody's.
        if self._tasks and self._embedded:
            await asyncio.wait(self._tasks, timeout=START_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._bus.aclose()
        if self._embedded and (trouble := await self._embedded.aclose()):
            self._note(trouble)

    async def _run(self) -> None:
        await self._wanted.wait()
        if self._closing.is_set():
            return
        await self._serve()
        self.opened.set()
        self._watcher.open()
        while not await self._is_closing_within(TEND_SECONDS):
            await self._tend()

    async def _tend(self) -> None:
        """The store is to be there, and to have what it took."""
        was_ill, self._is_ill = self._is_ill, (await self._bus.probe()).state in ILL
        if self._is_ill:
            await self._serve()
        elif was_ill or time.monotonic() > self._verified_at + VERIFY_SECONDS:
            self._verified_at = time.monotonic()
            await self._watcher.verify()

    async def _is_closing_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
        return self._closing.is_set()

    async def _serve(self) -> None:
        """Start the store, if it is ours to start; one that cannot be had is tried again."""
        if self._embedded is None:
            return
        try:
            await self._embedded.start()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            is_told = isinstance(error, EmbeddedError)
            text = str(error) if is_told else f"no embedded store: its start failed ({type(error).__name__})"
            if self._trouble != text:
                self._note(f"{text}; until then no transcript is published")
            self._trouble = text
        else:
            if self._trouble:
                self._note("the embedded store is there again")
            self._trouble = ""
