"""An event or an action in one line: its fields, short, and no credential.

It knows no class by name but header lines, so that a new event is told like any other.
"""

from collections.abc import Iterable, Mapping
from enum import Enum

from msgspec import Struct

from loom_core.headers import CREDENTIALS
from loom_core.values import ExchangeKey, Headers, TranscriptKey, TurnKey

LONGEST = 300
"""Characters of a line."""
WIDE = 90
"""Characters of a text in it."""
MOST_ITEMS = 6
DEEP = 4
"""How far values within values are told."""
UNTOLD = frozenset({"at", "data", "rules", "seed", "before", "shape"})
"""Fields that are told otherwise, or nobody reads: time, counted bytes, configuration, hashes."""
HIDDEN = CREDENTIALS | {b"cookie", b"set-cookie", b"proxy-authorization"}


def line(value: Struct) -> str:
    """The fields of an event or action, "" where it has none to tell."""
    return _clipped(_fields(value, DEEP), LONGEST)


def headers(lines: Headers) -> str:
    """Header lines, one below the other."""
    return "\n".join(f"{_latin(name)}: {_value(name, value)}" for name, value in lines)


def size(value: Struct) -> int:
    """The bytes that an event brought or an action sent."""
    found = getattr(value, "data", None)
    return len(found) if isinstance(found, bytes) else 0


def machine(key: ExchangeKey | TurnKey | TranscriptKey) -> str:
    """Who is meant by a key."""
    match key:
        case ExchangeKey(id=name):
            return f"exchange {name}"
        case TranscriptKey(path=name):
            return f"transcript {name}"
        case TurnKey(session=session, agent=agent):
            return f"agent {agent}" if agent else f"turn of {session or 'no session'}"


def _fields(value: Struct, deep: int) -> str:
    told = [(name, getattr(value, name)) for name in value.__struct_fields__ if name not in UNTOLD]
    return ", ".join(_named(name, item, deep - 1) for name, item in told if not _is_empty(item))


def _named(name: str, value: object, deep: int) -> str:
    """A key says by itself of which machine it is."""
    is_key = isinstance(value, ExchangeKey | TurnKey | TranscriptKey)
    return _short(value, deep) if is_key else f"{name} {_short(value, deep)}"


def _is_empty(value: object) -> bool:
    return (
        value is None
        or value is False
        or (isinstance(value, str | bytes | tuple | frozenset | Mapping) and not value)
    )


def _short(value: object, deep: int) -> str:
    match value:
        case str():
            return f"“{_clipped(value, WIDE)}”"
        case bytes():
            return f"{len(value)} bytes “{_clipped(_latin(value[: 2 * WIDE]), WIDE)}”"
        case Enum():
            return value.name.lower()
        case ExchangeKey() | TurnKey() | TranscriptKey():
            return machine(value)
        case Struct():
            inside = _fields(value, deep) if deep > 0 else ""
            return f"{type(value).__name__}({inside or '…'})"
        case Mapping():
            pairs = (f"{_short(name, 0)}: {_short(item, deep - 1)}" for name, item in value.items())
            return f"{{{_few(pairs, len(value))}}}"
        case frozenset():
            return f"{{{_few(sorted(_short(item, deep - 1) for item in value), len(value))}}}"
        case tuple() if value and all(_is_header(item) for item in value):
            return _few((f"{_latin(name)}: {_value(name, it)}" for name, it in value), len(value))
        case tuple() | list():
            return f"[{_few((_short(item, deep - 1) for item in value), len(value))}]"
        case _:
            return f"{value}"[:WIDE]


def _few(told: Iterable[str], count: int) -> str:
    shown = [item for item, _ in zip(told, range(MOST_ITEMS), strict=False)]
    return "; ".join([*shown, *([f"{count - MOST_ITEMS} more"] if count > MOST_ITEMS else [])])


def _is_header(item: object) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and all(isinstance(it, bytes) for it in item)


def _value(name: bytes, value: bytes) -> str:
    return "(hidden)" if name.lower() in HIDDEN else _clipped(_latin(value[:LONGEST]), WIDE * 2)


def _latin(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")


def _clipped(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "…"
