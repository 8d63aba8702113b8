"""The keys of `profile.toml`, and what each may be.

Strict: TOML has types, so a number in quotes is no number here.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from loom_core.compose import MOST_TOKENS
from loom_core.lookup import Provenance
from loom_core.profile import Life

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""Of a profile or of a piece."""
NAME_ALLOWED = "1 to 64 small letters, digits, _ and -, first a letter or digit"
OURS = "loom:"
"""What the Loom keeps for itself in the store (contracts section 5)."""
BEFORE_STAR = 4
"""Characters of a pattern before its `*`: with fewer, a look would go through the whole store."""
COMPACTION_TOKENS: Mapping[str, int] = {"identity": 8_000, "prompt": 8_000, "continuation": 1_000}
"""Tokens that the file of each of these keys may have. The continuation stands in every later request."""
MAX_PHRASES = 64
"""Phrases of `must_survive`."""

Parse = Callable[[object], Any]


@frozen
class Key:
    """A key of the file. `allowed` completes the sentence `it must be …`; `parse` raises ValueError.

    In a key that `has_slots` they are filled before it is parsed, in each text of a list too.
    """

    parse: Parse
    allowed: str
    has_slots: bool = False


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - a wrong value, whatever its type
    return value


def _whole(least: int, most: int) -> Parse:
    def parse(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError
        return value

    return parse


def _score(value: object) -> float:
    # Not a number: within no range.
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1_000_000:
        raise ValueError
    return float(value)


def _line(least: int, most: int, but: str = "") -> Parse:
    """One line of printable characters, that does not begin with `but`."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or not least <= len(value) <= most or not value.isprintable():
            raise ValueError
        if value != value.strip() or (but and value.startswith(but)):
            raise ValueError
        return value

    return parse


def _phrases(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_PHRASES:
        raise ValueError
    return tuple(map(_line(1, 200), value))


def text(value: object) -> str:
    """Some lines of printable characters."""
    if not isinstance(value, str) or len(value) > 1_000 or not value.replace("\n", "").isprintable():
        raise ValueError
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError
    return value


def _life(value: object) -> Life:
    return Life(value)


def _provenance(value: object) -> frozenset[Provenance]:
    if not isinstance(value, list) or not value:
        raise ValueError
    return frozenset(map(Provenance, value))


def _store_key(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[^\s*?\[\]\\]{1,200}", value):
        raise ValueError
    if not value.isprintable() or value.startswith(OURS):
        raise ValueError
    return value


def _store_pattern(value: object) -> str:
    before = value[:-1] if isinstance(value, str) and value.endswith("*") else ""
    # `loom*` finds what is ours, too.
    if len(before) < BEFORE_STAR or OURS.startswith(before):
        raise ValueError
    return f"{_store_key(before)}*"


def _words(*words: str) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


_OF_THE_STORE = f"without spaces and ? [ ] \\, and not under {OURS}"
_BUDGET = Key(_whole(0, MOST_TOKENS), f"0..={MOST_TOKENS} tokens (0: no limit of its own)")
_SWITCH = Key(_truth, "true or false")
_INTRODUCING = Key(_line(0, 250), "one line of at most 250 characters", has_slots=True)

OWN: Mapping[str, Key] = {
    "agents": _SWITCH,
    "placeholder": Key(text, "text of at most 1000 printable characters"),
    "identity_budget": Key(_whole(1, MOST_TOKENS), f"1..={MOST_TOKENS} tokens"),
}
PIECE: Mapping[str, Key] = {
    "name": Key(_name, NAME_ALLOWED),
    "file": Key(_line(1, 200), "the name of a file in the profile's folder"),
    "key": Key(
        _store_key,
        f"a key of the store: 1 to 200 characters {_OF_THE_STORE} (with * it is a pattern)",
        has_slots=True,
    ),
    "pattern": Key(
        _store_pattern,
        f"{BEFORE_STAR} to 200 characters {_OF_THE_STORE}, and then one * at the end",
        has_slots=True,
    ),
    "heading": Key(
        _line(0, 200, but="#"), "one line of at most 200 characters, without # in front", has_slots=True
    ),
    "life": Key(_life, _words(*(life.value for life in Life))),
    "budget": _BUDGET,
}
MEMORABLES: Mapping[str, Key] = {
    "on": _SWITCH,
    "budget": Key(_whole(1, 1_000), "1..=1000 tokens for one"),
    "most": Key(_whole(1, 20), "1..=20 at one prompt"),
    "words": _INTRODUCING,
}
MEMORIES: Mapping[str, Key] = {
    "on": _SWITCH,
    "most": Key(_whole(1, 20), "1..=20 at one prompt"),
    "budget": Key(_whole(1, 4_000), "1..=4000 tokens at one prompt"),
    "session_budget": Key(_whole(1, 40_000), "1..=40000 tokens in one conversation"),
    "deadline_ms": Key(_whole(1, 1_000), "1..=1000 milliseconds"),
    "min_score": Key(_score, "0..=1000000"),
    "provenance": Key(_provenance, f"a list with at least one of {_words(*(it.value for it in Provenance))}"),
    "words": _INTRODUCING,
}
COMPACTION: Mapping[str, Key] = {
    **{
        name: Key(_line(1, 200), f"the name of a file in the profile's folder, of at most {most} tokens")
        for name, most in COMPACTION_TOKENS.items()
    },
    "must_survive": Key(
        _phrases,
        f"a list of at most {MAX_PHRASES} phrases, each one line of 1 to 200 characters",
        has_slots=True,
    ),
    "tells_missing": _SWITCH,
}
TABLES = ("slots", "pieces", "memorables", "memories", "compaction")
"""Beside `OWN` at the top of the file."""
