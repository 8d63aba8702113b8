"""The words of the recipe: a question becomes an FTS5 expression, and a memory gets its surroundings.

An expression is the question's words without stop words, each quoted, joined by OR: whatever holds one
of them is found, and the ranking (BM25) says what is near. FTS5's tokenizer does the stemming.
"""

import re
import unicodedata
from datetime import UTC, datetime

MOST_TERMS = 48
"""Terms of an expression; of a longer question the first half of them and the last."""
MOST_READ = 4_096
"""Characters looked at from each end of a question: what stands between is pasted, not said."""
MOST_LETTERS = 64
"""Characters of a term; a longer one is no word."""
AROUND = 400
"""Characters taken from each neighbour: the end of the one before, the beginning of the one after."""

_STOP = """
    a about above after again against all am an and any are as at be because been before being below
    between both but by can could did do does doing down during each few for from further had has have
    having he her here hers herself him himself his how i if in into is it its itself just let me more
    most my myself no nor not now of off on once only or other our ours ourselves out over own please
    same shall she should so some such than that the their theirs them themselves then there these they
    this those through to too under until up us very was we were what when where which while who whom
    whose why will with would you your yours yourself yourselves
    d ll m re s t ve aren couldn didn doesn don hadn hasn haven isn mustn shouldn wasn weren won wouldn
    dont didnt doesnt cant im ive id
"""
STOP_WORDS = frozenset(_STOP.split())
"""Words that say little about what is meant; the halves of `don't` and its like among them."""

_WORD = re.compile(r"[^\W_]+")
"""Letters and digits: the characters of which FTS5's tokenizer unicode61 makes its tokens."""
_SECOND = 1_000_000_000
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def terms(text: str) -> tuple[str, ...]:
    """The words to look for: lower case, each once, in order; bounded."""
    if len(text) > 2 * MOST_READ:
        text = f"{text[:MOST_READ]} {text[-MOST_READ:]}"
    words = _WORD.findall(unicodedata.normalize("NFC", text).lower())
    found = list(
        dict.fromkeys(word for word in words if word not in STOP_WORDS and len(word) <= MOST_LETTERS)
    )
    if len(found) > MOST_TERMS:
        found = found[: MOST_TERMS // 2] + found[-MOST_TERMS // 2 :]
    return tuple(found)


def expression(text: str) -> str:
    """The FTS5 expression for a question; "" if it has no word to look for."""
    return " OR ".join(f'"{term}"' for term in terms(text))


def around(before: str, after: str, at: int) -> str:
    """The second column of a memory: the neighbouring texts, clipped, and the date in words and figures."""
    parts = (before[-AROUND:], after[:AROUND], date_words(at))
    return "\n".join(part for part in parts if part)


def date_words(at: int) -> str:
    """`2025-03-07 Friday 7 March 2025` in UTC; "" for a time that is none."""
    if at <= 0:
        return ""
    day = datetime.fromtimestamp(at // _SECOND, UTC)
    return f"{day:%Y-%m-%d} {_DAYS[day.weekday()]} {day.day} {_MONTHS[day.month - 1]} {day.year}"
