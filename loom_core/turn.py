"""The turn machine: the tool loop of one agent, seen from the wire, across many exchanges.

    WaitingForUser -> CallingModel -> ExecutingTools -> PostToolsHook -> CallingModel ...
                           |  ^            (tools out)   (hooks told of all)
                           v  |
                      ProcessingResponse -> WaitingForUser        (Stop hook, or a grace)
                           Failed -> CallingModel                 (the client asks again)

- A call belongs to the turn that shares a name with it (prompt id, trace id, hash of the prompt),
  answers its tools, or compacts it; any other call of the main loop begins a new turn, and the old
  one is abandoned.
- Auxiliary calls and count_tokens stay out of a turn's figures, and never begin or end one.
- Concurrent calls of a turn never end each other: a turn ends when none is running.
- The last word on the end is the Stop hook's; without one, a stop reason other than `tool_use` and
  `pause_turn`, after a grace. A turn nobody continues is abandoned by a timer.
- Every turn begun exports its root exactly once, and every call that begins is told where it belongs.
"""

from msgspec import Struct, field
from msgspec.structs import replace as evolve

from loom_core.account import (
    APART,
    Turn,
    begun,
    closing,
    has_other_prompt,
    hook_spans,
    is_aside,
    placed,
    shares_prompt,
    told,
    with_report,
    with_results,
    with_seen,
)
from loom_core.actions import Action, Actions, Note, Retire, SetTimer, Tell
from loom_core.call import Call, CallKind
from loom_core.events import (
    AgentBegan,
    CallBegan,
    CallEnded,
    Event,
    HookReported,
    ShutdownRequested,
    TimerFired,
    TurnAbove,
    TurnJoined,
)
from loom_core.past import Past, with_hook
from loom_core.rules import SECOND
from loom_core.values import TurnKey

GRACE = 5 * SECOND
"""How long after a final answer the Stop hook, or one more call, may come."""
ABANDONED = 15 * 60 * SECOND
"""How long a turn may be silent."""
FORGOTTEN = 60 * 60 * SECOND
"""How long after its last turn a conversation is remembered."""
END, SILENCE = "turn-end", "turn-silence"
GOES_ON = frozenset({"tool_use", "pause_turn"})
INTERRUPTED = frozenset({"client gone", "shut down"})
"""Failures that are none: a person may interrupt, and so may the end of the process."""


class WaitingForUser(Struct, frozen=True):
    """No turn is under way."""

    past: Past = field(default_factory=Past)


class Open(Struct, frozen=True):
    """A turn is under way; its phases are the classes below."""

    turn: Turn
    past: Past


class CallingModel(Open, frozen=True):
    """At least one call is running."""


class ProcessingResponse(Open, frozen=True):
    """The final answer came, at `since`; the grace runs."""

    since: int


class ExecutingTools(Open, frozen=True):
    """The client executes tools; `turn.tools` says which, since when."""


class PostToolsHook(Open, frozen=True):
    """The hooks told that every tool is done; the next call will bring the results."""


class Failed(Open, frozen=True):
    """The last call failed; the client may ask again."""

    origin: str
    attempts: int


class ShuttingDown(Struct, frozen=True):
    """The process ends; open turns were exported as abandoned. It stays, so that no turn begins."""


State = WaitingForUser | Open | ShuttingDown
Step = tuple[State, Actions]


def step(key: TurnKey, state: State, event: Event) -> Step:
    """The next state, and what must be done; never raises."""
    match state, event:
        case Open(), ShutdownRequested(at=at):
            return ShuttingDown(), _ended(key, state, at, "abandoned: shutdown")
        case _, ShutdownRequested():
            return ShuttingDown(), ()

        case WaitingForUser(past), CallBegan(call=call) if not is_aside(past, call):
            return _begin(key, event, state.past)
        case Open(), CallBegan() if _belongs(state.turn, event.call):
            return _continue(key, state, event)
        case Open(past=past), CallBegan(call=call) if not _is_apart(state.turn, past, call):
            return _next_prompt(key, state, event)
        case Open(), CallBegan():
            turn, actions = told(state.turn, event.exchange, _outside(event, state.turn, state.past))
            return evolve(state, turn=turn), actions
        case _, CallBegan():
            return _idle(state, Tell(event.exchange, _outside(event)))
        case Open(), CallEnded():
            return _answered(state, event)

        case Open(turn=turn), AgentBegan(at=at):
            above = TurnAbove(at, turn.trace_id, turn.span_id)
            return _heard(state, at), (Tell(event.agent, above),)
        case _, AgentBegan(at=at):
            return _idle(state, Tell(event.agent, TurnAbove(at, "", "")))
        case Open(), TurnAbove():
            turn, actions = placed(state.turn, event)
            return evolve(state, turn=turn), actions
        case Open(past=past), HookReported(hook=hook):
            past, actions = with_hook(past, hook)
            after, further = _hooked(key, evolve(state, past=past), event)
            return after, (*actions, *further)
        case WaitingForUser(past), HookReported(hook=hook) if past.roots:
            past, actions = with_hook(past, hook)
            return WaitingForUser(past), actions

        case ProcessingResponse(since=since), TimerFired(timer="turn-end", at=at):
            if at < since + GRACE:
                return state, (SetTimer(END, since + GRACE),)
            return _over(key, state, since, "complete")
        case Open(), TimerFired(timer="turn-silence", at=at):
            return _silent(key, state, at)
        case WaitingForUser(past), TimerFired(timer="turn-silence", at=at) if at < past.since + FORGOTTEN:
            return state, (SetTimer(SILENCE, past.since + FORGOTTEN),)
        case WaitingForUser(), TimerFired(timer="turn-silence"):
            return WaitingForUser(), (Retire(),)
        case Open(), TimerFired():
            return state, ()
        case _, TimerFired() | HookReported() | TurnAbove() | CallEnded():
            return _idle(state)
        case _:
            return state, (Note(f"invalid transition: {type(event).__name__} in {type(state).__name__}"),)


# Which turn a call is part of


def _belongs(turn: Turn, call: Call) -> bool:
    if call.kind in APART:
        return False
    out = {tool.id for tool in turn.tools}
    answers = any(result.id in out for result in call.results)
    return answers or call.kind is CallKind.COMPACTION or shares_prompt(turn, call)


def _is_apart(turn: Turn, past: Past, call: Call) -> bool:
    """Whether a call that is none of the turn's leaves it as it is.

    Clients that send no request class make auxiliary calls beside the turn's own, and send no
    prompt id either. A prompt typed after an interruption finds no call running.
    """
    has_id = any(name.startswith("prompt:") for name in call.names)
    return is_aside(past, call) or (bool(turn.running) and not has_id)


def _outside(event: CallBegan, turn: Turn | None = None, past: Past | None = None) -> TurnJoined:
    """The answer for a call that is none of a turn's: it hangs on the open one, if there is one."""
    systems = past.systems if past else frozenset()
    if turn is None:
        return TurnJoined(event.at, "", "", 0, 0, systems)
    return TurnJoined(event.at, turn.trace_id, turn.span_id, 0, 0, systems)


# What calls do to a turn


def _begin(key: TurnKey, event: CallBegan, past: Past) -> Step:
    turn = begun(key, event, past)
    state, actions = _call(key, turn, past.with_root(turn.span_id), event)
    # One timer of silence runs from the first turn until the machine retires.
    timers = () if past.roots else (SetTimer(SILENCE, event.at + ABANDONED),)
    return state, (*hook_spans(turn), *actions, *timers)


def _next_prompt(key: TurnKey, state: Open, event: CallBegan) -> Step:
    # A prompt typed within the grace finds the turn answered; any other finds it unfinished.
    outcome = "complete" if isinstance(state, ProcessingResponse) else "abandoned: next prompt"
    ended = _ended(key, state, state.turn.heard_at, outcome)
    after, began = _begin(key, event, state.past)
    return after, (*ended, *began)


def _continue(key: TurnKey, state: Open, event: CallBegan) -> Step:
    call = event.call
    turn, spans = with_results(state.turn, call, event.at)
    names = turn.names | frozenset(call.names)
    heard_at = max(turn.heard_at, event.at)
    turn = evolve(turn, names=names, metadata=turn.metadata or call.metadata, heard_at=heard_at)
    after, actions = _call(key, turn, state.past, event)
    return after, (*spans, *actions)


def _call(key: TurnKey, turn: Turn, past: Past, event: CallBegan) -> Step:
    call = event.call
    # A shorter conversation than before is another one: compacted, rewound or cleared.
    shown = past.messages if call.messages >= past.messages else 0
    turn = evolve(turn, calls=turn.calls + 1, running=turn.running | {event.exchange})
    place = (turn.trace_id, turn.span_id, turn.calls)
    joined = TurnJoined(event.at, *place, shown, past.systems, past.shapes)
    turn, actions = told(turn, event.exchange, joined)
    asked: Actions = ()
    if key.agent:
        above = TurnKey(key.session, call.parent_agent if call.parent_agent != key.agent else "")
        asked = (Tell(above, AgentBegan(event.at, key)),)
    return CallingModel(turn, past.with_call(call)), (*actions, *asked)


def _answered(state: Open, event: CallEnded) -> Step:
    turn, past = state.turn, state.past.with_shape(event.shape)
    if event.exchange not in turn.running:
        return evolve(state, past=past), ()
    heard_at = max(turn.heard_at, event.at)
    turn = with_seen(evolve(turn, running=turn.running - {event.exchange}, heard_at=heard_at), event)
    if turn.running:
        return CallingModel(turn, past), ()
    if not event.ok:
        failed = evolve(turn, failures=turn.failures + 1)
        return Failed(failed, past, event.failure, failed.failures), ()
    if turn.tools or turn.stop_reason in GOES_ON:
        return ExecutingTools(turn, past), ()
    return ProcessingResponse(turn, past, event.at), (SetTimer(END, event.at + GRACE),)


# What hooks and timers do to a turn


def _hooked(key: TurnKey, state: Open, event: HookReported) -> Step:
    turn = state.turn
    if has_other_prompt(turn, event.prompt_id):
        return state, ()
    # A late Stop hook that names no prompt could be of the turn before.
    is_ours = not turn.tools or f"prompt:{event.prompt_id}" in turn.names
    if event.hook == "Stop" and is_ours and not turn.running:
        return _over(key, state, max(turn.heard_at, min(event.at, turn.heard_at + GRACE)), "complete")
    state = _heard(state, event.at)
    if event.hook == "PostToolUse" and isinstance(state, ExecutingTools):
        reported = with_report(state.turn, event)
        is_done = bool(reported.tools) and all(tool.reported_at for tool in reported.tools)
        return (PostToolsHook if is_done else ExecutingTools)(reported, state.past), ()
    return state, ()


def _heard(state: Open, at: int) -> Open:
    return evolve(state, turn=evolve(state.turn, heard_at=max(state.turn.heard_at, at)))


def _silent(key: TurnKey, state: Open, at: int) -> Step:
    due = state.turn.heard_at + ABANDONED
    if state.turn.running or at < due:
        return state, (SetTimer(SILENCE, due if at < due else at + ABANDONED),)
    after, actions = _over(key, state, state.turn.heard_at, "abandoned: silence")
    return after, (*actions, SetTimer(SILENCE, state.turn.heard_at + FORGOTTEN))


def _idle(state: State, *actions: Action) -> Step:
    """No turn is open; a machine that never had one has nothing to remember."""
    return state, (*actions, Retire()) if state == WaitingForUser() else actions


def _over(key: TurnKey, state: Open, ended_at: int, outcome: str) -> Step:
    return WaitingForUser(evolve(state.past, since=ended_at)), _ended(key, state, ended_at, outcome)


def _ended(key: TurnKey, state: Open, ended_at: int, outcome: str) -> Actions:
    if isinstance(state, Failed):
        outcome = f"{'abandoned' if state.origin in INTERRUPTED else 'failed'}: {state.origin}"
    return closing(key, state.turn, ended_at, outcome)
