"""Says on the one Redis which session stored a memory (contracts section 5), as well as that goes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from redis.exceptions import ResponseError

from loom_shell.guarded import Guarded, Health
from loom_shell.redis_url import Redis
from loom_shell.trouble import words

DEADLINE = 1.0
"""Seconds; nobody waits for it."""
MOST = 256
"""Announcements that may be under way; more are left out."""


def channel(session: str) -> str:
    return f"cortex:stored:{session}"


class Announcer:
    """One per process and event loop. Who does not hear of it keeps a memorable for longer, no more."""

    def __init__(self, place: Redis | Path, note: Callable[[str], None] = lambda _: None) -> None:
        self._redis = Guarded(place, deadline=DEADLINE)
        self._note = note
        self._is_well = True
        self._tasks: set[asyncio.Task[None]] = set()

    def stored(self, session: str, memory_id: str) -> None:
        """Say it in a task of its own. A trouble is noted once, and again only after it went well."""
        if len(self._tasks) < MOST:
            task = asyncio.get_running_loop().create_task(self._stored(session, memory_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _stored(self, session: str, memory_id: str) -> None:
        async def publish() -> list[str]:
            (reply,) = await self._redis.ask([("PUBLISH", channel(session), memory_id)])
            return [words(reply)] if isinstance(reply, ResponseError) else []

        trouble = await self._redis.attempt("announce", publish)
        if trouble and self._is_well:
            self._note(f"nobody is told what the Cortex stores: {trouble}")
        self._is_well = not trouble

    def health(self) -> Health:
        return self._redis.health()

    async def aclose(self) -> None:
        """What is under way is said; it ends within its deadline."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._redis.aclose()
