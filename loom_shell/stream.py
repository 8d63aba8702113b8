"""The stream of transcripts: what an entry holds, and how it is written and read.

What anyone may write there is read without trust: a value that is missing or odd is an empty one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from attrs import frozen
from redis.exceptions import ResponseError

from loom_core.publication import PublishedLine
from loom_shell.guarded import Command, Guarded
from loom_shell.trouble import words

STREAM = "loom:transcript"
CHANNEL = "transcript:"
NAMES = ("session_id", "type", "role", "content_types", "raw", "file", "offset", "line_id")
LONGEST_OFFSET = 19
"""Digits: no file is longer than 2^63 bytes."""


class BusTroubleError(Exception):
    """The store did not take, or give, what it should; the text is one line that says why."""


def message(line: PublishedLine) -> tuple[str, str]:
    """Channel and JSON for whoever listens now."""
    raw = line.raw.decode("utf-8", "replace")
    values = (line.session, line.kind, line.role, line.content_types, raw)
    return CHANNEL + line.session, _json(dict(zip(NAMES, values, strict=False)))


def values(line: PublishedLine) -> tuple[str, ...]:
    """The values of `NAMES` in an entry; bytes that are no UTF-8 travel as U+FFFD."""
    raw = line.raw.decode("utf-8", "replace")
    types = _json(line.content_types)
    return line.session, line.kind, line.role, types, raw, line.file, str(line.offset), line.line_id


@frozen
class Entry:
    """One entry of the stream. `id` is the stream's own; `Consumer.ack` takes it."""

    id: str
    published: PublishedLine


def entry(id_: str, given: Mapping[str, str]) -> Entry:
    """What the stream holds under an id; whatever is missing is empty."""
    offset = given.get("offset", "")
    is_number = offset.isascii() and offset.isdigit() and len(offset) <= LONGEST_OFFSET
    published = PublishedLine(
        session=given.get("session_id", ""),
        kind=given.get("type", ""),
        role=given.get("role", ""),
        content_types=_types(given.get("content_types", "")),
        raw=given.get("raw", "").encode("utf-8", "replace"),
        file=given.get("file", ""),
        offset=int(offset) if is_number else 0,
        line_id=given.get("line_id", ""),
    )
    return Entry(id_, published)


async def asked(redis: Guarded, operation: str, commands: Sequence[Command]) -> list[Any]:
    """The replies; BusTroubleError if there are none, or if one is a refusal."""
    replies: list[Any] = []

    async def ask() -> list[str]:
        replies.extend(await redis.ask(commands))
        return [words(reply) for reply in replies if isinstance(reply, ResponseError)]

    if trouble := await redis.attempt(operation, ask):
        raise BusTroubleError(trouble)
    return replies


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _types(text: str) -> tuple[str, ...]:
    try:
        return msgspec.json.decode(text, type=tuple[str, ...])
    except (msgspec.DecodeError, UnicodeEncodeError):
        return ()
