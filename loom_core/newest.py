"""What the newest messages of a request say: the prompt, what the tools came to, and the last words.

A long conversation is decoded from its end, and only as far as anything new stands there.
"""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import decode

from loom_core.asked import Behind, as_asked
from loom_core.block import decoded
from loom_core.compaction import is_continued, may_compact
from loom_core.reading import Json, as_dict, as_text
from loom_core.wire import UNREADABLE

MAX_RESULT = 65_536
"""Characters of a tool's result that are kept."""
_NO_TOOLS = frozenset({b"", b"[]", b"null"})


class ToolResult(Struct, frozen=True):
    """What a tool came to; `text` is what it said in words, up to `MAX_RESULT` characters."""

    id: str
    is_error: bool
    text: str = ""


class Newest(Struct, frozen=True):
    """What of a body is read here; `messages` counts them, `offers`: tools are on offer.

    `last`: the text that the last user message ends with, where it was wanted or may be an instruction.
    """

    prompt: str
    results: tuple[ToolResult, ...]
    messages: int
    system: Json
    metadata: dict[str, Json]
    model: str
    offers: bool
    last: str


def newest(body: bytes, behind: Behind | None, *, wants_prompt: bool, wants_last: bool) -> Newest:
    """Decode the newest messages only, if they can be; odd parts read as absent.

    `behind`: the first messages, which are looked at only if those after them do not say it all.
    """
    try:
        return _newest_of(body, behind, wants_prompt=wants_prompt, wants_last=wants_last)
    except UNREADABLE:
        asked = as_object(body)
    messages = asked.get("messages")
    listed = messages if isinstance(messages, list) else []
    prompt, results, _ = _recent(reversed(listed), wants_prompt=wants_prompt)
    described = as_dict(asked.get("metadata"))
    return Newest(
        prompt,
        results,
        len(listed),
        asked.get("system"),
        described,
        as_text(asked.get("model")),
        bool(asked.get("tools")),
        _last_said(reversed(listed[-2:])),
    )


def _newest_of(body: bytes, behind: Behind | None, *, wants_prompt: bool, wants_last: bool) -> Newest:
    asked = as_asked(body, behind)
    prompt, results, is_all = _recent(map(decode, reversed(asked.messages)), wants_prompt=wants_prompt)
    if behind and not is_all:
        return _newest_of(body, None, wants_prompt=wants_prompt, wants_last=wants_last)
    count = len(asked.messages) + (behind.count if behind else 0)
    system, described, model = map(_value, (asked.system, asked.metadata, asked.model))
    # Not decoded: tools are long, and only an empty list or null offers none.
    offers = bytes(memoryview(asked.tools)[:8]) not in _NO_TOOLS
    ends = asked.messages[-2:]
    wants_last = wants_last or may_compact(bytes(asked.system), map(bytes, ends))
    last = _last_said(map(decode, reversed(ends))) if wants_last else ""
    return Newest(prompt, results, count, system, as_dict(described), as_text(model), offers, last)


def as_object(text: bytes) -> dict[str, Json]:
    """A JSON object, lone surrogates replaced; what is none reads as empty."""
    try:
        return as_dict(decoded(text))
    except UNREADABLE:
        return {}


def _value(raw: Raw) -> Json:
    return decode(raw) if memoryview(raw) else None


def _recent(newest_first: Iterable[Json], *, wants_prompt: bool) -> tuple[str, tuple[ToolResult, ...], bool]:
    """The last prompt, if wanted, and the tool results since the last assistant message, in order.

    And whether older messages would change nothing.
    """
    prompt, since = "", True
    results: tuple[ToolResult, ...] = ()
    for message in newest_first:
        role, blocks = as_dict(message).get("role"), _blocks(message)
        if since and role == "assistant":
            since = False
        elif since:
            results = (*_results(blocks), *results)
        if wants_prompt and not prompt and role == "user":
            prompt = _prompt(blocks)
        if not since and (prompt or not wants_prompt):
            return prompt, results, True
    return prompt, results, False


def _prompt(blocks: list[dict[str, Json]]) -> str:
    """The last text a person typed: reminders, tool results and a summary to go on from are none."""
    if any(block.get("type") == "tool_result" for block in blocks):
        return ""
    for block in reversed(blocks):
        text = as_text(block.get("text")) if block.get("type") == "text" else ""
        if text and not text.startswith("<system-reminder>") and not is_continued(text):
            return text
    return ""


def _last_said(newest_first: Iterable[Json]) -> str:
    """The text that the last user message ends with; a system message may follow it."""
    for message in newest_first:
        role, blocks = as_dict(message).get("role"), _blocks(message)
        if role == "user":
            return as_text(blocks[-1].get("text")) if blocks else ""
        if role != "system":
            break
    return ""


def _results(blocks: list[dict[str, Json]]) -> tuple[ToolResult, ...]:
    return tuple(
        ToolResult(as_text(block.get("tool_use_id")), block.get("is_error") is True, _words(block))
        for block in blocks
        if block.get("type") == "tool_result"
    )


def _words(block: dict[str, Json]) -> str:
    texts = (as_text(part.get("text")) for part in _blocks(block))
    return "\n\n".join(text for text in texts if text)[:MAX_RESULT]


def _blocks(message: Json) -> list[dict[str, Json]]:
    """The blocks of a message or of a tool's result; a string stands for one of text."""
    content = as_dict(message).get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(map(as_dict, content)) if isinstance(content, list) else []
