"""Whether a summary still holds what a profile says must survive it.

A phrase is looked for as words: however they are spaced, in capitals or not.
"""

from collections.abc import Iterable

_OPENS, _CLOSES = "<summary>", "</summary>"


def summary(answer: str) -> str:
    """What the client keeps of an answer: what its last summary tags hold, "" without them."""
    _, opened, rest = answer.rpartition(_OPENS)
    told, closed, _ = rest.partition(_CLOSES)
    return told.strip() if opened and closed else ""


def missing(phrases: Iterable[str], text: str) -> tuple[str, ...]:
    """The phrases that the text does not hold, each once, in their order."""
    words = _words(text)
    return tuple(phrase for phrase in dict.fromkeys(phrases) if _words(phrase) not in words)


def _words(text: str) -> str:
    return " ".join(text.casefold().split())
