"""What one Messages-API request says of itself: who calls, in which session, for which prompt.

Headers are preferred to reading prompt text; text is the fallback (contracts section 1).
"""

from enum import Enum
from hashlib import blake2b

import msgspec
from msgspec import Struct
from msgspec.structs import replace as evolve

from loom_core.asked import Behind
from loom_core.compaction import CLASS, HEADER, Compaction, detect
from loom_core.metadata import Metadata
from loom_core.newest import ToolResult, as_object, newest
from loom_core.reading import Json, as_dict, as_text
from loom_core.trace import Traceparent, traceparent
from loom_core.values import ExchangeKey, Headers, TurnKey

MAX_PROMPT = 32_768
"""Characters of a prompt that are kept."""
MAX_NAME = 256

Lines = dict[bytes, bytes]
"""The first line of each name, in lower case."""


class CallKind(Enum):
    """What a call is for; the values are those of `x-claude-code-request-class` where it has one."""

    MAIN = "main"
    SUBAGENT = "subagent"
    COMPACTION = "compaction"
    AUXILIARY = "auxiliary"
    COUNT = "count_tokens"


class Call(Struct, frozen=True):
    """One call. Texts are "" where unknown; `messages` counts the conversation's messages.

    `names` are all the names its turn may go by: prompt id, trace id, hash of the last real prompt.
    `system_hash`: of the system prompt that goes up, "" for none.
    `compaction`: what says that it compacts, if anything does.
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
    compaction: Compaction | None = None


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
    wants_last = HEADER in lines or lines.get(CLASS) == b"compaction"
    asked = newest(body, behind, wants_prompt=not is_told, wants_last=wants_last)
    prompt, system = asked.prompt, asked.system
    session, user = _session(lines, asked.metadata, metadata)
    typed = metadata.prompt if metadata else ""
    compaction = None if path.endswith(b"/count_tokens") else detect(lines, system, asked.last, typed)
    kind = _kind(path, lines, system, compaction)
    if kind is CallKind.COMPACTION:
        prompt = ""  # The client's own words, which nobody typed.
    return Call(
        kind=kind,
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
        compaction=compaction,
    )


def as_shown(call: Call, identity: str) -> Call:
    """A call whose system prompt ends with this identity: told apart from the same one with another."""
    if not identity:
        return call
    told = f"{call.system_hash} {identity}".encode("utf-8", "surrogatepass")
    return evolve(call, system_hash=_hash(told))


def turn_key(call: Call, exchange: ExchangeKey) -> TurnKey:
    """Whose turn a call is part of; a caller that names no session is known by its prompt."""
    stand_in = f"~{call.names[0] if call.names else exchange.id}"
    return TurnKey(call.session or stand_in, call.agent)


def _of_this_prompt(lines: Lines, metadata: Metadata | None) -> Metadata | None:
    """None for a block that an earlier prompt left in the conversation."""
    told = _header(lines, b"x-claude-code-prompt-id")
    if metadata and told and metadata.prompt_id and metadata.prompt_id != told:
        return None
    return metadata


def _header(lines: Lines, name: bytes) -> str:
    return lines.get(name, b"").decode("latin-1")[:MAX_NAME]


def _kind(path: bytes, lines: Lines, system: Json, compaction: Compaction | None) -> CallKind:
    if path.endswith(b"/count_tokens"):
        return CallKind.COUNT
    told = _header(lines, CLASS)
    if told in _CLASSES:
        return _CLASSES[told]
    if compaction and compaction.is_certain:
        return CallKind.COMPACTION
    if _header(lines, b"x-claude-code-agent-id") or "cc_is_subagent=true" in _first_text(system):
        return CallKind.SUBAGENT
    return CallKind.MAIN


def _session(lines: Lines, described: dict[str, Json], metadata: Metadata | None) -> tuple[str, str]:
    """(session, user): the header first, then the body's `metadata.user_id`, then the block."""
    user_id = as_text(described.get("user_id"))
    session, user = "", user_id
    if user_id.startswith("{"):
        told = as_object(user_id.encode("utf-8", "surrogatepass"))
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


def _first_text(system: Json) -> str:
    if isinstance(system, list) and system:
        return as_text(as_dict(system[0]).get("text"))
    return as_text(system)


def _hash(text: bytes) -> str:
    return blake2b(text, digest_size=16).hexdigest()
