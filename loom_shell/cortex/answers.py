"""What the Cortex answers, as JSON: the form that its callers know, ids as integers."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import msgspec

from loom_shell.memory.items import Item

MOST_BYTES = 900_000
"""Bytes of the memories in one answer: what does not fit is passed over. A RemoteMemory reads 1,000,000."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ENCODE = msgspec.json.Encoder().encode


def moment(at: int, zone: tzinfo = UTC) -> str:
    """A moment (nanoseconds since the epoch) in ISO 8601, to the microsecond."""
    return (_EPOCH + timedelta(microseconds=at // 1_000)).astimezone(zone).isoformat(timespec="microseconds")


def stored(memory_id: str, at: int, zone: tzinfo) -> bytes:
    return _ENCODE({"id": int(memory_id), "created_at": moment(at, zone)})


def one(item: Item) -> bytes:
    """A memory. `forgotten` stands there only where it is true."""
    memory = item.memory
    fields: dict[str, Any] = {
        "id": int(memory.id),
        "content": memory.text,
        "created_at": moment(memory.at),
        "tags": item.tags,
        "score": memory.score,
    }
    return _ENCODE(fields | {"forgotten": True} if item.is_forgotten else fields)


def several(items: Iterable[Item], forgotten: tuple[str, ...] | None = None) -> bytes:
    """A list, within its bytes. `forgotten`: what is of all that was to be left out; None: nothing was."""
    room, told = MOST_BYTES, []
    for item in items:
        if len(encoded := one(item)) < room:
            room -= len(encoded) + 1
            told.append(msgspec.Raw(encoded))
    more = {} if forgotten is None else {"forgotten": [*map(int, forgotten)]}
    return _ENCODE({"memories": told, **more})


def refusal(why: str) -> bytes:
    return _ENCODE({"detail": why})
