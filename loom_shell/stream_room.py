"""Whether the stream has room: it is trimmed, and what no Scribe has stored yet must not be among that.

The watcher reads files, which wait; so while the stream holds much that is unread, nothing is published.
Groups of a Scribe that nobody serves any more hold nobody up, and neither does Intro.
"""

from typing import Any

from loom_shell.guarded import Command, Guarded
from loom_shell.stream import STREAM

MOST_ENTRIES = 100_000
MOST_MEMORY = 128 * 1024 * 1024
"""Bytes the stream may take in the store: a quarter of what the embedded one has."""
LOOK_BYTES, LOOK_LINES = 8 * 1024 * 1024, 4_096
"""After so much was published it is asked how the stream stands."""
UNREAD = 0.5
"""Of its bounds, how much may be unread before nothing more is published."""
SERVED_SECONDS = 600.0
"""A group is served while one of its consumers has asked for entries that lately."""
GROUP = "scribe"
"""How the names of the groups begin that are waited for."""
FULL = "the stream is full of lines that are not stored yet"


class Room:
    """Of one process. It asks now and then, and each time while there is none."""

    def __init__(self, redis: Guarded) -> None:
        self._redis = redis
        self._bytes = self._lines = 0
        self._is_full = False

    async def is_there(self) -> bool:
        """Whether more may be published now."""
        if self._is_full or self._bytes >= LOOK_BYTES or self._lines >= LOOK_LINES:
            self._bytes = self._lines = 0
            await self._redis.attempt("trim", self._look)
        return not self._is_full

    def take(self, lines: int, size: int) -> None:
        """So many lines, of so many bytes in all, were published."""
        self._lines += lines
        self._bytes += size

    async def _look(self) -> list[str]:
        asks: list[Command] = [
            ("MEMORY", "USAGE", STREAM, "SAMPLES", "20"),
            ("XLEN", STREAM),
            ("XINFO", "GROUPS", STREAM),
        ]
        memory, length, groups = await self._redis.ask(asks)
        if not isinstance(length, int) or not length:
            self._is_full = False
            return []
        # Where the user of the store may not ask for memory, its length is all that bounds it.
        size = memory / length if isinstance(memory, int) else 0.0
        unread = await self._unread(length, groups)
        # Once it is full, half of that has to go: so that it is not full again at once.
        bound = UNREAD / 2 if self._is_full else UNREAD
        self._is_full = unread > bound * MOST_ENTRIES or unread * size > bound * MOST_MEMORY
        if size * length > MOST_MEMORY:
            # Lines are small or large: their number alone bounds no memory.
            keep = max(int(MOST_MEMORY / size), unread)
            await self._redis.ask([("XTRIM", STREAM, "MAXLEN", "~", str(keep))])
        return []

    async def _unread(self, length: int, groups: object) -> int:
        """Entries that the slowest Scribe has yet to store."""
        found = [group for group in _listed(groups) if str(group.get("name", "")).startswith(GROUP)]
        asks: list[Command] = [("XINFO", "CONSUMERS", STREAM, str(group["name"])) for group in found]
        served = await self._redis.ask(asks) if asks else []
        unread = 0
        for group, consumers in zip(found, served, strict=True):
            idle = [int(one.get("idle", 0)) for one in _listed(consumers)]
            if not idle or min(idle) <= SERVED_SECONDS * 1_000:
                lag = group.get("lag")
                unread = max(unread, int(group.get("pending", 0)) + (length if lag is None else int(lag)))
        return min(unread, length)


def _listed(replies: object) -> list[dict[str, Any]]:
    """What XINFO tells, a mapping for each: it comes as a flat list of names and values."""
    return [
        it if isinstance(it, dict) else dict(zip(it[::2], it[1::2], strict=False))
        for it in (replies if isinstance(replies, list) else ())
        if isinstance(it, dict | list)
    ]
