"""What a memory over HTTP answered (contracts section 6), read as a stranger's words.

Every field is bounded. What is wrong with an answer raises NonsenseError, which says nothing of it.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from attrs import frozen
from msgspec import Struct, field

from loom_core.lookup import Memory, Provenance, Question
from loom_core.redaction import redacted
from loom_shell.memory.verbatim import MAX_TAGS, MAX_TEXT, octets, valid

MOST_ITEMS = 120
"""Memories read of one answer."""
MAX_ID = 64
MAX_MOMENT = 64
MAX_SCORE = 1e9

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NonsenseError(Exception):
    """An answer, or one memory of it, that cannot be read."""


@frozen
class Told:
    """A memory as it was told, and the scope its tags name."""

    memory: Memory
    scope: str = ""

    def is_wanted(self, question: Question) -> bool:
        """Whether the question asks for it: the other side may not know, or not heed, all of that."""
        return (
            self.memory.provenance in question.provenance
            and self.memory.score >= question.min_score
            and self.memory.id not in question.exclude
            and (not question.scope or self.scope in {"", question.scope})
        )


class _Item(Struct):
    id: str | int
    created_at: str
    content: str = ""
    tags: list[Any] | None = None
    score: float = 0.0


@frozen
class Several:
    """The memories of a list, in its order, how many of it cannot be read, and what it says is forgotten."""

    told: tuple[Told, ...] = ()
    odd: int = 0
    forgotten: tuple[str, ...] = ()


class _List(Struct):
    memories: list[msgspec.Raw] = field(default_factory=list)
    forgotten: Any = None


def several(body: bytes) -> Several:
    """What a list holds. `forgotten` is a field of ours: who does not have it forgets nothing that way."""
    told: list[Told] = []
    odd = 0
    # A list alone is accepted as well: the contract does not show the form of /recent.
    listed = _decoded(body, _List | list[msgspec.Raw])
    is_alone = not isinstance(listed, _List)
    for item in (listed if is_alone else listed.memories)[:MOST_ITEMS]:
        try:
            told.append(one(bytes(item)))
        except NonsenseError:
            odd += 1
    gone = () if is_alone or not isinstance(listed.forgotten, list) else listed.forgotten
    ids = (f"{it}" for it in gone if isinstance(it, str) or type(it) is int)
    return Several(tuple(told), odd, tuple(filter(is_id, ids)))


def one(body: bytes) -> Told:
    """One memory. Tags `provenance:…` and `scope:…` are ours; without the first an assistant stored it."""
    item = _decoded(body, _Item)
    if not item.content.strip() or octets(item.content) > MAX_TEXT or not 0 <= item.score <= MAX_SCORE:
        raise NonsenseError
    tags = dict(tag.partition(":")[::2] for tag in (item.tags or [])[:MAX_TAGS] if isinstance(tag, str))
    try:
        provenance = Provenance(tags.get("provenance", Provenance.ASSISTANT.value))
    except ValueError:
        raise NonsenseError from None
    text = redacted(valid(item.content))
    return Told(
        Memory(_checked(item.id), text, _moment(item.created_at), provenance, item.score),
        tags.get("scope", ""),
    )


def stored(body: bytes) -> tuple[str, int]:
    """The id of what was stored, and when that was (nanoseconds since the epoch)."""
    item = _decoded(body, _Item)
    return _checked(item.id), _moment(item.created_at)


def is_id(text: str) -> bool:
    """Whether it may be an id: letters and digits of ASCII, `-` and `_`, a few of them."""
    return 0 < len(text) <= MAX_ID and text.isascii() and text.replace("-", "0").replace("_", "0").isalnum()


def _checked(told: str | int) -> str:
    if not is_id(f"{told}"):
        raise NonsenseError
    return f"{told}"


def _moment(told: str) -> int:
    """Nanoseconds since the epoch of an ISO 8601 text; one without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(told[:MAX_MOMENT])
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        at = (moment - _EPOCH) // timedelta(microseconds=1) * 1_000
    except (ValueError, OverflowError):
        raise NonsenseError from None
    if not 0 <= at < 2**63:
        raise NonsenseError
    return at


def _decoded(body: bytes, kind: Any) -> Any:  # noqa: ANN401 - a form goes in, a value of it comes out
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise NonsenseError from None
