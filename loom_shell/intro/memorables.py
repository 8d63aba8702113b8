"""The memorables of a session: each a sentence on a line, each once, the newest first, and few."""

from collections.abc import Collection, Iterable, Sequence

from loom_core.redaction import redacted
from loom_core.wrapper import safe
from loom_shell.memory.lexical import terms
from loom_shell.memory.verbatim import plain

MOST = 12
"""Memorables of one session."""
LEAST_CHARACTERS, MOST_CHARACTERS = 8, 400
ALIKE = 0.75
"""Two texts of which such a share of all their words is common say the same."""

Words = frozenset[str]


def sentence(text: str) -> str:
    """A text as a memorable: one line, safe, without secrets; "" for one that is too short or too long."""
    line = " ".join(safe(redacted(plain(text))).split())
    return line if LEAST_CHARACTERS <= len(line) <= MOST_CHARACTERS else ""


def words(text: str) -> Words:
    """What a text is compared by: its words without stop words; one without any is compared as it is."""
    return frozenset(terms(text)) or frozenset({text.casefold()})


def is_alike(one: Words, other: Words) -> bool:
    return len(one & other) >= ALIKE * len(one | other)


def merged(noted: Sequence[str], found: Iterable[str], done: Collection[Words]) -> tuple[str, ...]:
    """The new ones before those noted, none that says what another does, or what is done with."""
    kept: list[str] = []
    seen = [words(text) for text in noted]
    for text in filter(None, map(sentence, found)):
        own = words(text)
        if not any(is_alike(own, other) for other in (*seen, *done)):
            kept.append(text)
            seen.append(own)
    stay = (text for text in noted if not any(is_alike(words(text), other) for other in done))
    return (*kept, *stay)[:MOST]
