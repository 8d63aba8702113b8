"""Lines of a transcript as the stream brings them, for whoever consumes it."""

import json
from typing import Any

from loom_core.publication import PublishedLine
from loom_shell.stream import Entry


def published(
    number: int,
    text: str,
    role: str = "user",
    session: str = "s",
    *,
    content: Any = None,  # noqa: ANN401 - any JSON
    **fields: Any,  # noqa: ANN401 - as above
) -> PublishedLine:
    """Line `number` of a session. `content` replaces the text's block, `fields` are the line's own."""
    blocks = [{"type": "text", "text": text}] if content is None else content
    line = {
        "type": role,
        "uuid": f"{session}-{number}",
        "sessionId": session,
        "message": {"role": role, "content": blocks},
        **fields,
    }
    types = tuple(it["type"] for it in blocks) if isinstance(blocks, list) else ("text",)
    raw = json.dumps(line).encode()
    return PublishedLine(session, line["type"], role, types, raw, f"/p/{session}.jsonl", number, line["uuid"])


def entry(number: int, text: str, role: str = "user", session: str = "s", **more: Any) -> Entry:  # noqa: ANN401 - as above
    return Entry(f"{number}-0", published(number, text, role, session, **more))
