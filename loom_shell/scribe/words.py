"""Words to look for: what is between quotation marks stands together, and all of them must be there.

Both kinds of database are asked with the same words: letters and digits, without regard to case and accents,
compared by their stems, for which SQLite has Porter's rules and Postgres Snowball's. Nothing in a question is
syntax of a database.
"""

import re
import unicodedata

Phrase = tuple[str, ...]

MOST = 32
"""Words of a question; more are not looked for."""
MOST_READ = 4_096
"""Characters of a question that are read."""
MOST_LETTERS = 256
"""Characters of a word that is looked for; a longer one is clipped, and not found."""

_WORD = re.compile(r"[^\W_]+")
"""What FTS5's tokenizer unicode61 makes its tokens of: letters and digits."""
_ACCENT = re.compile(r"[\u0300-\u036f]")
"""The combining diacritical marks, which that tokenizer leaves out."""
_QUOTED = re.compile(r'"([^"]*)"?|([^\s"]+)')


def phrases(question: str) -> tuple[Phrase, ...]:
    """The phrases of a question, each of one word or more; none if it has no word."""
    found: list[Phrase] = []
    left = MOST
    for quoted, single in _QUOTED.findall(question[:MOST_READ]):
        # A word with a mark in it, such as `e-mail`, is a phrase.
        words = tuple(it[:MOST_LETTERS] for it in folded(quoted or single).split())[:left]
        left -= len(words)
        if words:
            found.append(words)
    return tuple(dict.fromkeys(found))


def folded(text: str) -> str:
    """The words of a text with a space between, lower case, without accents."""
    text = text.lower()
    if not text.isascii():
        text = unicodedata.normalize("NFC", _ACCENT.sub("", unicodedata.normalize("NFD", text)))
    return " ".join(_WORD.findall(text))


def fts5(asked: tuple[Phrase, ...]) -> str:
    """The expression for SQLite: every phrase, quoted."""
    return " AND ".join(f'"{" ".join(words)}"' for words in asked)


def first(text: str, asked: tuple[Phrase, ...]) -> int:
    """About where in a text the first of the words stands; 0 where only a stem of it does."""
    low = text.lower()
    for words in asked:
        for clipped in (words[0], words[0][: max(3, len(words[0]) * 2 // 3)]):
            if (found := low.find(clipped)) >= 0:
                return min(found, len(text))
    return 0
