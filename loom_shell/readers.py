"""Who reads along in one process: the watcher that publishes transcripts, the Scribe, Intro, and the Cortex.

Each can fail by itself, and none can fail a request. Of the processes of one home only one stores and
notices: an entry that two have taken is stored once all the same, but costs twice.
"""

import asyncio
import importlib
import os
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.types import ASGIApp

from loom_core.actions import WatchFile
from loom_shell.claims import Claims
from loom_shell.config import Config
from loom_shell.consumer import Consumer
from loom_shell.cortex import Announcer, CortexKey, cortex_pages
from loom_shell.driver import Driver
from loom_shell.guarded import Record
from loom_shell.intro import Intro, intro
from loom_shell.log import Log
from loom_shell.memory import Cortex, MemoryTroubleError
from loom_shell.memory.schema import FILE_NAME as MEMORIES
from loom_shell.stream import BusTroubleError
from loom_shell.transcripts import Transcripts
from loom_shell.watch import Places

if TYPE_CHECKING:
    from loom_shell.scribe import Scribe

CLAIM_SECONDS = 5.0
"""How often a process that does not read along looks whether the one that did has gone."""
AGAIN_SECONDS = 5.0
STORING_SECONDS = 2.0
"""What the Scribe gets at the end for what was published last."""
CLAIMED = Path("readers")
VALKEY = "valkey"
"""The folder of the home's own store, once it was used."""


class Readers:
    """One per process and event loop; `start` it there."""

    def __init__(self, config: Config, driver: Driver, log: Log, record: Record) -> None:
        self._config, self._log = config, log
        places = Places(config.transcript_roots, config.home, polls=config.transcript_polls)
        self._transcripts = Transcripts(driver, places, config.redis, self._note, record)
        self._claims = Claims(config.home, "readers")
        self._consumer: Consumer | None = None
        self._scribe: Scribe | None = None
        self._intro: Intro | None = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._memory = Cortex(config.home)
        self._announcer = Announcer(self._transcripts.place, self._note)

    def watch(self, order: WatchFile) -> None:
        """Follow what a request has named, some time soon."""
        if self._config.watches:
            self._transcripts.watch(order)

    def cortex(self) -> ASGIApp | None:
        """The pages of the home's own memory; None where the memory is another's."""
        if self._config.memory is not None:
            return None
        key = CortexKey(self._config.home, self._config.memory_key)
        return cortex_pages(self._memory, key, self._announcer.stored)

    def start(self) -> None:
        if not self._config.watches:
            return
        self._transcripts.start()
        if self._config.redis or (self._config.home / VALKEY).exists():
            # What was published when it last ended, or by others, may not be stored yet.
            self._transcripts.open()
        self._tasks = (asyncio.get_running_loop().create_task(self._read_along()),)

    async def status(self) -> dict[str, Any]:
        """What each of them does, for people and programs; it waits for the memory's file alone."""
        stored = self._scribe.status() if self._scribe else None
        noticed = self._intro.figures if self._intro else None
        waits = {"state": "not begun, or another process's"} if self._tasks else None
        return {
            "transcripts": _plain(self._transcripts.status()) if self._config.watches else None,
            "scribe": _plain(stored) if stored else waits if self._config.scribe_serves else None,
            "intro": _plain(noticed) if noticed else waits if self._config.intro else None,
            "memories": await self._remembered(),
        }

    async def aclose(self) -> None:
        """Publish and store what was read, and let go of everything, whatever fails on the way."""
        async with AsyncExitStack() as after:
            after.push_async_callback(self._transcripts.aclose)
            after.push_async_callback(self._memory.aclose)
            after.callback(self._claims.close)
            after.push_async_callback(self._end_readers)
            await self._transcripts.leave()
            await self._until_stored()

    async def _end_readers(self) -> None:
        async with AsyncExitStack() as each:
            each.push_async_callback(self._announcer.aclose)
            each.push_async_callback(self._end_those_who_read)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _end_those_who_read(self) -> None:
        for one in (self._consumer, self._intro):
            if one is not None:
                await one.aclose()

    async def _read_along(self) -> None:
        await self._transcripts.opened.wait()
        await self._claimed()
        config, machine = self._config, os.uname().nodename
        loops: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
        if config.scribe_serves:
            # Imported by who stores, and in a thread: SQLAlchemy takes some tenths of a second, and 17 MB.
            scribe = await asyncio.to_thread(importlib.import_module, "loom_shell.scribe")
            kept = config.scribe or config.home / scribe.FILE_NAME
            name = scribe.group(kept, machine if config.redis else "")
            self._consumer = Consumer(self._transcripts.place, name, machine)
            self._scribe = scribe.Scribe(self._consumer, scribe.Database(kept), self._log.note)
            loops["scribe"] = self._scribe.run
        if config.intro is not None:
            self._intro = intro(config.intro, self._transcripts.place, f"intro-{machine}", self._note)
            loops["intro"] = self._intro.run
        async with asyncio.TaskGroup() as both:
            for name, loop in loops.items():
                both.create_task(self._for_good(name, loop))

    async def _for_good(self, name: str, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Neither ends with the other, nor by a fault of its own."""
        while True:
            try:
                await loop()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told and tried again
                self._note(f"the {name} had to begin anew ({type(error).__name__})")
            await asyncio.sleep(AGAIN_SECONDS)

    async def _until_stored(self) -> None:
        """What was published last is stored, as far as that goes soon; the rest waits for the next start."""
        with suppress(TimeoutError, BusTroubleError):
            async with asyncio.timeout(STORING_SECONDS):
                while self._consumer and await self._consumer.lag():  # noqa: ASYNC110 - the store tells nobody
                    await asyncio.sleep(0.02)

    async def _claimed(self) -> None:
        """Wait until no other process of this home reads along."""
        while not self._claims.take(CLAIMED):  # noqa: ASYNC110 - another process sets no event of ours
            await asyncio.sleep(CLAIM_SECONDS)

    async def _remembered(self) -> dict[str, Any] | None:
        if self._config.memory is not None or not (self._config.home / MEMORIES).exists():
            return None
        try:
            return _plain(await self._memory.counts())
        except MemoryTroubleError as trouble:
            return {"trouble": str(trouble)}

    def _note(self, text: str) -> None:
        self._log.note("warning", text)


def _plain(figures: object) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(figures)
    return plain
