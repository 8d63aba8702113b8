"""What was said, in one form for requests and answers: messages of parts, cut to what spans hold.

Only the messages that no earlier span has shown are decoded, so that a conversation costs what is
new in it. Images and other files are told by type, size and hash, never by their bytes.
"""

import binascii
import re
from hashlib import sha256

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace as evolve

from loom_core.asked import Asked, Behind, as_asked
from loom_core.attributes import as_json
from loom_core.message import Block, Seen
from loom_core.reading import Json, as_dict, as_text
from loom_core.redaction import MAX_VALUE, exported
from loom_core.wire import UNREADABLE

MAX_PARTS = 2_000
"""Parts of one span's messages: at most four attributes each, within the limit of a span."""
MAX_TEXT = 1024 * 1024
"""Characters of one span's input messages; the newest are kept."""
MAX_TOOLS = 512
MAX_NAME = 256

_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_LONE = re.compile(
    rb"(\\[^u]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
"""Escapes of surrogates; group 1 is a pair, or an escape of something else."""
_PARAMETERS = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "stream",
    "thinking",
    "tool_choice",
    "service_tier",
    "output_config",
)


class Part(Struct, frozen=True):
    """A piece of a message. Kinds: text, reasoning, tool_call, image, document, or upstream's own word."""

    kind: str
    text: str = ""
    id: str = ""
    name: str = ""
    signature: str = ""


class Said(Struct, frozen=True):
    """A message. Roles: user, assistant, system, and tool for each tool result by itself."""

    role: str
    parts: tuple[Part, ...]
    tool_call_id: str = ""


class Tool(Struct, frozen=True):
    """A tool on offer; definitions are long, and seldom told."""

    name: str
    raw: msgspec.Raw

    @property
    def definition(self) -> str:
        return as_json(_decoded(self.raw))


class _Named(Struct):
    name: Json = None
    type: Json = None


_NAMED = msgspec.json.Decoder(_Named)


class Conversation(Struct, frozen=True):
    """A request's conversation. `total` = `earlier` + `left_out` + the messages told in `new`."""

    total: int = 0
    earlier: int = 0
    left_out: int = 0
    new: tuple[Said, ...] = ()
    system: tuple[Part, ...] = ()
    tools: tuple[Tool, ...] = ()
    parameters: dict[str, Json] = field(default_factory=dict)


def read(body: bytes, shown: int, behind: Behind | None = None) -> Conversation:
    """Read a Messages-API request of which `shown` messages were shown before; odd parts as absent.

    `behind`: the first messages of it, which are not looked at if they were shown.
    """
    if behind is not None and behind.count > shown:
        behind = None
    asked = _asked(body, behind)
    listed, known = asked.messages, behind.count if behind else 0
    total = known + len(listed)
    earlier = min(max(shown, 0), total)
    new, left_out = _newest(listed[earlier - known :])
    system = _decoded(asked.system)
    return Conversation(
        total=total,
        earlier=earlier,
        left_out=left_out,
        new=new,
        system=_parts(system)[:MAX_NAME],
        tools=tuple(map(_tool, _raw_elements(asked.tools)[:MAX_TOOLS])),
        parameters={name: _decoded(raw) for name in _PARAMETERS if memoryview(raw := getattr(asked, name))},
    )


def answer(seen: Seen) -> Said:
    """What the model answered."""
    return Said("assistant", tuple(map(_seen_part, seen.blocks[:MAX_PARTS])))


def words(block: Json) -> str:
    """What a block of a request says to a reader: of a call name and input, of a file type, size and hash."""
    [part] = _result_parts(block) if _is_result(block) else (_part(block),)
    return f"{part.name} {part.text}" if part.name else part.text


def without_content(said: Said) -> Said:
    """Who said how many things of which kind, and the names of tools: none of the words."""
    return evolve(said, parts=tuple(evolve(part, text="", signature="") for part in said.parts))


def cleaned(said: Said) -> Said:
    """The message without secrets, its texts cut to what a span holds: to be written in several forms."""
    return Said(exported(said.role), tuple(map(_cleaned, said.parts)), exported(said.tool_call_id))


def _cleaned(part: Part) -> Part:
    return Part(
        exported(part.kind),
        part.text and exported(part.text),
        part.id and exported(part.id),
        part.name and exported(part.name),
        part.signature and exported(part.signature),
    )


def plain(said: Said) -> str:
    """The words a person would read."""
    return "\n\n".join(part.text for part in said.parts if part.kind == "text" and part.text)


# JSON, read lazily


def _asked(body: bytes, behind: Behind | None) -> Asked:
    try:
        return as_asked(body, behind)
    except UNREADABLE:
        pass
    try:
        # JSON allows lone surrogates, Unicode text does not.
        return as_asked(_LONE.sub(lambda found: found[1] or rb"\ufffd", body), behind)
    except UNREADABLE:
        return Asked()


def _raw_elements(raw: msgspec.Raw) -> list[msgspec.Raw]:
    try:
        return _ELEMENTS.decode(raw)
    except UNREADABLE:
        return []


def _decoded(raw: msgspec.Raw) -> Json:
    """A value; None if there is none, or none that can be held."""
    try:
        return msgspec.json.decode(raw)
    except UNREADABLE:
        return None


# Messages


def _newest(listed: list[msgspec.Raw]) -> tuple[tuple[Said, ...], int]:
    """The newest messages that there is room for, in order, and how many older ones there is none for."""
    told: list[Said] = []
    parts, room = 0, MAX_TEXT
    for taken, raw in enumerate(reversed(listed)):
        said = _message(_decoded(raw), MAX_PARTS - parts)
        size = sum(min(len(part.text), MAX_VALUE) + len(part.signature) for one in said for part in one.parts)
        if told and (size > room or parts + sum(len(one.parts) + 1 for one in said) > MAX_PARTS):
            return tuple(reversed(told)), len(listed) - taken
        told += reversed(said)
        parts += sum(len(one.parts) + 1 for one in said)
        room -= size
    return tuple(reversed(told)), 0


def _message(message: Json, most: int) -> list[Said]:
    """A message; each tool result in it comes first, as a message of its own, as it stands on the wire."""
    role = as_text(as_dict(message).get("role"))[:MAX_NAME] or "unknown"
    content = as_dict(message).get("content")
    blocks = content[: max(1, most // 2)] if isinstance(content, list) else [content]
    results = [block for block in blocks if _is_result(block)]
    rest = _parts([block for block in blocks if not _is_result(block)])
    told = [Said("tool", _result_parts(result), _name(result, "tool_use_id")) for result in results]
    return [*told, Said(role, rest)] if rest or not told else told


def _is_result(block: Json) -> bool:
    return as_text(as_dict(block).get("type")).endswith("tool_result")


def _result_parts(result: Json) -> tuple[Part, ...]:
    texts = [part.text for part in _parts(as_dict(result).get("content")) if part.text]
    return (Part("text", "\n\n".join(texts)),)


def _parts(content: Json) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Part("text", content),)
    return tuple(map(_part, content)) if isinstance(content, list) else ()


def _part(block: Json) -> Part:
    if isinstance(block, str):
        return Part("text", block)
    if isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str):
        return Part("text", block["text"])
    match block:
        case {"type": "thinking"}:
            return Part(
                "reasoning", as_text(block.get("thinking")), signature=as_text(block.get("signature"))
            )
        case {"type": "redacted_thinking"}:
            return Part("reasoning", _opaque("redacted thinking", as_text(block.get("data"))))
        case {"type": "tool_use" | "server_tool_use" | "mcp_tool_use"}:
            given = as_json(block.get("input"))
            return Part("tool_call", given, id=_name(block, "id"), name=_name(block, "name"))
        case {"type": "image" | "document" as kind, "source": dict(source)}:
            return Part(kind, _file(kind, source))
        case dict():
            return Part(_name(block, "type") or "unknown", as_json(block))
        case _:
            return Part("unknown", "" if block is None else as_json(block))


def _file(kind: str, source: dict[str, Json]) -> str:
    match source:
        case {"type": "text", "data": str(text)}:
            return text
        case {"data": str(coded)}:
            return _opaque(f"{kind} {_name(source, 'media_type')}".strip(), coded)
        case _:
            return f"[{kind} {as_json(source)[:MAX_VALUE]}]"


def _opaque(what: str, coded: str) -> str:
    """Type, size and SHA-256 of what a base64 text holds (of the text itself, if it is no base64)."""
    try:
        octets = binascii.a2b_base64(coded, strict_mode=True)
    except ValueError:
        octets = coded.encode("utf-8", "replace")
    return f"[{what}, {len(octets)} bytes, sha256:{sha256(octets).hexdigest()}]"


def _seen_part(block: Block) -> Part:
    match block.kind:
        case "thinking":
            return Part("reasoning", block.text, signature=block.signature)
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            return Part("tool_call", block.text or "{}", id=block.id, name=block.name)
        case _:
            return Part(block.kind or "unknown", block.text)


def _tool(raw: msgspec.Raw) -> Tool:
    try:
        named = _NAMED.decode(raw)
    except UNREADABLE:
        named = _Named()
    return Tool((as_text(named.name) or as_text(named.type))[:MAX_NAME], raw)


def _name(value: Json, name: str) -> str:
    return as_text(as_dict(value).get(name))[:MAX_NAME]
