"""Which keys of the store match a pattern: found by SCAN, seldom, in bounded steps.

A key space may be larger than one request can look through. So a pass goes on where the last request
left it; until the first pass is whole, what was seen so far is the answer.
"""

import heapq
import math
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from attrs import define, field

Scan = Callable[[int, str], Awaitable[tuple[int, list[str]]]]
"""One SCAN from a cursor with a MATCH: the next cursor (0 at the end) and keys."""

KEPT_SECONDS = 10.0
ROUNDS = 10
"""Scans of one request and pattern."""
MOST_KEYS = 50
PATTERNS = 64

_MEANT = re.compile(r"[\[\]?\\^]")


def match(pattern: str) -> str:
    """The pattern as MATCH takes it: of the signs that mean something there, only `*` does so here."""
    return _MEANT.sub(r"\\\g<0>", pattern)


@define
class _Search:
    keys: tuple[str, ...] = ()
    at: float = -math.inf
    cursor: int = 0
    seen: set[str] = field(factory=set)
    is_whole: bool = False
    is_cut: bool = False
    is_under_way: bool = False


class Patterns:
    """What is known of each pattern. `clock` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._searches: OrderedDict[str, _Search] = OrderedDict()

    def is_due(self, pattern: str) -> bool:
        """Whether to search again. Not while another request does."""
        search = self._searches.get(pattern)
        if search is None:
            return True
        return not search.is_under_way and self._clock() - search.at >= KEPT_SECONDS

    def keys(self, pattern: str) -> tuple[str, ...]:
        """The keys as known, sorted."""
        search = self._searches.get(pattern)
        return search.keys if search else ()

    def trouble(self, pattern: str) -> str:
        """Why the keys are not all there are, or ""."""
        search = self._searches.get(pattern)
        if search is None or not search.is_whole:
            return f"{pattern}: not all keys of the store were looked at yet"
        return f"{pattern}: more than {MOST_KEYS} keys" if search.is_cut else ""

    async def search(self, pattern: str, scan: Scan, until: float) -> None:
        """Look on; no scan begins after `until`. What `scan` raises ends this request's part of it."""
        search = self._search(pattern)
        search.is_under_way = True
        try:
            for _ in range(ROUNDS):
                if self._clock() >= until:
                    break
                search.cursor, keys = await scan(search.cursor, match(pattern))
                search.seen.update(keys)
                if not search.cursor:
                    self._end(search)
                    break
                if len(search.seen) > 2 * MOST_KEYS:
                    # One more than is told, so that it shows that there are more.
                    search.seen = set(heapq.nsmallest(MOST_KEYS + 1, search.seen))
        finally:
            search.is_under_way = False
            if not search.is_whole:
                search.keys = _first(search.seen)

    def _end(self, search: _Search) -> None:
        search.keys = _first(search.seen)
        search.is_cut = len(search.seen) > MOST_KEYS
        search.at, search.seen, search.is_whole = self._clock(), set(), True

    def _search(self, pattern: str) -> _Search:
        if pattern not in self._searches:
            while len(self._searches) >= PATTERNS:
                self._searches.popitem(last=False)
            self._searches[pattern] = _Search()
        return self._searches[pattern]


def _first(keys: set[str]) -> tuple[str, ...]:
    return tuple(heapq.nsmallest(MOST_KEYS, keys))
