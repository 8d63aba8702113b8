"""A text as a memory stores it: as it was said, but for secrets and what is no character."""

import re

from loom_core.lookup import Memory
from loom_core.meter import BYTES_PER_TOKEN
from loom_core.redaction import redacted
from loom_shell.memory.port import NewMemory, TextRefusedError

MAX_TEXT = 65_536
"""Bytes (UTF-8) of a text as it is given."""
MAX_NAME = 256
"""Characters of a scope, a session or a tag."""
MAX_TAGS = 32
"""Tags of one memory."""

_LINE_END = re.compile(r"\r\n?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def valid(text: str) -> str:
    """The text as Unicode can write it: surrogates joined to pairs, U+FFFD for a lone one."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def storable(new: NewMemory) -> NewMemory:
    """What is stored of it. TextRefusedError for a text that is empty or too long, and for odd fields.

    Line ends become line feeds; other control characters but tabs go, and only then are secrets looked
    for, so that none of these can hide one.
    """
    if not -(2**63) <= new.at < 2**63:
        raise TextRefusedError("the memory is not stored: its time is no count of nanoseconds in 64 bits")
    if len(new.scope) > MAX_NAME or len(new.session) > MAX_NAME:
        raise TextRefusedError(
            f"the memory is not stored: scope and session may have at most {MAX_NAME} characters"
        )
    if len(new.text) > MAX_TEXT or octets(new.text) > MAX_TEXT:
        raise TextRefusedError(
            f"the memory is not stored: its text is longer than {MAX_TEXT} bytes, store what matters of it"
        )
    if len(new.tags) > MAX_TAGS or any(len(tag) > MAX_NAME for tag in new.tags):
        raise TextRefusedError(
            f"the memory is not stored: it may have at most {MAX_TAGS} tags of at most {MAX_NAME} characters"
        )
    text = redacted(plain(new.text))
    if not text.strip():
        raise TextRefusedError("the memory is not stored: its text is empty")
    tags = tuple(redacted(plain(tag)) for tag in new.tags)
    return NewMemory(text, new.at, new.provenance, valid(new.scope), valid(new.session), tags)


def plain(text: str) -> str:
    """The text with one kind of line end, and no other control character but tabs."""
    return _CONTROL.sub("", _LINE_END.sub("\n", valid(text)))


def octets(text: str) -> int:
    """Bytes of the text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def tokens(text: str) -> int:
    """The estimate that budgets are measured with: bytes by four, rounded up."""
    return -(-octets(text) // BYTES_PER_TOKEN)


def within(found: list[Memory], limit: int, budget: int) -> tuple[Memory, ...]:
    """The first `limit` of them that fit into the budget whole; one that does not is passed over."""
    taken: list[Memory] = []
    for one in found:
        if len(taken) >= limit or budget <= 0:
            break
        if (cost := tokens(one.text)) <= budget:
            taken.append(one)
            budget -= cost
    return tuple(taken)
