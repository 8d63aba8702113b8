"""Requests that were woven into, and what must hold of one after the other."""

from collections.abc import Mapping, Sequence

from attrs import frozen

from loom_shell.demo.places import Part


@frozen
class Cache:
    """Tokens that upstream read from its prompt cache for one answer, and that it wrote there."""

    read: int
    written: int


@frozen
class Woven:
    """One request: as its client wrote it, as it went up, and what the second has more."""

    number: int
    written: bytes
    up: bytes
    parts: Sequence[Part]
    cache: Cache


def cache_of(line: Mapping[str, object]) -> Cache:
    """As the Loom's log has it."""
    tokens = line.get("tokens")
    counts = tokens if isinstance(tokens, dict) else {}
    return Cache(counts.get("cache_read", 0), counts.get("cache_creation", 0))


def fault(new: Woven, before: Sequence[Woven]) -> str:
    """What is wrong with a request, of a conversation in which these went before it; "" if nothing is."""
    if not new.parts:
        return "went up as its client wrote it: nothing was woven into it"
    for last in before[-1:]:
        if last.written == new.written and last.up != new.up:
            return f"is request {last.number} once more, and was woven otherwise"
        lost = [part for part in last.parts if part not in new.parts]
        if lost:
            return f"has not what was woven at {lost[0].path} before"
        there = last.cache.read + last.cache.written
        if new.cache.read < there:
            return f"read {new.cache.read:,} tokens from the cache, and {there:,} were there"
    return ""
