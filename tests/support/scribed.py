"""Lines of sessions as they are published, and what a Scribe made of them."""

import json
from typing import Any

from loom_core.publication import PublishedLine
from loom_shell.scribe.database import Told
from loom_shell.scribe.rows import row
from loom_shell.stream import Entry

BEGAN = 1_767_225_600
"""Seconds since the epoch: 2026-01-01T00:00:00Z."""
FILE = "/projects/one/s.jsonl"


def written(number: int, text: str = "", *, role: str = "user", session: str = "s1", **more: object) -> bytes:
    """A line as a client writes it; one each second. `more`: fields of its message, None for none."""
    minutes, seconds = divmod(number, 60)
    message = {"role": role, "content": [{"type": "text", "text": text or f"line {number}"}], **more}
    told = {
        "type": role,
        "sessionId": session,
        "uuid": f"u{number}",
        "timestamp": f"2026-01-01T{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}.250Z",
        "message": {name: value for name, value in message.items() if value is not None},
    }
    return json.dumps(told, ensure_ascii=False).encode("utf-8", "surrogatepass")


def published(number: int, text: str = "", **more: Any) -> PublishedLine:  # noqa: ANN401 - each of its own type
    """The same, published. `raw`, `line_id` and `file` replace what stands for itself."""
    raw = more.pop("raw", None)
    line_id, file = more.pop("line_id", f"u{number}"), more.pop("file", FILE)
    session, role = more.get("session", "s1"), more.get("role", "user")
    data = written(number, text, **more) if raw is None else raw
    return PublishedLine(session, role, role, ("text",), data, file, number * 1_000, line_id)


def entry(number: int, text: str = "", **more: Any) -> Entry:  # noqa: ANN401 - as there
    """The same, as the stream gives it."""
    return Entry(f"{(BEGAN + number) * 1_000}-0", published(number, text, **more))


def told(number: int, text: str = "", **more: Any) -> Told:  # noqa: ANN401 - as there
    """The same, as it is stored."""
    return row(entry(number, text, **more))
