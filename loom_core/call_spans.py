"""The spans of one exchange: the Loom's own, and below it the model's answer."""

from loom_core import attributes as names
from loom_core import compaction_told
from loom_core.attributes import MAX_LABEL, Place, Writer
from loom_core.call import Call, CallKind
from loom_core.content import write_answer, write_input, write_output, write_value
from loom_core.conversation import answer, read
from loom_core.events import RequestReceived, TurnJoined
from loom_core.facts import CallFacts
from loom_core.headers import first
from loom_core.message import Seen
from loom_core.rules import SECOND, Content
from loom_core.trace import SpanRecord, Traceparent, derived_id, traceparent

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
NO_FAULT = frozenset({"complete", "client gone"})
"""Outcomes that make no span an error: a person may interrupt."""


def call_spans(facts: CallFacts) -> tuple[SpanRecord, ...]:
    """The exchange's span and below it, if there were any, those of the weaving and of the answer."""
    below = (span for span in (weave_span(facts), chat_span(facts)) if span is not None)
    return (request_span(facts), *below)


def request_ids(asked: RequestReceived, call: Call | None, joined: TurnJoined | None) -> tuple[str, str, str]:
    """(trace, span, parent) of a request's span: in its turn, else below the client's, else alone."""
    span_id = derived_id(asked.seed, "request", 8)
    if joined is not None and joined.trace_id:
        return joined.trace_id, span_id, joined.parent_id
    link = _link(asked, call)
    if link is not None:
        return link.trace_id, span_id, link.span_id
    return derived_id(asked.seed, "trace", 16), span_id, ""


def request_span(facts: CallFacts) -> SpanRecord:
    """`loom: POST /v1/messages`: one per exchange, whatever became of it."""
    asked, call = facts.asked, facts.call
    trace_id, span_id, parent_id = request_ids(asked, call, facts.joined)
    method = asked.request.method if asked.request.method in METHODS else "_OTHER"
    path = asked.request.target.partition(b"?")[0].decode("latin-1")
    out = Writer("CHAIN", call.session if call else "")
    content = asked.rules.tracing.content
    if call:
        _write_call(out, call, content)
    if facts.joined is not None and facts.joined.index:
        out.count("loom.turn.call_index", facts.joined.index)
    _write_http(out, facts, method, path)
    if facts.head_at:
        out.number("loom.time_to_head", _seconds(asked.at, facts.head_at))
    if call and call.kind is CallKind.COUNT:
        out.count("loom.counted_tokens", facts.seen.input_tokens if facts.seen else None)
    elif call and not facts.head_at:
        # No chat span will show these messages, and later ones leave out what was shown.
        _write_conversation(out, facts, call)
    elif call and not parent_id and content is Content.FULL:
        # Alone in its trace it is the root, and readers take input and output from roots.
        write_value(out, "input", call.prompt)
        if facts.seen:
            write_answer(out, answer(facts.seen))
    link = _link(asked, call)
    in_turn = facts.joined is not None and bool(facts.joined.trace_id)
    links = ((link.trace_id, link.span_id),) if link and in_turn else ()
    # A 4xx is the client's fault, not the server's (semantic conventions for HTTP spans).
    error = _fault(facts) if (facts.status or 500) >= 500 or _broke(facts) else ""
    name, place = f"loom: {method} {path}", Place(trace_id, span_id, parent_id)
    return out.record(place, name, "server", asked.at, facts.ended_at, error, links)


def weave_span(facts: CallFacts) -> SpanRecord | None:
    """`loom.weave`: what was woven in, where and how it went; None for a request of no profile."""
    woven = facts.woven
    if woven is None:
        return None
    trace_id, parent_id, _ = request_ids(facts.asked, facts.call, facts.joined)
    out = Writer("CHAIN", facts.call.session if facts.call else "")
    out.text("loom.profile", woven.profile, MAX_LABEL)
    out.clean("loom.weave.outcome", woven.outcome)
    out.count("loom.weave.tokens.identity", woven.identity)
    out.count("loom.weave.tokens.sticky", woven.sticky)
    out.count("loom.weave.tokens.ephemeral", woven.ephemeral)
    out.count("loom.weave.anchors", woven.anchors)
    out.count("loom.weave.ledger_hits", woven.replayed)
    out.count("loom.weave.memories", woven.memories)
    out.text("loom.weave.recall", woven.recall, MAX_LABEL)
    out.text("loom.weave.trouble", woven.trouble, MAX_LABEL)
    place = Place(trace_id, derived_id(facts.asked.seed, "weave", 8), parent_id)
    error = "" if woven.is_whole else woven.trouble
    return out.record(place, "loom.weave", "internal", woven.began_at, woven.ended_at, error)


def chat_span(facts: CallFacts) -> SpanRecord | None:
    """`chat {model}`: what was asked of the model and what it said; None where nothing answered a call."""
    call, seen = facts.call, facts.seen or Seen()
    if call is None or call.kind is CallKind.COUNT or not facts.head_at:
        return None
    trace_id, parent_id, _ = request_ids(facts.asked, call, facts.joined)
    content = facts.asked.rules.tracing.content
    model = seen.model or call.model
    start = facts.sent_at or facts.asked.at
    out = Writer("LLM", call.session)
    _write_call(out, call, content)
    out.clean(names.OPERATION_NAME, "chat")
    for name in (names.PROVIDER_NAME, names.LLM_SYSTEM, names.LLM_PROVIDER):
        out.clean(name, "anthropic")
    out.text(names.LLM_MODEL_NAME, model)
    out.text(names.REQUEST_MODEL, call.model)
    out.text(names.RESPONSE_MODEL, seen.model)
    out.text(names.RESPONSE_ID, seen.message_id)
    out.text(names.LLM_FINISH_REASON, seen.stop_reason)
    out.texts(names.RESPONSE_FINISH_REASONS, (seen.stop_reason,) if seen.stop_reason else ())
    if facts.first_chunk_at:
        out.number(names.RESPONSE_TIME_TO_FIRST_CHUNK, _seconds(start, facts.first_chunk_at))
    _write_usage(out, seen)
    if facts.miss is not None:
        out.clean("loom.cache.miss_cause", facts.miss.cause)
        out.text("loom.cache.miss", facts.miss.words, MAX_LABEL)
        out.count("loom.cache.miss_tokens", facts.miss.tokens)
    compaction_told.write(out, facts.woven, facts.seen, facts.asked.request.headers, content)
    out.count(names.HTTP_STATUS, facts.status)
    if facts.attempts > 1:
        out.count(names.HTTP_RESEND_COUNT, facts.attempts - 1)
    error = _fault(facts)
    if error:
        out.text(names.ERROR_TYPE, _error_type(facts), MAX_LABEL)
    if seen.cut or seen.odd:
        out.truth("loom.answer.cut", value=seen.cut)
        out.count("loom.answer.odd", seen.odd)
    _write_conversation(out, facts, call)
    write_output(out, answer(seen), seen.stop_reason, content)
    span_id = derived_id(facts.asked.seed, "chat", 8)
    name, place = f"chat {model}".strip(), Place(trace_id, span_id, parent_id)
    return out.record(place, name, "client", start, facts.ended_at, error)


# What they write


def _write_call(out: Writer, call: Call, content: Content) -> None:
    out.text(names.USER_ID, "" if content is Content.OFF else call.user_id, MAX_LABEL)
    out.text(names.CONVERSATION_ID, call.session)
    out.clean("loom.call.kind", call.kind.value)
    out.text(names.AGENT_ID, call.agent, MAX_LABEL)
    out.text("loom.agent.parent", call.parent_agent, MAX_LABEL)
    out.text("loom.agent.type", call.agent_type, MAX_LABEL)
    out.text("loom.source", call.source, MAX_LABEL)


def _write_http(out: Writer, facts: CallFacts, method: str, path: str) -> None:
    agent = first(facts.asked.request.headers, b"user-agent") or b""
    out.clean(names.HTTP_METHOD, method)
    out.text(names.URL_PATH, path, MAX_LABEL * 4)
    out.count(names.HTTP_STATUS, facts.status)
    out.count(names.HTTP_REQUEST_SIZE, facts.received)
    out.count(names.HTTP_RESPONSE_SIZE, facts.relayed)
    out.text(names.USER_AGENT, agent.decode("latin-1"), MAX_LABEL)
    out.clean("loom.exchange.id", facts.exchange_id)
    out.text("loom.upstream.request_id", facts.request_id, MAX_LABEL)
    out.count("loom.attempts", facts.attempts)
    out.clean("loom.outcome", facts.outcome)
    out.text("loom.failure", facts.failure, MAX_LABEL * 4)
    out.count("loom.metadata.blocks_cut", facts.blocks_cut)


def _write_usage(out: Writer, seen: Seen) -> None:
    prompt, said = seen.prompt_tokens, seen.output_tokens
    for name in (names.LLM_TOKEN_COUNT_PROMPT, names.USAGE_INPUT_TOKENS):
        out.count(name, prompt)
    for name in (names.LLM_TOKEN_COUNT_COMPLETION, names.USAGE_OUTPUT_TOKENS):
        out.count(name, said)
    if prompt is not None or said is not None:
        out.count(names.LLM_TOKEN_COUNT_TOTAL, (prompt or 0) + (said or 0))
    for name in (names.LLM_TOKEN_COUNT_CACHE_READ, names.USAGE_CACHE_READ):
        out.count(name, seen.cache_read)
    for name in (names.LLM_TOKEN_COUNT_CACHE_WRITE, names.USAGE_CACHE_CREATION):
        out.count(name, seen.cache_creation)


def _write_conversation(out: Writer, facts: CallFacts, call: Call) -> None:
    joined = facts.joined
    told = read(facts.body, joined.shown if joined else 0, facts.behind)
    system_shown = bool(joined and call.system_hash and call.system_hash in joined.systems)
    out.clean("loom.system.hash", call.system_hash)
    write_input(out, told, facts.asked.rules.tracing.content, system_shown=system_shown)


def _link(asked: RequestReceived, call: Call | None) -> Traceparent | None:
    if call is not None:
        return call.link
    return traceparent((first(asked.request.headers, b"traceparent") or b"").decode("latin-1"))


def _broke(facts: CallFacts) -> bool:
    return facts.outcome not in NO_FAULT


def _fault(facts: CallFacts) -> str:
    """What went wrong, in words; "" if nothing did."""
    seen = facts.seen
    if facts.status is not None and facts.status >= 400:
        told = (seen.error if seen else "") or facts.failure
        return f"status {facts.status}{': ' if told else ''}{told}"
    if seen and seen.error:
        return seen.error
    return (facts.failure or facts.outcome) if _broke(facts) else ""


def _error_type(facts: CallFacts) -> str:
    """A word of few kinds: upstream's own, else the status, else the outcome."""
    told = facts.seen.error if facts.seen else ""
    failed = facts.status is not None and facts.status >= 400
    return told or (f"{facts.status}" if failed else facts.outcome)


def _seconds(start: int, end: int) -> float:
    return max(0, end - start) / SECOND
