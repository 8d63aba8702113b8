"""One line of a client's transcript, classified (contracts section 4): unknown types pass on, nothing raises.

What is published of a line is `raw`, without metadata blocks. A line that cannot be read is a line all the
same: it says which `problem` it has.
"""

import re
from collections.abc import Iterable
from typing import TypeVar

import msgspec
from msgspec import Struct

from loom_core.reading import Json, as_count, as_dict, as_text
from loom_core.scrub import is_json, paired, scrubbed
from loom_core.wire import UNREADABLE

TOO_LONG, NOT_JSON, NOT_UTF8 = "too long", "not JSON", "not UTF-8"
MAX_TEXT = 262_144
"""Characters kept of what a line says in words."""
MAX_NAMES = 64
"""Content types and names of tools that are kept."""

_ABSENT = msgspec.Raw()
_WORD = re.compile(r"[^\x00-\x20\x7f-\x9f\ud800-\udfff\ufffd]{1,256}")
"""U+FFFD may stand for anything: an id that has it is none."""


Read = TypeVar("Read")


class _Block(Struct, gc=False):
    type: Json = None
    text: Json = None
    name: Json = None


class _Message(Struct, gc=False):
    role: Json = None
    id: Json = None
    model: Json = None
    content: msgspec.Raw = _ABSENT
    usage: Json = None


class _Line(Struct, rename="camel", gc=False):
    type: Json = None
    subtype: Json = None
    uuid: Json = None
    session_id: Json = None
    agent_id: Json = None
    request_id: Json = None
    timestamp: Json = None
    is_compact_summary: Json = None
    is_sidechain: Json = None
    message: msgspec.Raw = _ABSENT
    content: msgspec.Raw = _ABSENT
    summary: msgspec.Raw = _ABSENT


_LINE = msgspec.json.Decoder(_Line)
_MESSAGE = msgspec.json.Decoder(_Message)
_BLOCK = msgspec.json.Decoder(_Block)
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_STRING = msgspec.json.Decoder(str)


class Usage(Struct, frozen=True):
    """Tokens of one response."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read: int = 0
    cache_creation: int = 0

    def joined(self, other: "Usage") -> "Usage":
        """What two lines of the same response say together: in any order, and however often, the same."""
        return Usage(
            max(self.input_tokens, other.input_tokens),
            max(self.output_tokens, other.output_tokens),
            max(self.cache_read, other.cache_read),
            max(self.cache_creation, other.cache_creation),
        )


class TranscriptLine(Struct, frozen=True):
    """What a line says of itself; "" and empty where it says nothing, or something odd.

    `kind` is its `type`, `id` its uuid and `at` its timestamp as written. `content_types` and `tools` (names)
    are each told once, in order. `text` is what was said in words: neither thinking nor results of tools.
    `raw` is the line as it may be published.
    """

    session: str = ""
    agent: str = ""
    kind: str = ""
    role: str = ""
    content_types: tuple[str, ...] = ()
    id: str = ""
    message_id: str = ""
    request_id: str = ""
    at: str = ""
    is_boundary: bool = False
    is_summary: bool = False
    is_sidechain: bool = False
    text: str = ""
    tools: tuple[str, ...] = ()
    raw: bytes = b""
    problem: str = ""
    model: str = ""
    usage: Usage | None = None


def read(raw: bytes) -> TranscriptLine:
    """Classify the bytes of a line, with or without its newline; none at all stand for one too long."""
    if not raw:
        return TranscriptLine(problem=TOO_LONG)
    raw, problem = _text_of(raw)
    line = _decoded(_LINE, raw)
    if line is None and not is_json(raw):
        return TranscriptLine(raw=scrubbed(raw, as_json=False), problem=problem or NOT_JSON)
    clean = scrubbed(raw, as_json=True)
    if clean is not raw:
        line = _decoded(_LINE, clean)
    return _told(line or _Line(), clean, problem)


def counted(lines: Iterable[TranscriptLine]) -> dict[str, Usage]:
    """What each response used, by message id: one response is several lines that repeat its usage."""
    used: dict[str, Usage] = {}
    for line in lines:
        if line.usage is not None and line.message_id:
            before = used.get(line.message_id)
            used[line.message_id] = before.joined(line.usage) if before else line.usage
    return used


def _text_of(raw: bytes) -> tuple[bytes, str]:
    """The line as valid UTF-8, and whether it was."""
    raw = raw.removesuffix(b"\n")
    if raw.isascii():
        return raw, ""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace").encode(), NOT_UTF8
    return raw, ""


def _told(line: _Line, raw: bytes, problem: str) -> TranscriptLine:
    message = _decoded(_MESSAGE, line.message)
    kind = _word(line.type)
    said = message or _Message()
    is_said = message is not None and (kind in {"user", "assistant"} or said.role is not None)
    content = line.content if _is_there(line.content) else line.summary
    types, words, tools = _content(said.content if is_said else content)
    return TranscriptLine(
        session=_word(line.session_id),
        agent=_word(line.agent_id),
        kind=kind,
        role=_word(said.role),
        content_types=types,
        id=_word(line.uuid),
        message_id=_word(said.id),
        request_id=_word(line.request_id),
        at=_word(line.timestamp),
        is_boundary=kind == "system" and line.subtype == "compact_boundary",
        is_summary=line.is_compact_summary is True,
        is_sidechain=line.is_sidechain is True,
        text=words,
        tools=tools,
        raw=raw,
        problem=problem,
        model=_word(said.model),
        usage=_usage(said.usage),
    )


def _content(content: msgspec.Raw) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Types, words and names of tools of a message's content: a string, or a list of blocks."""
    if bytes(memoryview(content)[:1]) == b'"':
        return ("text",), (_decoded(_STRING, content) or "")[:MAX_TEXT], ()
    types: dict[str, None] = {}
    tools: dict[str, None] = {}
    words: list[str] = []
    room = MAX_TEXT
    for element in _decoded(_ELEMENTS, content) or ():
        block = _decoded(_BLOCK, element) or _Block()
        kind = _word(block.type)
        if kind and len(types) < MAX_NAMES:
            types[kind] = None
        if kind == "text" and room > 0 and (text := as_text(block.text)):
            words.append(text[:room])
            room -= len(text) + 2
        elif kind.endswith("tool_use") and len(tools) < MAX_NAMES and (name := _word(block.name)):
            tools[name] = None
    return tuple(types), "\n\n".join(words), tuple(tools)


def _usage(value: Json) -> Usage | None:
    told = as_dict(value)
    if not told:
        return None
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return Usage(*(min(as_count(told.get(name)) or 0, 2**53) for name in names))


# Values that may be anything


def _decoded(decoder: msgspec.json.Decoder[Read], value: bytes | msgspec.Raw) -> Read | None:
    """The value, halves of pairs of surrogates as U+FFFD; None if it is not of this kind."""
    if not _is_there(value):
        return None
    try:
        return decoder.decode(value)
    except msgspec.ValidationError:
        return None
    except UNREADABLE:
        pass
    try:
        return decoder.decode(paired(bytes(memoryview(value))))
    except UNREADABLE:
        return None


def _is_there(value: bytes | msgspec.Raw) -> bool:
    return len(memoryview(value)) > 0


def _word(value: Json) -> str:
    """A short text without white space, such as an id or a name."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""
