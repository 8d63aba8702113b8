"""Reading decoded JSON that may be anything: a value of the wrong kind reads as empty."""

from typing import Any

Json = Any
"""Decoded JSON from outside: its shape is checked where it is read."""


def as_dict(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def as_text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def as_count(value: Json) -> int | None:
    """A non-negative whole number; JSON's true and false are none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
