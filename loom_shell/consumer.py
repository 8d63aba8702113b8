"""One consumer of a group on the stream of transcripts: each entry at least once.

What it was given and has not acknowledged comes first, then what a dead consumer left, then what is new.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.exceptions import ResponseError

from loom_shell.guarded import Command, Guarded, Health, Record
from loom_shell.redis_url import Redis
from loom_shell.stream import STREAM, BusTroubleError, Entry, asked, entry
from loom_shell.trouble import words

LONGEST_WAIT = 5.0
"""Seconds of one wait at the store; a store that was stopped is noticed so late."""
DEADLINE = 5.0
DEAD_SECONDS = 60.0
"""How long an entry is left to the consumer that was given it."""
CLAIM_SECONDS = 15.0
"""How often it is looked for what dead consumers left."""
ANSWER_BYTES = 16 * 1024 * 1024
"""About so much is asked for at once: lines may have megabytes."""
FIRST_READ = 16
"""Entries of the first reading, when nobody knows how large they are."""
GONE = ("NOGROUP", "UNBLOCKED")
"""What the store says when the stream or the group was removed, before a reading or during one."""


class _NoGroupError(Exception):
    """The store has lost the group, and what was pending in it."""


class Consumer:
    """One per process, event loop and group. A `name` that stays the same finds its own entries again.

    After BusTroubleError wait a little and go on: nothing is lost by it, and what was not acknowledged
    comes again. So does what it has held for 60 s.
    """

    def __init__(
        self,
        place: Redis | Path,
        group: str,
        name: str,
        *,
        deadline: float = DEADLINE,
        record: Record | None = None,
    ) -> None:
        self.group, self.name = group, name
        self._redis = Guarded(place, deadline=deadline, record=record)
        # A reading that waits has a connection and a deadline of its own.
        self._waiting = Guarded(place, deadline=deadline + LONGEST_WAIT, record=record)
        self._is_known = False
        self._after: str | None = "0"  # of its own entries those after this one are next
        self._claim_after, self._claim_at = "0-0", 0.0
        self._room = FIRST_READ
        self.trimmed = 0
        """Entries that were gone from the stream before this consumer could read them again."""

    async def next(self, most: int, wait_seconds: float) -> list[Entry]:
        """At least one entry and at most `most`, or none after the wait, which may be a shorter one."""
        try:
            try:
                return await self._next(most, wait_seconds)
            except _NoGroupError:
                self._is_known, self._after = False, "0"
                return await self._next(most, wait_seconds)
        except _NoGroupError:
            raise BusTroubleError("the store: it loses the group again and again") from None
        except BaseException:
            # What an answer that never came may have held is among its own entries.
            self.again()
            raise

    def again(self) -> None:
        """Next come, once more, all entries that were not acknowledged."""
        self._after, self._room = "0", 1

    async def ack(self, ids: Sequence[str]) -> None:
        """Be done with these entries. In trouble they come again."""
        if ids:
            await asked(self._redis, "ack", [("XACK", STREAM, self.group, *ids)])

    async def lag(self) -> int:
        """How many entries the group has yet to acknowledge, those among them that nobody was given."""
        replies: list[Any] = []

        async def ask() -> list[str]:
            replies.extend(await self._redis.ask([("XINFO", "GROUPS", STREAM), ("XLEN", STREAM)]))
            return []

        if trouble := await self._redis.attempt("lag", ask):
            raise BusTroubleError(trouble)
        groups, length = replies
        if isinstance(length, ResponseError):
            raise BusTroubleError(f"the store: {words(length)}")
        # A stream that is not there yet has no groups, and the store refuses to tell of them.
        for words_ in groups if isinstance(groups, list) else ():
            found = dict(zip(words_[::2], words_[1::2], strict=False))
            if found.get("name") == self.group:
                unread = found.get("lag")
                return int(found.get("pending", 0)) + (length if unread is None else int(unread))
        return int(length)

    def health(self) -> Health:
        """How the last operations went; it asks nobody."""
        return self._redis.health()

    async def aclose(self) -> None:
        """Close the connections; it raises nothing, and may be called again."""
        await self._redis.aclose()
        await self._waiting.aclose()

    async def _next(self, most: int, wait_seconds: float) -> list[Entry]:
        if not self._is_known:
            await self._join()
        most = max(1, min(most, self._room))
        if found := await self._own(most):
            return found
        if time.monotonic() >= self._claim_at and (found := await self._claimed(most)):
            return found
        milliseconds = round(min(wait_seconds, LONGEST_WAIT) * 1000)
        wait = ("BLOCK", str(milliseconds)) if milliseconds > 0 else ()
        redis = self._waiting if wait else self._redis
        return self._sized(await self._read(redis, ("COUNT", str(most), *wait), ">"))

    async def _join(self) -> None:
        """From the stream's beginning: what was published before there was a group is for it too."""
        command = ("XGROUP", "CREATE", STREAM, self.group, "0", "MKSTREAM")
        await self._ask(self._redis, command, is_there="BUSYGROUP")
        self._is_known = True

    async def _own(self, most: int) -> list[Entry]:
        while self._after is not None:
            found = await self._read(self._redis, ("COUNT", str(most)), self._after)
            self._after = found[-1][0] if found else None
            if entries := await self._still_there(found):
                return entries
        return []

    async def _claimed(self, most: int) -> list[Entry]:
        idle = str(round(DEAD_SECONDS * 1000))
        command = ("XAUTOCLAIM", STREAM, self.group, self.name, idle, self._claim_after, "COUNT", str(most))
        reply = await self._ask(self._redis, command)
        self._claim_after = str(reply[0])
        if self._claim_after == "0-0":
            self._claim_at = time.monotonic() + CLAIM_SECONDS
        return await self._still_there(reply[1])

    async def _read(self, redis: Guarded, how: tuple[str, ...], after: str) -> list[tuple[str, Any]]:
        command = ("XREADGROUP", "GROUP", self.group, self.name, *how, "STREAMS", STREAM, after)
        reply = await self._ask(redis, command)
        return reply[0][1] if reply else []

    async def _still_there(self, found: Sequence[tuple[str, Any]]) -> list[Entry]:
        """A pending entry that was trimmed away has nothing in it: it is acknowledged, and counted."""
        gone = [id_ for id_, values in found if id_ and not values]
        await self.ack(gone)
        self.trimmed += len(gone)
        return self._sized([(id_, values) for id_, values in found if values])

    def _sized(self, found: Sequence[tuple[str, Any]]) -> list[Entry]:
        """The entries; how large they are says how many may be asked for next."""
        entries = [entry(id_, values) for id_, values in found]
        if entries:
            size = sum(len(one.published.raw) for one in entries) // len(entries) + 1
            self._room = max(1, min(2 * self._room, ANSWER_BYTES // size))
        return entries

    async def _ask(self, redis: Guarded, command: Command, is_there: str = "") -> Any:  # noqa: ANN401
        replies: list[Any] = []

        async def ask() -> list[str]:
            replies.extend(await redis.ask([command]))
            is_known = isinstance(replies[0], ResponseError) and not _says(replies[0], *GONE, is_there)
            return [words(replies[0])] if is_known else []

        if trouble := await redis.attempt("consume", ask):
            raise BusTroubleError(trouble)
        if isinstance(replies[0], ResponseError) and not _says(replies[0], is_there):
            raise _NoGroupError
        return replies[0]


def _says(error: ResponseError, *codes: str) -> bool:
    """Whether it begins with one of the codes; redis-py may keep the code apart from the text."""
    said = f"{getattr(error, 'status_code', None) or ''} {error}".split()
    return any(code and code in said[:2] for code in codes)
