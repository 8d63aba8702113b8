"""Where memorables lie for the Loom to weave (contracts section 5): a list for each session, for a day."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.exceptions import ResponseError

from loom_shell.guarded import Command, Guarded, Health, Record
from loom_shell.redis_url import Redis
from loom_shell.trouble import words

SECONDS = 24 * 3600
DEADLINE = 2.0
"""Seconds; no request waits for it."""
MOST_READ = 50
MAX_TEXT = 4_096
"""Characters of a text that somebody else put there; a longer one is not read."""


class ShelfTroubleError(Exception):
    """Why the shelf cannot be used now, in one sentence."""


def key(session: str) -> str:
    return f"intro:memorables:{session}"


class Shelf:
    """One per process and event loop."""

    def __init__(self, place: Redis | Path, record: Record | None = None) -> None:
        self._redis = Guarded(place, deadline=DEADLINE, record=record)

    async def read(self, session: str) -> tuple[str, ...]:
        """What lies there, in its order. ShelfTroubleError."""
        (found,) = await self._asked("memorables", [("LRANGE", key(session), "0", str(MOST_READ - 1))])
        return tuple(text for text in found if len(text) <= MAX_TEXT)

    async def put(self, session: str, texts: Sequence[str]) -> None:
        """Have these lie there and no others: who reads meanwhile finds the old ones or the new ones.

        ShelfTroubleError.
        """
        own = key(session)
        fill: list[Command] = [("RPUSH", own, *texts), ("EXPIRE", own, str(SECONDS))] if texts else []
        await self._asked("memorables", [("MULTI",), ("DEL", own), *fill, ("EXEC",)])

    def health(self) -> Health:
        return self._redis.health()

    async def aclose(self) -> None:
        await self._redis.aclose()

    async def _asked(self, operation: str, commands: list[Command]) -> list[Any]:
        replies: list[Any] = []

        async def ask() -> list[str]:
            replies.extend(await self._redis.ask(commands))
            # A transaction's replies stand in its last one.
            inner = [it for it in replies if isinstance(it, list)]
            each = [*replies, *(reply for one in inner for reply in one)]
            return [words(reply) for reply in each if isinstance(reply, ResponseError)]

        if trouble := await self._redis.attempt(operation, ask):
            raise ShelfTroubleError(trouble)
        return replies
