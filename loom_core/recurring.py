"""What a text comes to, kept for when it comes again: bounded in number and bytes, changing no result."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

MOST = 2_048
LONGEST = 8_192
"""Texts that are kept, and characters of one: 16 MB for one function at most."""

T = TypeVar("T")


def recurring(function: Callable[[str], T]) -> Callable[[str], T]:
    """Keep what a pure function of a text gave for short ones: a conversation's are woven with every call."""
    known = lru_cache(maxsize=MOST)(function)

    @wraps(function)
    def looked_up(text: str) -> T:
        return known(text) if len(text) <= LONGEST else function(text)

    return looked_up
