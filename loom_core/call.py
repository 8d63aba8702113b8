"""What one Messages-API request says of itself: who calls, in which session, for which prompt.

Headers are preferred to reading prompt text; text is the fallback (contracts section 1).
"""

from collections.abc import Iterable
from enum import Enum
from hashlib import blake2b

import msgspec
from msgspec import Raw, Struct
from msgspec.json import decode

from loom_core.asked import Behind, as_asked
from loom_core.block import decoded
from loom_core.metadata import Metadata
from loom_core.reading import Json, as_dict, as_text
from loom_core.trace import Traceparent, traceparent
from loom_core.values import ExchangeKey, Headers, TurnKey
from loom_core.wire import UNREADABLE

MAX_PROMPT = 32_768
"""Characters of a prompt that are kept."""
MAX_RESULT = 65_536
"""Characters of a tool's result that are kept."""
MAX_NAME = 256
_NO_TOOLS = frozenset({b"", b"[]", b"null"})


Lines = dict[bytes, bytes]
"""The first line of each name, in lower case."""


class CallKind(Enum):
    """What a call is for; the values are those of `x-claude-code-request-class` where it has one."""

    MAIN = "main"
    SUBAGENT = "subagent"
    COMPACTION = "compaction"
    AUXILIARY = "auxiliary"
    COUNT = "count_tokens"


class ToolResult(Struct, frozen=True):
    """What a tool came to; `text` is what it said in words, up to `MAX_RESULT` characters."""

    id: str
    is_error: bool
    text: str = ""


class Call(Struct, frozen=True):
    """One call. Texts are "" where unknown; `messages` counts the conversation's messages.

    `names` are all the names its turn may go by: prompt id, trace id, hash of the last real prompt.
    """

    kind: CallKind
    session: str
    agent: str
    parent_agent: str
    agent_type: str
    names: tuple[str, ...]
    prompt: str
    results: tuple[ToolResult, ...]
    messages: int
    system_hash: str
    model: str
    user_id: str
    source: str
    metadata: Metadata | None
    link: Traceparent | None
    offers: bool = False


class _Said(Struct, frozen=True):
    """What of a body is read here; `messages` counts them."""

    prompt: str
    results: tuple[ToolResult, ...]
    messages: int
    system: Json
    metadata: dict[str, Json]
    model: str
    offers: bool


_CLASSES = {
    **{kind.value: kind for kind in CallKind},
    "side_reply": CallKind.AUXILIARY,
    "workflow": CallKind.SUBAGENT,
}


def read(
    path: bytes, headers: Headers, body: bytes, metadata: Metadata | None, behind: Behind | None = None
) -> Call:
    """Read a call from its request, the metadata block cut out before; odd parts read as absent.

    `behind`: the first messages of it, which are looked at only if those after them do not say it all.
    """
    lines = {name.lower(): value for name, value in reversed(headers)}
    metadata = _of_this_prompt(lines, metadata)
    names = _names(lines, metadata, "")
    is_told = bool(names and metadata and metadata.prompt)
    asked = _asked(body, behind, wants_prompt=not is_told)
    prompt, system = asked.prompt, asked.system
    session, user = _session(lines, asked.metadata, metadata)
    return Call(
        kind=_kind(path, lines, system),
        session=session,
        agent=_header(lines, b"x-claude-code-agent-id"),
        parent_agent=_header(lines, b"x-claude-code-parent-agent-id"),
        agent_type=_header(lines, b"x-claude-code-agent-type"),
        names=names or _names(lines, metadata, prompt),
        prompt=(metadata.prompt if metadata and metadata.prompt else prompt)[:MAX_PROMPT],
        results=asked.results,
        messages=asked.messages,
        system_hash=_hash(msgspec.json.encode(system)) if system else "",
        model=asked.model[:MAX_NAME],
        user_id=user,
        source=_header(lines, b"x-loom-source") or (metadata.source if metadata else ""),
        metadata=metadata,
        link=traceparent(_header(lines, b"traceparent")),
        offers=asked.offers,
    )


def turn_key(call: Call, exchange: ExchangeKey) -> TurnKey:
    """Whose turn a call is part of; a caller that names no session is known by its prompt."""
    stand_in = f"~{call.names[0] if call.names else exchange.id}"
    return TurnKey(call.session or stand_in, call.agent)


def _object(text: bytes) -> dict[str, Json]:
    try:
        return as_dict(decoded(text))
    except UNREADABLE:
        return {}


def _asked(body: bytes, behind: Behind | None, *, wants_prompt: bool) -> _Said:
    """Decode the newest messages only, if they can be: a long conversation costs what is new in it."""
    try:
        return _newest_of(body, behind, wants_prompt=wants_prompt)
    except UNREADABLE:
        asked = _object(body)
    messages = asked.get("messages")
    listed = messages if isinstance(messages, list) else []
    prompt, results, _ = _recent(reversed(listed), wants_prompt=wants_prompt)
    described = as_dict(asked.get("metadata"))
    return _Said(
        prompt,
        results,
        len(listed),
        asked.get("system"),
        described,
        as_text(asked.get("model")),
        bool(asked.get("tools")),
    )


def _newest_of(body: bytes, behind: Behind | None, *, wants_prompt: bool) -> _Said:
    asked = as_asked(body, behind)
    prompt, results, is_all = _recent(map(decode, reversed(asked.messages)), wants_prompt=wants_prompt)
    if behind and not is_all:
        return _newest_of(body, None, wants_prompt=wants_prompt)
    count = len(asked.messages) + (behind.count if behind else 0)
    system, described, model = map(_value, (asked.system, asked.metadata, asked.model))
    # Not decoded: tools are long, and only an empty list or null offers none.
    offers = bytes(memoryview(asked.tools)[:8]) not in _NO_TOOLS
    return _Said(prompt, results, count, system, as_dict(described), as_text(model), offers)


def _value(raw: Raw) -> Json:
    return decode(raw) if memoryview(raw) else None


def _of_this_prompt(lines: Lines, metadata: Metadata | None) -> Metadata | None:
    """None for a block that an earlier prompt left in the conversation."""
    told = _header(lines, b"x-claude-code-prompt-id")
    if metadata and told and metadata.prompt_id and metadata.prompt_id != told:
        return None
    return metadata


def _header(lines: Lines, name: bytes) -> str:
    return lines.get(name, b"").decode("latin-1")[:MAX_NAME]


def _kind(path: bytes, lines: Lines, system: Json) -> CallKind:
    if path.endswith(b"/count_tokens"):
        return CallKind.COUNT
    told = _header(lines, b"x-claude-code-request-class")
    if told in _CLASSES:
        return _CLASSES[told]
    if _header(lines, b"x-claude-code-agent-id") or "cc_is_subagent=true" in _first_text(system):
        return CallKind.SUBAGENT
    return CallKind.MAIN


def _session(lines: Lines, described: dict[str, Json], metadata: Metadata | None) -> tuple[str, str]:
    """(session, user): the header first, then the body's `metadata.user_id`, then the block."""
    user_id = as_text(described.get("user_id"))
    session, user = "", user_id
    if user_id.startswith("{"):
        told = _object(user_id.encode("utf-8", "surrogatepass"))
        session, user = as_text(told.get("session_id")), as_text(told.get("account_uuid"))
    elif "_session_" in user_id:
        user, _, session = user_id.rpartition("_session_")
    named = _header(lines, b"x-loom-session") or _header(lines, b"x-claude-code-session-id")
    found = named or session or (metadata.session_id if metadata else "")
    return found[:MAX_NAME], user[:MAX_NAME]


def _names(lines: Lines, metadata: Metadata | None, prompt: str) -> tuple[str, ...]:
    prompt_id = _header(lines, b"x-claude-code-prompt-id") or (metadata.prompt_id if metadata else "")
    names = [f"prompt:{prompt_id}"] if prompt_id else []
    if metadata and metadata.trace_id:
        names.append(f"trace:{metadata.trace_id}")
    if not names and prompt:
        names.append(f"text:{_hash(prompt.encode('utf-8', 'surrogatepass'))}")
    return tuple(names)


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
    """The last text a person typed: reminders and tool results are none."""
    if any(block.get("type") == "tool_result" for block in blocks):
        return ""
    for block in reversed(blocks):
        text = as_text(block.get("text")) if block.get("type") == "text" else ""
        if text and not text.startswith("<system-reminder>"):
            return text
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


def _first_text(system: Json) -> str:
    if isinstance(system, list) and system:
        return as_text(as_dict(system[0]).get("text"))
    return as_text(system)


def _hash(text: bytes) -> str:
    return blake2b(text, digest_size=16).hexdigest()
