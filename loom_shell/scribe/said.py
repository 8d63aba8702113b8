"""What a stored line says to a reader: words, tools that were used, and what they gave."""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from attrs import frozen

from loom_core import transcript_line
from loom_core.block import decoded
from loom_core.reading import as_dict, as_text
from loom_core.wire import UNREADABLE
from loom_shell.scribe.rows import Row

Kind = Literal["words", "thinking", "tool", "result", "mark"]


@frozen
class Part:
    """One piece of a line. `text` may be long, and hold anything."""

    kind: Kind
    text: str


@frozen
class Said:
    """A line as it is read. `who`: its role, or what stands for one; no parts: nothing for a reader."""

    who: str
    at: int
    agent: str
    parts: tuple[Part, ...]


def said(row: Row) -> Said:
    """Read a stored line. It never raises."""
    line = transcript_line.read(row.raw.encode("utf-8", "replace"))
    if line.is_boundary:
        return Said("compaction", row.at, row.agent, (Part("mark", "the conversation was compacted here"),))
    parts = tuple(_parts(row.raw)) if row.role else ()
    if not parts and row.role and row.text:
        parts = (Part("words", row.text),)
    only_results = bool(parts) and all(one.kind == "result" for one in parts)
    who = "summary" if line.is_summary else "tool" if only_results else row.role or row.type or "line"
    if row.problem:
        parts = (Part("mark", f"this line is kept as it came: {row.problem}"),)
    return Said(who, row.at, row.agent, parts)


def _parts(raw: str) -> Iterator[Part]:
    content = as_dict(as_dict(_json(raw)).get("message")).get("content")
    if isinstance(content, str):
        yield Part("words", content)
    for block in map(as_dict, content if isinstance(content, list) else ()):
        match as_text(block.get("type")):
            case "text":
                yield Part("words", as_text(block.get("text")))
            case "thinking":
                yield Part("thinking", as_text(block.get("thinking")))
            case "tool_result":
                yield Part("result", _flat(block.get("content")))
            case kind if kind.endswith("tool_use"):
                yield Part("tool", f"{as_text(block.get('name'))} {_flat(block.get('input'))}")
            case kind:
                yield Part("mark", kind or "a block of no type")


def _flat(value: Any) -> str:  # noqa: ANN401 - any JSON
    """The words of a value that may be anything."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(
            as_text(as_dict(one).get("text")) or f"[{as_dict(one).get('type')}]" for one in value
        )
    return "" if value is None else msgspec.json.encode(value).decode()


def _json(raw: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return decoded(raw.encode("utf-8", "replace"))
    except UNREADABLE:
        return None
