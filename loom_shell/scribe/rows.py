"""A line as it was published becomes a row: what it says of itself, its text and itself without secrets."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import msgspec
from attrs import asdict, frozen

from loom_core import redaction, transcript_line
from loom_core.block import decoded
from loom_core.publication import PublishedLine
from loom_core.wire import UNREADABLE
from loom_shell.stream import Entry

MOST_NAME = 200
"""Characters of a name or an id, for indexes are made of them; of a longer one its beginning and a digest."""
MOST_PATH = 400
"""Characters of a path: with a session it is in an index, where Postgres has room for 2,704 bytes."""
MOST_TEXT = 256 * 1024
"""Bytes of a text, as much as a Postgres index of words takes for certain; the raw line has it all."""

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?", re.ASCII)


@frozen
class Usage:
    """What a message used, as one of its lines tells it."""

    session: str
    message_id: str
    model: str
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int


@frozen
class Row:
    """A line as it is stored; the fields are the columns of `tables.LINE`."""

    session: str
    line_id: str
    at: int
    role: str
    type: str
    agent: str
    message_id: str
    request_id: str
    problem: str
    file: str
    place: int
    text: str
    raw: str

    @property
    def values(self) -> dict[str, Any]:
        return asdict(self)


def row(entry: Entry) -> tuple[Row, Usage | None]:
    """What is stored of an entry. It never raises, whatever the line holds."""
    published = entry.published
    line = transcript_line.read(published.raw)
    session, message_id = _name(published.session), _name(line.message_id)
    stored = Row(
        session=session,
        line_id=_name(published.line_id) or _place(published),
        at=_moment(line.at) or _published_at(entry.id),
        role=_name(published.role),
        type=_name(published.kind),
        agent=_name(line.agent),
        message_id=message_id,
        request_id=_name(line.request_id),
        problem=line.problem,
        file=_name(published.file, MOST_PATH),
        place=max(0, min(published.offset, 2**63 - 1)),
        text=redaction.exported(storable(line.text), MOST_TEXT),
        raw=without_secrets(storable(published.raw.decode("utf-8", "backslashreplace"))),
    )
    used = line.usage
    if used is None or not message_id:
        return stored, None
    counts = (used.input_tokens, used.output_tokens, used.cache_read, used.cache_creation)
    return stored, Usage(session, message_id, _name(line.model), *counts)


def storable(text: str) -> str:
    """The text as every database holds it: valid Unicode, and no NUL, which Postgres refuses."""
    if not text.isascii():
        # Surrogates are joined to pairs, and a lone one becomes U+FFFD.
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _place(published: PublishedLine) -> str:
    """What a line without an id is known by: its file and its offset there."""
    digest = blake2b(published.file.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{digest}:{published.offset}"


def _name(text: str, most: int = MOST_NAME) -> str:
    """A name without secrets, and short enough for an index; different ones stay different."""
    clean = redaction.redacted(storable(text))
    if clean == text and len(text) <= most:
        return text
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{clean[: most - 40]}…{digest}"


# Secrets


def without_secrets(raw: str) -> str:
    """The line without its secrets, also those that escapes of JSON hide; JSON stays JSON.

    A line without a secret is the same to the character.
    """
    clean = redaction.redacted(raw)
    try:
        said = decoded(raw.encode())
        wanted = _clean(said)
    except (*UNREADABLE, ValueError):
        return clean
    if wanted == said and clean == raw:
        return raw
    # What was taken out may have gone beyond the string it began in.
    with suppress(*UNREADABLE):
        if decoded(clean.encode()) == wanted:
            return clean
    return msgspec.json.encode(wanted).decode()


def _clean(value: object) -> object:
    match value:
        case str():
            return redaction.redacted(value)
        case list():
            return [_clean(one) for one in value]
        case dict():
            return {redaction.redacted(name): _clean(one) for name, one in value.items()}
    return value


# What a line says


def _moment(told: str) -> int:
    """Nanoseconds since the epoch, to the microsecond; 0 for what is no time. Without a zone it is UTC."""
    if len(told) > 64 or not _MOMENT.fullmatch(told):
        return 0
    try:
        moment = datetime.fromisoformat(told)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        since = moment - datetime.fromtimestamp(0, UTC)
    except (ValueError, OverflowError):
        return 0
    return max(0, ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000)


def _published_at(entry_id: str) -> int:
    """The time in the id of a stream's entry: milliseconds since the epoch before the dash."""
    told = entry_id.partition("-")[0]
    return int(told) * 1_000_000 if told.isascii() and told.isdigit() and len(told) < 14 else 0
