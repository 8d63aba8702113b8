"""The bus: lines of transcripts to whoever listens now, and to consumer groups that may be down.

`transcript:{session}` is pub/sub; `loom:transcript` is a stream, trimmed by length and by memory. Delivery is
at least once: whoever consumes knows an entry again by its session and `line_id`. Whatever goes wrong is
`BusTroubleError`, within a deadline, and what raised it can be used again.
"""

import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path

from redis.exceptions import ResponseError

from loom_core.publication import PublishedLine
from loom_shell.consumer import Consumer
from loom_shell.guarded import Command, Guarded, Health, Record
from loom_shell.redis_url import Redis
from loom_shell.stream import NAMES, STREAM, BusTroubleError, Entry, asked, message, values
from loom_shell.stream_room import FULL, MOST_ENTRIES, Room
from loom_shell.trouble import words

__all__ = ["Bus", "BusTroubleError", "Consumer", "Entry"]

MARK_SECONDS = 30 * 24 * 3600
DEADLINE = 5.0
"""Seconds of one operation: a batch may be some megabytes, and nobody's request waits for it."""

# KEYS: the stream, the mark. ARGV: the mark as expected, its new value, its life, the stream's bound; then
# for each line a channel, a message, and the values of an entry. The store writes all of it, or nothing.
ADVANCE = f"""
local stands = redis.call('GET', KEYS[2]) or ''
if stands ~= ARGV[1] then return stands end
for i = 5, #ARGV, 10 do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*',
    {", ".join(f"'{name}', ARGV[i + {place}]" for place, name in enumerate(NAMES, 2))})
  redis.call('PUBLISH', ARGV[i], ARGV[i + 1])
end
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
return ARGV[2]
"""


class Bus:
    """The writing side, one per process and event loop; it connects when it is first used."""

    def __init__(
        self,
        place: Redis | Path,
        *,
        deadline: float = DEADLINE,
        clock: Callable[[], float] = time.monotonic,
        record: Record | None = None,
    ) -> None:
        self._redis = Guarded(place, deadline=deadline, clock=clock, record=record)
        self._room = Room(self._redis)

    async def publish(self, batch: Sequence[PublishedLine]) -> None:
        """Publish the lines in their order, in one pipeline. In trouble some of them may be published."""
        commands: list[Command] = []
        for one in batch:
            pairs = (word for pair in zip(NAMES, values(one), strict=True) for word in pair)
            commands.append(("XADD", STREAM, "MAXLEN", "~", str(MOST_ENTRIES), "*", *pairs))
            commands.append(("PUBLISH", *message(one)))
        if commands:
            await self._have_room()
            await asked(self._redis, "publish", commands)
            self._room.take(len(batch), sum(len(one.raw) for one in batch))

    async def advance(self, file: str, expected: str, mark: str, batch: Sequence[PublishedLine]) -> str:
        """Publish the lines and set the file's mark, all or nothing, if the mark stands as expected.

        The mark that stands then. Another than the new one: nothing was published, for somebody else went
        on with this file, or the store has lost its latest. "" is the mark of a file that has none.
        """
        command = ["EVAL", ADVANCE, "2", STREAM, _key(file), expected, mark, str(MARK_SECONDS)]
        command.append(str(MOST_ENTRIES))
        for one in batch:
            command += (*message(one), *values(one))
        await self._have_room()
        (stands,) = await asked(self._redis, "publish", [tuple(command)])
        if stands == mark:
            self._room.take(len(batch), sum(len(one.raw) for one in batch))
        return str(stands)

    async def _have_room(self) -> None:
        if not await self._room.is_there():
            raise BusTroubleError(FULL)

    async def mark(self, file: str) -> str:
        """The mark that stands of the file, or ""."""
        (mark,) = await self.marks([file])
        return mark

    async def marks(self, files: Sequence[str]) -> list[str]:
        """The mark of each, in their order."""
        found = await asked(self._redis, "mark", [("GET", _key(file)) for file in files]) if files else []
        return [str(mark or "") for mark in found]

    async def probe(self) -> Health:
        """Ask the store whether it answers, and how it does then."""

        async def ping() -> list[str]:
            return [words(it) for it in await self._redis.ask([("PING",)]) if isinstance(it, ResponseError)]

        await self._redis.attempt("probe", ping)
        return self.health()

    def health(self) -> Health:
        """How the last operations went; it asks nobody."""
        return self._redis.health()

    async def aclose(self) -> None:
        """Close the connections; it raises nothing, and may be called again."""
        await self._redis.aclose()


def _key(file: str) -> str:
    """Its braces put it into the slot of the stream, should the store be a cluster."""
    digest = blake2b(file.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    return f"loom:at:{{{STREAM}}}:{digest}"
