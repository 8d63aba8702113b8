"""The one Redis, as far as requests need it: lookups, and the ledger of what was woven.

What goes wrong is words in the answer, and a request goes on without it; nothing raises but
cancellation. Every command names one key, so that it stays in one slot of a cluster.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field
from redis.exceptions import ResponseError

from loom_core.lookup import LEDGER_SECONDS, Answers, Entry, Reading, ledger_key
from loom_shell.guarded import DEADLINE, Command, Guarded, Health, Record
from loom_shell.kept import Kept
from loom_shell.patterns import Patterns
from loom_shell.printable import printable
from loom_shell.redis_url import Redis
from loom_shell.trouble import words

__all__ = ["Health", "Store"]

VALUE_LIMIT = 256 * 1024
"""Bytes of one value; a larger one is left out."""
LIST_LIMIT = 50
FRESH_SECONDS = 30.0
"""How old a reading of a ledger may be: so long a tombstone of another process may take to be seen."""
SCAN_COUNT = 1_000

# KEYS: the ledger. ARGV: field, value, expected. A field that is not there is nobody's, and taken.
COMPARE_AND_SET = """
local stands = redis.call('HGET', KEYS[1], ARGV[1])
if stands and stands ~= ARGV[3] then return stands end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return ARGV[2]
"""


@define
class _Found:
    """What was read so far: the deadline may cut it anywhere. `fields` is None while the ledger is unread."""

    fields: dict[str, str] | None = None
    texts: dict[str, str] = field(factory=dict)
    matched: dict[str, tuple[tuple[str, str], ...]] = field(factory=dict)
    lists: dict[str, tuple[str, ...]] = field(factory=dict)
    troubles: list[str] = field(factory=list)


class Store:
    """One per process and event loop. What it is made of: see `Guarded`."""

    def __init__(
        self,
        place: Redis | Path,
        *,
        deadline: float = DEADLINE,
        clock: Callable[[], float] = time.monotonic,
        record: Record | None = None,
    ) -> None:
        self._redis = Guarded(place, deadline=deadline, clock=clock, record=record)
        self._deadline, self._clock = deadline, clock
        self._kept = Kept()
        self._patterns = Patterns(clock)

    async def read(self, reading: Reading) -> Answers:
        """Everything asked for, as far as the store gives it; the trouble says what it did not give.

        Where the ledger cannot be read, what this process knows of it is answered; a field that the store has
        lost stands as this process knows it. A ledger that was read a moment ago is not read again, if all
        that is asked for is known: what was decided once stands.
        """
        if not (reading.texts or reading.patterns or reading.lists):
            fresh = self._kept.fresh(reading.scope, reading.fields, self._clock() - FRESH_SECONDS)
            if fresh is not None or not reading.fields:
                return Answers(fresh or {})
        found = _Found()
        trouble = await self._redis.attempt("read", lambda: self._read(reading, found))
        fields = self._ledger(reading, found.fields) if reading.fields else {}
        is_read = found.fields is not None or not reading.fields
        return Answers(fields, found.texts, found.matched, found.lists, trouble, is_read)

    async def decide(self, scope: str, entries: Sequence[Entry]) -> tuple[tuple[str, ...], str]:
        """Write fields of a ledger unless another was first; what stands of each, and the trouble.

        With `expected`, a field that stands so, or not at all, is replaced. What this process knows was first
        where the store has lost it. In trouble the decision is made among this process's own, and `remember`
        brings it to the store later.
        """
        key = ledger_key(scope)
        commands: list[Command] = []
        places: dict[str, int] = {}
        for entry in entries:
            value = self._kept.stands(scope, entry.name, entry.value, entry.expected)
            if entry.expected is None:
                commands += [("HSETNX", key, entry.name, value), ("HGET", key, entry.name)]
            else:
                commands.append(("EVAL", COMPARE_AND_SET, "1", key, entry.name, value, entry.expected))
            places[entry.name] = len(commands) - 1
        commands.append(_life(scope))
        standing: dict[str, str] = {}

        async def write() -> list[str]:
            replies = await self._redis.ask(commands)
            # Where a full store refuses to write, what stands there can still be read.
            stands = ((name, replies[place]) for name, place in places.items())
            standing.update((name, reply) for name, reply in stands if isinstance(reply, str))
            return _refused(replies)

        trouble = await self._redis.attempt("decide", write)
        self._kept.learn(scope, standing)
        for entry in entries:
            if entry.name not in standing:
                # Nothing that stands is replaced unless the store has taken part: it would come back with it.
                value = entry.value if entry.expected is None else entry.expected
                standing[entry.name] = self._kept.decide(scope, entry.name, value, None)
        return tuple(standing[entry.name] for entry in entries), trouble

    async def remember(self, scope: str, fields: Mapping[str, str]) -> str:
        """Write fields of a ledger, with what is owed to it, and begin its life again; the trouble, or ""."""
        self._kept.save(scope, fields, is_done=False)

        async def write() -> list[str]:
            writes, done = self._due(scope)
            if refused := _refused(await self._redis.ask([*writes, _life(scope)])):
                return refused
            done()
            return []

        return await self._redis.attempt("remember", write)

    def _due(self, scope: str) -> tuple[list[Command], Callable[[], None]]:
        """What the store has yet to get of a ledger, and what is to be called when it has it."""
        key, owed, unsaved = ledger_key(scope), self._kept.owed(scope), self._kept.unsaved(scope)
        writes: list[Command] = [("HSETNX", key, name, value) for name, value in owed.items()]
        if unsaved:
            writes.append(("HSET", key, *(word for pair in unsaved.items() for word in pair)))

        def done() -> None:
            self._kept.paid(scope, owed)
            self._kept.save(scope, unsaved, is_done=True)

        return writes, done

    async def probe(self) -> Health:
        """Ask whether it answers, and how it does then."""

        async def ping() -> list[str]:
            return _refused(await self._redis.ask([("PING",)]))

        await self._redis.attempt("probe", ping)
        return self.health()

    def health(self) -> Health:
        """How the last operations went; it asks nobody."""
        return self._redis.health()

    async def aclose(self) -> None:
        """Close the connections; it raises nothing, and may be called again."""
        await self._redis.aclose()

    # Readings

    async def _read(self, reading: Reading, found: _Found) -> list[str]:
        due = [pattern for pattern in reading.patterns if self._patterns.is_due(pattern)]
        known = [pattern for pattern in reading.patterns if pattern not in due]
        await self._read_known(reading, known, found)
        if due:
            # The second half of the time is for the values, and for one scan that takes long.
            until = self._clock() + self._deadline / 2
            for pattern in due:
                try:
                    await self._patterns.search(pattern, self._scan, until)
                except ResponseError as error:
                    found.troubles.append(f"{printable(pattern, 80)}: {words(error)}")
            await self._read_known(Reading(reading.scope), due, found)
        return found.troubles

    async def _read_known(self, reading: Reading, patterns: list[str], found: _Found) -> None:
        matching = [(pattern, self._patterns.keys(pattern)) for pattern in patterns]
        commands: list[Command] = [("GET", key) for key in reading.texts]
        commands += [("LRANGE", key, "0", str(LIST_LIMIT - 1)) for key in reading.lists]
        commands += [("GET", key) for _pattern, keys in matching for key in keys]
        writes, done = self._due(reading.scope) if reading.fields else ([], None)
        if reading.fields:
            writes += [_life(reading.scope)] if writes else []
            commands = [*writes, ("HMGET", ledger_key(reading.scope), *reading.fields), *commands]
        replies = iter(await self._redis.ask(commands) if commands else ())
        if reading.fields:
            if done and not _refused([next(replies) for _ in writes]):
                done()
            found.fields = self._fields(reading, next(replies), found.troubles)
        found.texts.update(_texts(reading.texts, replies, found.troubles))
        for key in reading.lists:
            if items := _items(key, next(replies), found.troubles):
                found.lists[key] = items
        for pattern, keys in matching:
            if pairs := tuple(_texts(keys, replies, found.troubles).items()):
                found.matched[pattern] = pairs
            if trouble := self._patterns.trouble(pattern):
                found.troubles.append(printable(trouble, 120))

    @staticmethod
    def _fields(reading: Reading, reply: Any, troubles: list[str]) -> dict[str, str] | None:  # noqa: ANN401
        if isinstance(reply, ResponseError):
            troubles.append(f"ledger: {words(reply)}")
            return None
        pairs = zip(reading.fields, reply, strict=True)
        return {name: value for name, value in pairs if value is not None and _fits(name, value, troubles)}

    def _ledger(self, reading: Reading, fields: dict[str, str] | None) -> dict[str, str]:
        if fields is None:
            return self._kept.known(reading.scope, reading.fields)
        self._kept.learn(reading.scope, fields)
        self._kept.was_read(reading.scope, self._clock())
        # Woven already: what was decided here while the store was away, and what the store has lost since.
        return fields | self._kept.lost(reading.scope, (it for it in reading.fields if it not in fields))

    async def _scan(self, cursor: int, match: str) -> tuple[int, list[str]]:
        command = ("SCAN", str(cursor), "MATCH", match, "COUNT", str(SCAN_COUNT))
        (reply,) = await self._redis.ask([command])
        if isinstance(reply, ResponseError):
            raise reply
        following, keys = reply
        return int(following), keys


def _life(scope: str) -> Command:
    return ("EXPIRE", ledger_key(scope), str(LEDGER_SECONDS))


def _refused(replies: Sequence[Any]) -> list[str]:
    return [words(reply) for reply in replies if isinstance(reply, ResponseError)]


def _texts(keys: Sequence[str], replies: Iterator[Any], troubles: list[str]) -> dict[str, str]:
    """What the keys hold; one that holds no text costs itself only."""
    found = {}
    for key in keys:
        reply = next(replies)
        if isinstance(reply, ResponseError):
            troubles.append(f"{printable(key, 80)}: {words(reply)}")
        elif reply is not None and _fits(key, reply, troubles):
            found[key] = reply
    return found


def _items(key: str, reply: Any, troubles: list[str]) -> tuple[str, ...]:  # noqa: ANN401
    if isinstance(reply, ResponseError):
        troubles.append(f"{printable(key, 80)}: {words(reply)}")
        return ()
    return tuple(item for item in reply if _fits(key, item, troubles))


def _fits(name: str, value: str, troubles: list[str]) -> bool:
    # A character is one to four bytes: mostly the count alone tells.
    if len(value) * 4 <= VALUE_LIMIT or len(value.encode()) <= VALUE_LIMIT:
        return True
    troubles.append(f"{printable(name, 80)}: larger than {VALUE_LIMIT} bytes")
    return False
