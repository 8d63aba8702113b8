"""A search that came too late for its prompt: what it found is for the next prompt of the conversation.

weaving.md, "The ledger": a decision is made under a deadline, and stands. So a search goes on a little
beyond it, and what it finds waits, bounded, for the next one.
"""

import asyncio
from collections.abc import Callable, Coroutine

from msgspec.structs import replace as evolve

from loom_core.lookup import Memory, Question, Recalled
from loom_shell.memory import TIMED_OUT

Search = Callable[[Question], Coroutine[object, object, Recalled]]

LATE = 2_000_000_000
"""Nanoseconds a search may take in all."""
MOST_LATE = 32
"""Searches that may go on beyond their deadline; others end with it."""
MOST_WAITING = 256
"""Conversations for which something waits; the one that waits for longest goes first."""


class LateSearch:
    """For one event loop. A search never takes longer than its question says."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._running: set[asyncio.Task[Recalled]] = set()
        self._waiting: dict[str, tuple[Memory, ...]] = {}

    async def search(self, scope: str, question: Question) -> Recalled:
        """Search for a prompt of the conversation `scope`; what came late for the one before comes first."""
        if len(self._running) >= MOST_LATE:
            return await self._search(question)
        patient = evolve(question, deadline=max(question.deadline, LATE))
        task = asyncio.get_running_loop().create_task(self._search(patient))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            done, _ = await asyncio.wait((task,), timeout=question.deadline / 1e9)
        except asyncio.CancelledError:
            task.cancel()
            raise
        waited = self._waiting.pop(scope, ())
        if done:
            found = task.result()
        else:
            found = Recalled(trouble=TIMED_OUT)
            task.add_done_callback(lambda late: self._keep(scope, late))
        known = {memory.id for memory in waited}
        new = tuple(memory for memory in found.memories if memory.id not in known)
        return evolve(found, memories=(*waited, *new)) if waited else found

    async def aclose(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _keep(self, scope: str, late: asyncio.Task[Recalled]) -> None:
        if late.cancelled() or late.exception() or not (found := late.result().memories):
            return
        self._waiting.pop(scope, None)
        self._waiting[scope] = found
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
