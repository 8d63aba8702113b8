"""What was said in words in a session: all that Intro reads of a transcript.

Results of tools are none of it: what a tool answers is found again by asking the tool, and a model that
notes what it reads there would be fed with its own notes.
"""

import re

from attrs import frozen

from loom_core import transcript_line
from loom_core.redaction import exported
from loom_core.wrapper import safe
from loom_shell.stream import Entry

MOST_BYTES = 4_096
"""Bytes (UTF-8) of one line's words; a longer text is cut, and says so."""
MOST_RAW = 262_144
"""Bytes of a line that is looked into: a longer one was pasted, not said."""
MOST_SESSION = 256
"""Characters of a session's name."""
ROLES = frozenset({"user", "assistant"})
_TOOLS = frozenset({"tool_result", "server_tool_result"})
_REMINDER = re.compile(r"<system-reminder>[^<]*+(?:<(?!/?system-reminder>)[^<]*+)*+</system-reminder>")


@frozen
class Said:
    """`entry` is the stream's id, `line` the transcript's."""

    session: str
    role: str
    text: str
    line: str
    entry: str


def said(entry: Entry) -> Said | None:
    """What the entry says in words, without secrets; None for an entry that is not for Intro."""
    told = entry.published
    if told.kind not in ROLES or not 0 < len(told.session) <= MOST_SESSION or len(told.raw) > MOST_RAW:
        return None
    if _is_result(told.content_types):
        return None
    line = transcript_line.read(told.raw)
    is_other = line.problem or line.is_summary or line.is_boundary or line.is_sidechain or line.agent
    if is_other or _is_result(line.content_types) or line.role not in ROLES:
        return None
    text = exported(safe(_REMINDER.sub("", line.text)).strip(), MOST_BYTES)
    if not text:
        return None
    return Said(told.session, line.role, text, told.line_id or entry.id, entry.id)


def _is_result(types: tuple[str, ...]) -> bool:
    return any(kind in _TOOLS or kind.endswith("_tool_result") for kind in types)
