"""What weaving needs of the world: profiles from disk, the one Redis, and the memory.

Nothing of it is started before there is a profile. None of it can fail a request: what is slow, down or
wrong is words in an answer, and in a note.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from attrs import frozen

from loom_core.actions import Decide, LookUp, Recall, Remember
from loom_core.events import DecisionsMade, LookupsAnswered, MemoriesRecalled
from loom_core.lookup import Answers, Question, Recalled
from loom_core.profile import Profile
from loom_core.rules import WeaveRules
from loom_core.weaving import Answered
from loom_shell.config import Config
from loom_shell.driver import Driver
from loom_shell.embedded import START_SECONDS, Embedded, EmbeddedError
from loom_shell.guarded import Record
from loom_shell.late import LateSearch
from loom_shell.log import Log
from loom_shell.memory import Cortex, MemoryPort, RemoteMemory
from loom_shell.profiles import Profiles
from loom_shell.store import Store

TEND_SECONDS = 1.0
"""How often it is looked whether there is a first profile, and whether the embedded store still answers."""
MOST_WRITES = 1_000
"""Writes after requests that may be under way; more are left out, and cost a wait at most."""
NONE: Mapping[str, Profile] = {}
ILL = frozenset({"in trouble", "left alone"})
Asks = LookUp | Recall | Decide


@frozen
class _Sources:
    """`late` None: the memory is in this process, and a search that goes on would only hold it up."""

    store: Store
    memory: MemoryPort
    late: LateSearch | None


class Weaver:
    """One per process and event loop; `start` it there. `rules` changes when a profile does."""

    def __init__(self, config: Config, log: Log, record: Record) -> None:
        self._config = config
        self._log = log
        self._record = record
        self._profiles = Profiles(config.home, self._note)
        self._embedded = Embedded(config.home)
        self._sources: _Sources | None = None
        self._tasks: set[asyncio.Task[str]] = set()
        self._tending: tuple[asyncio.Task[None], ...] = ()
        self._rules = WeaveRules(NONE, config.weave_headers)
        self._trouble = ""
        self._closing = asyncio.Event()

    @property
    def rules(self) -> WeaveRules:
        """The profiles as they are now, and the same object while they stay so."""
        found = self._profiles.all if self._sources else NONE
        if found is not self._rules.profiles:
            self._rules = WeaveRules(found, self._config.weave_headers)
        return self._rules

    async def start(self) -> None:
        """Start what the profiles that are there need, and follow their folder from now on."""
        if self._profiles.all:
            await self._open()
        loop = asyncio.get_running_loop()
        self._tending = (loop.create_task(self._profiles.watch()), loop.create_task(self._tend()))

    async def answer(self, asks: Asks) -> Answered:
        """Ask the store or the memory; within its deadline, and whatever becomes of it."""
        now = Driver.now
        sources = self._sources
        match asks:
            case LookUp(reading):
                answers = await sources.store.read(reading) if sources else Answers()
                return LookupsAnswered(now(), answers)
            case Recall(question, scope):
                found = await self._recalled(scope, question)
                return MemoriesRecalled(now(), found)
            case Decide(scope, entries):
                values, trouble = tuple(entry.value for entry in entries), ""
                if sources:
                    values, trouble = await sources.store.decide(scope, entries)
                return DecisionsMade(now(), values, trouble)

    async def _recalled(self, scope: str, question: Question) -> Recalled:
        if self._sources is None:
            return Recalled()
        try:
            if self._sources.late:
                return await self._sources.late.search(scope, question)
            return await self._sources.memory.search(question)
        except Exception as error:  # noqa: BLE001 - whatever it is, the request goes on
            return Recalled(trouble=f"the memory could not be asked ({type(error).__name__})")

    def status(self) -> dict[str, object]:
        """The profiles there are, and how the store does; None before it was needed."""
        store = msgspec.to_builtins(self._sources.store.health()) if self._sources else None
        return {"profiles": sorted(self._profiles.all), "store": store}

    def remember(self, order: Remember) -> None:
        """Write it down, in a task of its own that nobody waits for."""
        if self._sources and len(self._tasks) < MOST_WRITES:
            write = self._sources.store.remember(order.scope, dict(order.fields))
            task = asyncio.get_running_loop().create_task(write)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Write what is under way, and let go of everything; the last process of a home ends its store."""
        self._closing.set()
        # A start that is under way comes to its end, or its server would be nobody's.
        if self._tending:
            await asyncio.wait(self._tending[1:], timeout=START_SECONDS)
        for task in self._tending:
            task.cancel()
        await asyncio.gather(*self._tending, return_exceptions=True)
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._sources:
            await self._sources.store.aclose()
            if self._sources.late:
                await self._sources.late.aclose()
            await self._sources.memory.aclose()
        if trouble := await self._embedded.aclose():
            self._note(trouble)

    def _note(self, text: str) -> None:
        self._log.note("warning", text)

    async def _open(self) -> None:
        """The store and the memory. A store that cannot be had is one in trouble, and looked after."""
        config = self._config
        place = config.redis or await self._server(self._embedded)
        store = Store(place, deadline=config.redis_deadline_seconds, record=self._record)
        if config.memory is None:
            self._sources = _Sources(store, Cortex(config.home), None)
        else:
            remote = RemoteMemory(config.memory.url, config.memory.key, Driver.now)
            self._sources = _Sources(store, remote, LateSearch(remote.search))

    async def _server(self, embedded: Embedded) -> Path:
        try:
            place = await embedded.start()
        except EmbeddedError as error:
            if self._trouble != str(error):
                self._note(f"{error}; until then nothing outlives this process")
            self._trouble = str(error)
            return embedded.place
        if self._trouble:
            self._note("the embedded store is there again")
        self._trouble = ""
        return place

    async def _tend(self) -> None:
        while not await self._is_closing_within(TEND_SECONDS):
            try:
                await self._look_after()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                trouble = f"the store and the memory cannot be started ({type(error).__name__}): trying again"
                if self._trouble != trouble:
                    self._note(trouble)
                self._trouble = trouble

    async def _is_closing_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
        return self._closing.is_set()

    async def _look_after(self) -> None:
        if self._sources is None:
            if self._profiles.all:
                await self._open()
        elif self._config.redis is None and self._sources.store.health().state in ILL:
            await self._server(self._embedded)
