"""What the hook said in a metadata block, read and checked: it is untrusted (contracts section 2)."""

import re

from msgspec import Struct

from loom_core import wire
from loom_core.block import decoded
from loom_core.reading import Json, as_count, as_dict, as_text
from loom_core.trace import is_id, traceparent

MAX_PROMPT = 8_192
MAX_PATH = 4_096
MAX_WORD = 256
"""Characters: a longer prompt is cut there, a longer path or word reads as ""."""
MAX_FACTS = 16
"""Facts about the machine that are read."""
_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,256}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Metadata(Struct, frozen=True):
    """What the hook said, checked: "" and 0 for what is absent or wrong.

    Ids of spans and traces are lower-case hex and not zero; `span_id` is that of the turn's root,
    out of `traceparent`, and `parent_span_id` that of the span above the root, if there is one.
    Times are nanoseconds since the epoch.
    """

    session_id: str = ""
    trace_id: str = ""
    span_id: str = ""
    traceparent: str = ""
    parent_span_id: str = ""
    prompt_id: str = ""
    prompt: str = ""
    transcript_path: str = ""
    source: str = ""
    cwd: str = ""
    hook_span_id: str = ""
    started_at: int = 0
    hook_started_at: int = 0
    hook_ended_at: int = 0
    sent_at: int = 0
    machine: tuple[tuple[str, str | int], ...] = ()


def read(block: bytes) -> Metadata | None:
    """The words of a block: untrusted, so each is checked; None if it is no JSON object."""
    try:
        values = as_dict(decoded(block))
    except wire.UNREADABLE:
        return None
    prompt = as_text(values.get("prompt"))
    given = as_text(values.get("traceparent"))[:MAX_WORD].strip(" \t")
    parent = traceparent(given)
    trace_id = as_text(values.get("trace_id"))
    return Metadata(
        session_id=_word(values.get("session_id")),
        # The traceparent says which span the turn's root is, and so in which trace.
        trace_id=parent.trace_id if parent else trace_id if is_id(trace_id, 16) else "",
        span_id=parent.span_id if parent else "",
        traceparent=given if parent else "",
        parent_span_id=_span_id(values.get("parent_span_id")),
        prompt_id=_word(values.get("prompt_id")),
        # In layouts A and B the client writes its own closing tag so.
        prompt=prompt.replace("&lt;/system-reminder>", "</system-reminder>")[:MAX_PROMPT],
        transcript_path=_line(values.get("transcript_path"), MAX_PATH),
        source=_line(values.get("source"), MAX_WORD),
        cwd=_line(values.get("cwd"), MAX_PATH),
        hook_span_id=_span_id(values.get("hook_span_id")),
        started_at=_time(values.get("started_at")),
        hook_started_at=_time(values.get("hook_started_at")),
        hook_ended_at=_time(values.get("hook_ended_at")),
        sent_at=_time(values.get("sent_at")),
        machine=_facts(as_dict(values.get("machine"))),
    )


def _span_id(value: Json) -> str:
    text = as_text(value)
    return text if is_id(text, 8) else ""


def _word(value: Json) -> str:
    """An id that may become a key or a label: no white space, nothing that ends a line."""
    text = as_text(value)
    return text if _WORD.fullmatch(text) else ""


def _line(value: Json, limit: int) -> str:
    text = as_text(value)
    return "" if len(text) > limit or _CONTROL.search(text) else text


def _time(value: Json) -> int:
    time = as_count(value) or 0
    return time if time < 1 << 63 else 0


def _facts(machine: dict[str, Json]) -> tuple[tuple[str, str | int], ...]:
    found: list[tuple[str, str | int]] = []
    for name, value in list(machine.items())[:MAX_FACTS]:
        if isinstance(value, str):
            found.append((name[:64], value[:MAX_WORD]))
        elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 63:
            found.append((name[:64], int(value)))
    return tuple(found)
