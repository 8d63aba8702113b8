"""Spans as values: what each span of a trace is called, hangs on and says.

Every function is pure and total: the same facts give the same record, and odd facts give a span
too. Texts are redacted and capped where they are written (`attributes.Writer`).
"""

from loom_core import attributes as names
from loom_core.attributes import MAX_LABEL, Place, Writer
from loom_core.call_spans import call_spans, chat_span, request_ids, request_span
from loom_core.content import as_metadata, write_value
from loom_core.facts import CallFacts, ToolFacts, TurnFacts
from loom_core.metadata import Metadata
from loom_core.redaction import exported
from loom_core.rules import Content
from loom_core.trace import SpanRecord, derived_id, traceparent

__all__ = [
    "CallFacts",
    "ToolFacts",
    "TurnFacts",
    "call_spans",
    "chat_span",
    "hook_span",
    "request_ids",
    "request_span",
    "tool_span",
    "turn_span",
]


def tool_span(facts: ToolFacts) -> SpanRecord:
    """`execute_tool {name}`: the client executed it, the Loom saw when it was asked for and answered."""
    is_full = facts.content is Content.FULL
    out = Writer("TOOL", facts.session)
    out.text(names.CONVERSATION_ID, facts.session)
    out.text(names.OPERATION_NAME, "execute_tool")
    out.text(names.TOOL_NAME, facts.name, MAX_LABEL)
    out.text(names.GEN_AI_TOOL_NAME, facts.name, MAX_LABEL)
    out.text(names.GEN_AI_TOOL_TYPE, "function")
    out.text(names.TOOL_ID, facts.id, MAX_LABEL)
    out.text(names.GEN_AI_TOOL_CALL_ID, facts.id, MAX_LABEL)
    out.text(names.ERROR_TYPE, facts.error, MAX_LABEL)
    if is_full:
        write_value(out, "input", facts.given, names.JSON)
        write_value(out, "output", facts.result)
        out.text(names.GEN_AI_TOOL_CALL_ARGUMENTS, facts.given)
        out.text(names.GEN_AI_TOOL_CALL_RESULT, facts.result)
    span_id = _child_id(facts.trace_id, f"tool:{facts.parent_id}:{facts.id}:{facts.start}")
    name = f"execute_tool {facts.name}".strip()
    place = Place(facts.trace_id, span_id, facts.parent_id)
    return out.record(place, name, "internal", facts.start, facts.end, facts.error)


def turn_span(facts: TurnFacts) -> SpanRecord:
    """`user-turn:{session}`, the root; `agent:{id}` for a subagent's part of it."""
    out = Writer("AGENT", facts.session)
    is_off = facts.content is Content.OFF
    out.text(names.USER_ID, "" if is_off else facts.user_id, MAX_LABEL)
    out.text(names.CONVERSATION_ID, facts.session)
    out.text(names.OPERATION_NAME, "invoke_agent")
    out.text(names.AGENT_NAME, facts.agent_type or ("subagent" if facts.agent else "main"), MAX_LABEL)
    out.text(names.GEN_AI_AGENT_NAME, facts.agent_type, MAX_LABEL)
    out.text(names.AGENT_ID, facts.agent, MAX_LABEL)
    out.text("loom.source", facts.source, MAX_LABEL)
    out.text("loom.turn.outcome", facts.outcome, MAX_LABEL)
    out.count("loom.turn.calls", facts.calls)
    # Not `llm.token_count`: readers add that up over the tree, and the chat spans have it.
    out.count("loom.turn.tokens.prompt", facts.input_tokens + facts.cache_read + facts.cache_creation)
    out.count("loom.turn.tokens.completion", facts.output_tokens)
    out.count("loom.turn.tokens.cache_read", facts.cache_read)
    out.count("loom.turn.tokens.cache_write", facts.cache_creation)
    out.texts("loom.turn.models", facts.models)
    if facts.metadata and not is_off:
        _write_metadata(out, facts.metadata, facts.source)
    if facts.content is Content.FULL:
        write_value(out, "input", facts.prompt)
        write_value(out, "output", facts.answer)
    name = f"agent:{facts.agent}" if facts.agent else f"user-turn:{facts.session[:8] or 'unknown'}"
    error = facts.outcome if facts.outcome.startswith("failed") else ""
    place = Place(facts.trace_id, facts.span_id, facts.parent_id)
    return out.record(place, name, "internal", facts.start, facts.end, error, facts.links)


def hook_span(
    trace_id: str, parent_id: str, session: str, metadata: Metadata, content: Content = Content.FULL
) -> SpanRecord:
    """`hook:collect-metadata`, from the times in the block, which is untrusted: ids are checked."""
    out = Writer("CHAIN", session)
    out.text("loom.source", metadata.source, MAX_LABEL)
    if content is not Content.OFF:
        _write_metadata(out, metadata, metadata.source)
    named = traceparent(f"00-{trace_id}-{metadata.hook_span_id}-01")
    span_id = named.span_id if named else _child_id(trace_id, f"hook:{parent_id}")
    start, end = metadata.hook_started_at, metadata.hook_ended_at
    return out.record(Place(trace_id, span_id, parent_id), "hook:collect-metadata", "internal", start, end)


def _write_metadata(out: Writer, told: Metadata, source: str) -> None:
    pairs = (
        ("source", source),
        ("cwd", told.cwd),
        ("transcript_path", told.transcript_path),
        ("prompt_id", told.prompt_id),
        ("started_at", told.started_at),
    )
    machine = {name: exported(f"{value}", MAX_LABEL) for name, value in told.machine}
    whole = as_metadata(pairs) | ({"machine": machine} if machine else {})
    out.json(names.METADATA, whole)


def _child_id(trace_id: str, label: str) -> str:
    """A span id for a child nobody named, the same for the same trace and label."""
    return derived_id(0, f"{trace_id}:{label}", 8)
