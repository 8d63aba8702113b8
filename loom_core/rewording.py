"""The client's words around a compaction, replaced by a profile's: edits by byte range.

The rules (contracts section 3), phase by phase:

1. The summariser's system prompt becomes the profile's; identity line, attribution and markers stay.
2. The instruction becomes the profile's, where it stands: what the user asks of the summary stays, and text
   alone and the tags of the summary are asked for, whatever the profile says.
3. The paragraph behind a summary that tells how to go on is replaced whole: a part of it would contradict.

No bytes beside these texts change.
"""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from loom_core import jsontext, wire
from loom_core.system import Lies, System
from loom_core.wire import Edit, Range
from loom_core.wordings import (
    ADDITIONAL,
    CONTINUATIONS,
    CONTINUED,
    GOING_ON,
    INSTRUCTIONS,
    SUMMARISER,
    Wording,
)
from loom_core.wrapper import safe

DEMAND = (
    "Answer with text alone and call no tools: no call would be carried out. You may think first, between"
    " <analysis> and </analysis>. Put the whole summary between <summary> and </summary>: only that is kept."
)
"""Behind every instruction: the client takes what stands in these tags, and else asks again."""
NEAR_THE_END = 1_000
"""Bytes at the end of a summary in which the words on how to go on are looked for."""


class Continued(Struct, frozen=True):
    """The summary that a conversation goes on from. `paragraph` tells how to go on, None where none is known.

    `is_strange`: something there tells it in words that are not known. `begins`: the line of them, or where
    there are none the last line of all.
    """

    summary: str
    paragraph: Range | None = None
    is_strange: bool = False
    begins: str = ""


class _Text(Struct, frozen=True):
    """A text on the wire: its token, quotes included, and what it says."""

    at: Range
    token: jsontext.JsonText

    def edit(self, text: str) -> Edit:
        return Edit(self.at.start, self.at.end, _encoded(text))


def summariser(body: bytes, system: System, identity: str) -> tuple[Edit, ...]:
    """Phase 1; nothing where the system prompt is the conversation's own."""
    content = Range(system.start, system.end)
    if system.lies not in {Lies.STRING, Lies.LIST}:
        return ()
    shape, _ = wire.shaped(body)
    return tuple(it.edit(safe(identity)) for it in _texts(body, shape, content, SUMMARISER.begins))


def instruction(body: bytes, prompt: str) -> tuple[Edit, ...]:
    """Phase 2; nothing where the last text of the last user message is no instruction."""
    shape, top = wire.shaped(body)
    messages = wire.elements(shape, top["messages"]) if top and "messages" in top else None
    for at in reversed((messages or [])[-2:]):
        parts = wire.fields(shape, at) or {}
        role = wire.string(shape, parts["role"]) if "role" in parts else ""
        if role == "user" and "content" in parts:
            return _instructed(body, shape, parts["content"], prompt)
        if role != "system":
            break
    return ()


def continued(body: bytes, first: Range) -> Continued | None:
    """What the first message of a conversation goes on from; None if it begins anew."""
    shape, parts = wire.shaped(first.of(body))
    if (
        parts is None
        or wire.string(shape, parts.get("role", Range(0, 0))) != "user"
        or "content" not in parts
    ):
        return None
    for it in _texts(first.of(body), shape, parts["content"], CONTINUED):
        return _read(it, first.start)
    return None


def continuation(found: Continued | None, text: str) -> tuple[Edit, ...]:
    """Phase 3, with a text that stays the same for as long as the conversation lasts."""
    if found is None or found.paragraph is None or not text:
        return ()
    return (Edit(found.paragraph.start, found.paragraph.end, _encoded(text)[1:-1]),)


def _instructed(body: bytes, shape: bytes, content: Range, prompt: str) -> tuple[Edit, ...]:
    blocks = wire.elements(shape, content) if shape.startswith(b"[", content.start) else [content]
    last = blocks[-1] if blocks else content
    for wording in INSTRUCTIONS:
        for it in _texts(body, shape, content, wording.begins):
            if it.at.end <= last.end and it.at.start >= last.start and _is_whole(wording, it):
                return _around_wishes(it, wording, safe(prompt).strip())
    return ()


def _around_wishes(it: _Text, wording: Wording, prompt: str) -> tuple[Edit, ...]:
    """What the user asks of the summary stays byte for byte, with its heading; all about it is replaced."""
    text, demand = it.token.text, f"\n\n{DEMAND}"
    asks = text.find(ADDITIONAL.encode())
    if asks < 0:
        return (it.edit(prompt + demand),)
    ends = text.rfind(wording.closes.encode(), asks + len(ADDITIONAL)) if wording.closes else -1
    start, end = it.token.places([asks, ends if ends >= 0 else len(text)])
    before, behind = _encoded(prompt)[1:-1], _encoded(demand)[1:-1]
    return Edit(it.at.start + 1, start, before), Edit(end, it.at.end - 1, behind)


def _is_whole(wording: Wording, it: _Text) -> bool:
    return all(phrase.encode() in it.token.text for phrase in wording.holds)


def _texts(body: bytes, shape: bytes, content: Range, begins: str) -> Iterator[_Text]:
    """The texts of a content that begin so. `shape` as of `wire.shaped`."""
    beginning = begins.encode()
    for at in _tokens(shape, content):
        if body.find(beginning, at.start, at.end) < 0:
            continue
        token = jsontext.read(body, at.start, at.end)
        if token.text.startswith(beginning):
            yield _Text(at, token)


def _tokens(shape: bytes, content: Range) -> Sequence[Range]:
    """The strings that are texts: the content itself, or those of its blocks."""
    if shape.startswith(b'"', content.start):
        return [content]
    found: list[Range] = []
    for at in wire.elements(shape, content) or ():
        parts = wire.fields(shape, at) or {}
        text, kind = parts.get("text"), parts.get("type")
        if text and kind and kind.of(shape) == b'"text"' and shape.startswith(b'"', text.start):
            found.append(text)
    return found


def _read(it: _Text, offset: int) -> Continued:
    """The paragraph is the last that begins like one, on a line of its own, and goes up to a blank line.

    One line may follow it. Where more does, a summary quotes it.
    """
    text = it.token.text
    begins = max(text.rfind(b"\n" + wording.begins.encode()) for wording in CONTINUATIONS) + 1
    blank = text.find(b"\n\n", begins)
    ends = blank if blank >= 0 else len(text)
    if begins > 0 and b"\n" not in text[ends:].strip(b"\n"):
        start, end = it.token.places([begins, ends])
        return Continued(text[:begins].decode("utf-8", "replace"), Range(offset + start, offset + end))
    strange = text.rfind(GOING_ON.encode(), max(0, len(text) - NEAR_THE_END))
    # Without any it is as older clients write it when a person asked for it.
    line = text[text.rfind(b"\n", 0, strange if strange >= 0 else len(text)) + 1 :]
    whole, told = text.decode("utf-8", "replace"), line.decode("utf-8", "replace")
    return Continued(whole, is_strange=strange >= 0, begins=told)


def _encoded(text: str) -> bytes:
    return msgspec.json.encode(text.encode("utf-8", "replace").decode())
