"""What callers of the Cortex ask, read as a stranger's words. What is wrong with it is one sentence."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated, Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import msgspec
from attrs import frozen
from msgspec import Meta, Struct

from loom_core.block import decoded
from loom_core.lookup import Provenance
from loom_core.wire import UNREADABLE
from loom_shell.memory import NewMemory
from loom_shell.memory.items import FIRST, LAST, MOST, Wanted
from loom_shell.memory.verbatim import plain
from loom_shell.printable import printable

HOUR = 3_600_000_000_000
MOST_HOURS = 24 * 366 * 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,3}")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


class WronglyAskedError(Exception):
    """What is wrong with a request, in one sentence."""


@frozen
class ToStore:
    """What is to be stored, and the zone in which its moment is told."""

    new: NewMemory
    zone: tzinfo


class _Store(Struct):
    content: str
    tags: list[str] | None = None
    timezone: str | None = None


class _Search(Struct):
    query: str
    limit: Annotated[int, Meta(ge=1)] | None = None
    exact: bool | None = None
    after: str | None = None
    before: str | None = None
    exclude: list[int | str] | None = None
    min_score: float | None = None
    include_forgotten: bool | None = None


class _Forget(Struct):
    id: int | str


def to_store(body: bytes, session: str, now: int) -> ToStore:
    """`session` is the header's, quoted or not; `now` nanoseconds since the epoch. WronglyAskedError.

    Tags `provenance:…`, `scope:…` and `session:…` mean what the Loom's own adapter means by them. Who does
    not say where the words are from is an assistant.
    """
    told: _Store = _read(body, _Store)
    tags = told.tags or []
    named = dict(tag.partition(":")[::2] for tag in tags if ":" in tag)
    try:
        provenance = Provenance(named.get("provenance", Provenance.ASSISTANT.value))
    except ValueError:
        known = ", ".join(one.value for one in Provenance)
        raise WronglyAskedError(f"A tag `provenance:` says one of {known}.") from None
    new = NewMemory(
        told.content,
        # An answer tells microseconds: what is kept is what was told.
        now // 1_000 * 1_000,
        provenance,
        named.get("scope", ""),
        named.get("session") or session_of(session),
        tuple(tags),
    )
    return ToStore(new, _zone(told.timezone))


def session_of(header: str) -> str:
    """The session that the header `x-session-id` names; quoted, it may hold any character."""
    return plain(unquote(header)).strip()


def to_find(body: bytes) -> Wanted:
    """WronglyAskedError for what is no search. No limit is too high: as many are given as there may be."""
    told: _Search = _read(body, _Search)
    return Wanted(
        told.query,
        10 if told.limit is None else min(told.limit, MOST),
        bool(told.exact),
        FIRST if told.after is None else _moment("after", told.after),
        LAST if told.before is None else _moment("before", told.before),
        tuple(f"{one}" for one in told.exclude or ()),
        told.min_score or 0.0,
        bool(told.include_forgotten),
    )


def to_forget(body: bytes) -> str:
    """The id of what is to be forgotten. WronglyAskedError."""
    told: _Forget = _read(body, _Forget)
    return f"{told.id}"


def newest(limit: str | None, hours: str | None, now: int) -> tuple[int, int]:
    """How many at most, and since when (nanoseconds), of what stands in a query. WronglyAskedError."""
    most = 10.0 if limit is None else _number("limit", limit, whole=True)
    if most < 1:
        raise WronglyAskedError("limit must be a whole number of 1 or more.")
    back = _number("hours", hours or "0", whole=False)
    return min(int(most), MOST), now - round(min(back, MOST_HOURS) * HOUR) if back else FIRST


def _number(name: str, text: str, *, whole: bool) -> float:
    if not _NUMBER.fullmatch(text) or (whole and "." in text):
        raise WronglyAskedError(f"{name} must be a {'whole ' if whole else ''}number, 0 or more.")
    return float(text)


def _read(body: bytes, kind: Any) -> Any:  # noqa: ANN401 - a form goes in, a value of it comes out
    try:
        # Halves of pairs of surrogates are no reason to refuse a text: they are no characters.
        return msgspec.convert(decoded(body), kind)
    except msgspec.ValidationError as error:
        told = printable(str(error), 200).replace("`$.", "`").replace(" - at `$`", "")
        raise WronglyAskedError(f"The body is not what is taken here: {told}.") from None
    except UNREADABLE:
        raise WronglyAskedError("The body must be one JSON object in UTF-8.") from None


def _moment(name: str, told: str) -> int:
    """Nanoseconds since the epoch of an ISO 8601 text; one without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(told)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000
    except (ValueError, OverflowError):
        raise WronglyAskedError(
            f"{name} must be a moment in ISO 8601, such as 2025-03-07 or 2025-03-07T09:00:00Z."
        ) from None


def _zone(name: str | None) -> tzinfo:
    """UTC for one that this machine does not know: it may have no list of them."""
    if not name:
        return UTC
    if not _ZONE.fullmatch(name):
        raise WronglyAskedError("timezone must be a name such as Europe/Prague.")
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return UTC
