"""One sample of every state and of every event of the turn machine, as a story reaches them."""

from msgspec.structs import replace as evolve

from loom_core import loom, turn
from loom_core.events import CallBegan, CallEnded, Event, HookReported, TimerFired
from loom_core.message import Block, Seen
from loom_core.values import ExchangeKey, TurnKey
from tests.support import samples
from tests.support.samples import AT, said

KEY = TurnKey("s", "")
FIRST, SECOND = ExchangeKey("x-1"), ExchangeKey("x-2")
PROMPT = evolve(said(), session="s", names=("prompt:p",), prompt="Do it.", messages=1)
TOOL = Seen(blocks=(Block("tool_use", id="t1", name="Bash"),), stop_reason="tool_use", complete=True)
FINAL = Seen(blocks=(Block("text", text="Done."),), stop_reason="end_turn", complete=True)


def _after(*events: Event) -> turn.State:
    state = loom.begin(KEY)
    for event in events:
        state, _ = loom.step(KEY, state, event)
    assert isinstance(state, turn.WaitingForUser | turn.Open | turn.ShuttingDown)
    return state


def states() -> dict[str, turn.State]:
    """A sample of every state class, by its name."""
    begun = CallBegan(AT, FIRST, PROMPT, 7)
    tools = CallEnded(AT + 1, FIRST, TOOL, ok=True, failure="")
    return {
        "WaitingForUser": _after(),
        "CallingModel": _after(begun),
        "ProcessingResponse": _after(begun, CallEnded(AT + 1, FIRST, FINAL, ok=True, failure="")),
        "ExecutingTools": _after(begun, tools),
        "PostToolsHook": _after(begun, tools, HookReported(AT + 2, "PostToolUse", "p", "t1")),
        "Failed": _after(begun, CallEnded(AT + 1, FIRST, None, ok=False, failure="overloaded_error")),
        "ShuttingDown": _after(samples.events()["ShutdownRequested"]),
    }


def events() -> dict[str, Event]:
    """The events a turn's machine may meet; variants of a class have a word after it."""
    given = samples.events()
    late = AT + turn.ABANDONED + turn.GRACE
    return {
        "CallBegan (its own prompt)": CallBegan(AT + 3, SECOND, PROMPT, 8),
        "CallBegan (another prompt)": CallBegan(AT + 3, SECOND, evolve(PROMPT, names=("prompt:q",)), 8),
        "CallEnded (tools)": CallEnded(AT + 3, FIRST, TOOL, ok=True, failure=""),
        "CallEnded (final)": CallEnded(AT + 3, FIRST, FINAL, ok=True, failure=""),
        "CallEnded (failed)": CallEnded(AT + 3, FIRST, None, ok=False, failure="overloaded_error"),
        "HookReported (Stop)": HookReported(AT + 3, "Stop", "p", ""),
        "HookReported (PostToolUse)": HookReported(AT + 3, "PostToolUse", "p", "t1"),
        "AgentBegan": given["AgentBegan"],
        "TurnAbove": given["TurnAbove"],
        "TimerFired (turn-end)": TimerFired(late, turn.END),
        "TimerFired (turn-silence)": TimerFired(late, turn.SILENCE),
        "ShutdownRequested": given["ShutdownRequested"],
        "RequestReceived": given["RequestReceived"],
    }
