"""A turn's account: what its spans need to be told, and how each call adds to it."""

from msgspec import Struct
from msgspec.structs import replace as evolve

from loom_core.actions import Action, Actions, ExportSpan, Measure, Tell
from loom_core.call import Call, CallKind
from loom_core.events import CallBegan, CallEnded, HookReported, TurnAbove, TurnJoined
from loom_core.metadata import Metadata
from loom_core.newest import ToolResult
from loom_core.past import Past
from loom_core.rules import SECOND, Content
from loom_core.spans import ToolFacts, TurnFacts, hook_span, tool_span, turn_span
from loom_core.trace import derived_id, traceparent
from loom_core.values import ExchangeKey, Figure, TurnKey

MAX_TOOLS = 1_024
"""Tools of one turn that may be out at once; more are not followed."""
MAX_LEAD = 15 * 60 * SECOND
"""How long before its first call a prompt may have been typed; an older block is none of this turn."""


class Tool(Struct, frozen=True):
    """A tool the model asked for; `since` is the end of the response that asked."""

    id: str
    name: str
    given: str
    since: int
    reported_at: int = 0


class Turn(Struct, frozen=True):
    """One turn: what its spans need, and no more.

    `session` is what the client called it, "" if nothing. `held` are calls of a subagent that wait
    to be told where they belong, until the turn above has answered (`is_placed`).
    """

    session: str
    content: Content
    names: frozenset[str]
    trace_id: str
    span_id: str
    parent_id: str
    began_at: int
    prompt: str
    user_id: str
    source: str
    agent_type: str
    metadata: Metadata | None
    links: tuple[tuple[str, str], ...]
    heard_at: int
    is_placed: bool
    held: tuple[tuple[ExchangeKey, TurnJoined], ...] = ()
    calls: int = 0
    running: frozenset[ExchangeKey] = frozenset()
    tools: tuple[Tool, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read: int = 0
    cache_creation: int = 0
    models: tuple[str, ...] = ()
    answer: str = ""
    stop_reason: str = ""
    failures: int = 0


APART = frozenset({CallKind.AUXILIARY, CallKind.COUNT})
"""Kinds of call that are never a part of a turn."""


def is_aside(past: Past, call: Call) -> bool:
    """Whether a call begins no turn.

    Clients that send no request class ask small things beside the loop: one message, and no tool on offer.
    """
    is_named = call.metadata or any(name.startswith("prompt:") for name in call.names)
    is_small = call.messages == 1 and past.offers and not call.offers
    return call.kind in APART or (is_small and not is_named)


def begun(key: TurnKey, event: CallBegan, past: Past) -> Turn:
    """A new turn: its ids come from the hook, else from the client's trace, else from the seed.

    A root is exported once; so a subagent's turn, and one that comes after the end of its own
    prompt's turn (a late call, a hook that made the client go on), is a part of that one.
    """
    call, link = event.call, event.call.link
    said = call.metadata or _remembered(call, past)
    given = traceparent(said.traceparent) if said else None
    trace_id, span_id, parent_id = derived_id(event.seed, "trace", 16), "", ""
    if said and given:
        trace_id, span_id, parent_id = given.trace_id, given.span_id, said.parent_span_id
    elif said and said.trace_id:
        trace_id = said.trace_id
    elif link:
        trace_id, parent_id = link.trace_id, link.span_id
    is_later = bool(span_id) and (bool(key.agent) or span_id in past.roots)
    if is_later:
        parent_id = span_id
    if is_later or not span_id:
        span_id = derived_id(event.seed, "turn", 8)
    is_early = not is_later and said is not None and event.at - MAX_LEAD <= said.started_at <= event.at
    above = link and (link.trace_id, link.span_id)
    return Turn(
        session=call.session,
        content=event.content,
        names=frozenset(call.names),
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        began_at=said.started_at if said and is_early else event.at,
        prompt=call.prompt or (said.prompt if said else ""),
        user_id=call.user_id,
        source=call.source or (said.source if said else ""),
        agent_type=call.agent_type,
        metadata=said,
        links=(above,) if above and above != (trace_id, parent_id) else (),
        heard_at=event.at,
        is_placed=not key.agent,
    )


def _remembered(call: Call, past: Past) -> Metadata | None:
    """What the hook said of this very prompt: after a compaction the conversation has lost it."""
    said = past.told
    return said if said and said.prompt_id and f"prompt:{said.prompt_id}" in call.names else None


def shares_prompt(turn: Turn, call: Call) -> bool:
    """Whether a call goes by a name of the turn; a prompt id, where both have one, decides alone."""
    ours = {name for name in turn.names if name.startswith("prompt:")}
    theirs = {name for name in call.names if name.startswith("prompt:")}
    if ours and theirs:
        return not ours.isdisjoint(theirs)
    return not turn.names.isdisjoint(call.names)


def has_other_prompt(turn: Turn, prompt_id: str) -> bool:
    """Whether a hook that names this prompt ("" for none) speaks of another turn."""
    known = any(name.startswith("prompt:") for name in turn.names)
    return bool(prompt_id) and known and f"prompt:{prompt_id}" not in turn.names


def told(turn: Turn, exchange: ExchangeKey, joined: TurnJoined) -> tuple[Turn, Actions]:
    """Answer a call, or hold the answer until it is known which trace the turn is a part of."""
    if turn.is_placed:
        return turn, (Tell(exchange, joined),)
    return evolve(turn, held=(*turn.held, (exchange, joined))), ()


def placed(turn: Turn, above: TurnAbove) -> tuple[Turn, Actions]:
    """A subagent's turn is a part of the trace of the turn above, if there is one."""
    if turn.is_placed:
        return turn, ()
    if above.trace_id:
        turn = evolve(turn, trace_id=above.trace_id, parent_id=above.span_id)
    return evolve(turn, is_placed=True, held=()), _released(turn)


def _released(turn: Turn) -> Actions:
    return tuple(Tell(exchange, evolve(joined, trace_id=turn.trace_id)) for exchange, joined in turn.held)


def with_results(turn: Turn, call: Call, at: int) -> tuple[Turn, Actions]:
    """The tools that a call brings results of are done."""
    results = {result.id: result for result in call.results}
    done = tuple(tool for tool in turn.tools if tool.id in results)
    left = tuple(tool for tool in turn.tools if tool.id not in results)
    spans = tuple(_tool_done(turn, tool, at, results[tool.id]) for tool in done)
    return evolve(turn, tools=left), spans


def with_report(turn: Turn, event: HookReported) -> Turn:
    """A hook says that a tool is done."""
    tools = [
        evolve(tool, reported_at=event.at) if tool.id == event.tool_use_id else tool for tool in turn.tools
    ]
    return evolve(turn, tools=tuple(tools))


def with_seen(turn: Turn, event: CallEnded) -> Turn:
    """Add what an answer said; one that came whole though unseen ends the tool loop too."""
    seen = event.seen
    if not event.ok:
        return turn
    if seen is None:
        return evolve(turn, stop_reason="", failures=0)
    asked = tuple(
        Tool(block.id, block.name, block.text, event.at) for block in seen.blocks if block.kind == "tool_use"
    )
    said = "".join(block.text for block in seen.blocks if block.kind == "text")
    return evolve(
        turn,
        tools=(*turn.tools, *asked)[:MAX_TOOLS],
        input_tokens=turn.input_tokens + (seen.input_tokens or 0),
        output_tokens=turn.output_tokens + (seen.output_tokens or 0),
        cache_read=turn.cache_read + (seen.cache_read or 0),
        cache_creation=turn.cache_creation + (seen.cache_creation or 0),
        models=turn.models if not seen.model or seen.model in turn.models else (*turn.models, seen.model),
        answer=said or turn.answer,
        stop_reason=seen.stop_reason,
        failures=0,
    )


def hook_spans(turn: Turn) -> Actions:
    """The hook's own span, from the times in the block; once, with the root that the hook named."""
    said = turn.metadata
    if said is None or said.span_id != turn.span_id or not said.hook_span_id or not said.hook_started_at:
        return ()
    return (ExportSpan(hook_span(turn.trace_id, turn.span_id, turn.session, said, turn.content)),)


def _tool_done(turn: Turn, tool: Tool, end: int, result: ToolResult | None) -> Action:
    wrong = "error" if result and result.is_error else ""
    return ExportSpan(
        tool_span(
            ToolFacts(
                trace_id=turn.trace_id,
                parent_id=turn.span_id,
                session=turn.session,
                id=tool.id,
                name=tool.name,
                given=tool.given,
                start=tool.since,
                end=max(tool.reported_at or end, tool.since),
                error=wrong if result else "no result came",
                result=result.text if result else "",
                content=turn.content,
            )
        )
    )


def closing(key: TurnKey, turn: Turn, ended_at: int, outcome: str) -> Actions:
    """The root span, once, and what the turn came to; tools nobody answered end with it."""
    end = max(ended_at, turn.began_at)
    lost = tuple(_tool_done(turn, tool, end, None) for tool in turn.tools)
    root = ExportSpan(turn_span(_facts(key, turn, end, outcome)))
    word = outcome.partition(":")[0]
    kind = (("outcome", word), ("agent", "subagent" if key.agent else "main"))
    figures = (
        Figure("loom.turns", 1, kind),
        Figure("loom.turn.duration", (end - turn.began_at) / SECOND, kind),
        Figure("loom.turn.calls", turn.calls, kind),
    )
    return (*_released(turn), *lost, root, Measure(figures))


def _facts(key: TurnKey, turn: Turn, end: int, outcome: str) -> TurnFacts:
    return TurnFacts(
        trace_id=turn.trace_id,
        span_id=turn.span_id,
        parent_id=turn.parent_id,
        session=turn.session,
        agent=key.agent,
        agent_type=turn.agent_type,
        user_id=turn.user_id,
        source=turn.source,
        prompt=turn.prompt,
        answer=turn.answer,
        metadata=turn.metadata,
        start=turn.began_at,
        end=end,
        calls=turn.calls,
        input_tokens=turn.input_tokens,
        output_tokens=turn.output_tokens,
        cache_read=turn.cache_read,
        cache_creation=turn.cache_creation,
        models=turn.models,
        outcome=outcome,
        links=turn.links,
        content=turn.content,
    )
