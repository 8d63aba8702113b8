"""Turn machines by themselves, in few words: calls come and end, hooks tell, timers fire."""

from collections import deque

from loom_core import turn
from loom_core.account import Turn
from loom_core.actions import Action, ExportSpan, Measure, Note, Retire, SetTimer, Tell
from loom_core.call import Call, CallKind
from loom_core.events import (
    CallBegan,
    CallEnded,
    Event,
    HookReported,
    ShutdownRequested,
    TimerFired,
    TurnJoined,
)
from loom_core.message import Block, Seen
from loom_core.metadata import Metadata
from loom_core.newest import ToolResult
from loom_core.rules import SECOND, Content
from loom_core.trace import SpanRecord
from loom_core.values import ExchangeKey, Figure, TurnKey

AT = 1_700_000_000 * SECOND
MAIN = TurnKey("5e551011", "")
AGENT = TurnKey("5e551011", "a1")
TRACE, ROOT, HOOK = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "b7ad6b7169203331"
METADATA = Metadata(
    session_id=MAIN.session,
    trace_id=TRACE,
    span_id=ROOT,
    traceparent=f"00-{TRACE}-{ROOT}-01",
    prompt_id="p1",
    prompt="What is here?",
    source="laptop",
    hook_span_id=HOOK,
    started_at=AT - SECOND,
    hook_started_at=AT - SECOND,
    hook_ended_at=AT - SECOND // 2,
)


def call(*names: str, results: tuple[ToolResult, ...] = (), **what: object) -> Call:
    given = {
        "kind": CallKind.MAIN,
        "session": MAIN.session,
        "agent": "",
        "parent_agent": "",
        "agent_type": "",
        "prompt": "What is here?",
        "messages": 1,
        "system_hash": "s1",
        "model": "claude-sonnet-5",
        "user_id": "user-1",
        "source": "",
        "metadata": None,
        "link": None,
    }
    return Call(names=names, results=results, **{**given, **what})


def done(*ids: str, is_error: bool = False) -> tuple[ToolResult, ...]:
    return tuple(ToolResult(tool, is_error) for tool in ids)


def asks(*tools: str) -> Seen:
    """An answer that asks for tools, told by their ids."""
    blocks = tuple(Block("tool_use", "{}", id=tool, name="Bash") for tool in tools)
    return Seen(model="m", stop_reason="tool_use", input_tokens=1, output_tokens=2, blocks=blocks)


def says(text: str, stop_reason: str = "end_turn") -> Seen:
    return Seen(model="m", stop_reason=stop_reason, output_tokens=3, blocks=(Block("text", text),))


class Turns:
    """Machines and what they ordered; `Tell` between them is delivered as the driver does it."""

    def __init__(self) -> None:
        self.states: dict[TurnKey, turn.State] = {}
        self.joined: dict[str, list[TurnJoined]] = {}
        self.done: list[Action] = []
        self.retired: list[TurnKey] = []

    def tell(self, event: Event, key: TurnKey = MAIN) -> "Turns":
        waiting: deque[tuple[TurnKey, Event]] = deque([(key, event)])
        while waiting:
            to, what = waiting.popleft()
            state, actions = turn.step(to, self.states.get(to, turn.WaitingForUser()), what)
            self.states[to] = state
            for action in actions:
                self.done.append(action)
                match action:
                    case Tell(key=TurnKey() as other, event=told):
                        waiting.append((other, told))
                    case Tell(key=ExchangeKey(id=name), event=TurnJoined() as told):
                        self.joined.setdefault(name, []).append(told)
                    case Retire():
                        self.retired.append(to)
                        del self.states[to]
        return self

    def begins(
        self,
        name: str,
        asked: Call,
        after: float = 0,
        content: Content = Content.FULL,
        key: TurnKey | None = None,
    ) -> "Turns":
        began = CallBegan(_at(after), ExchangeKey(name), asked, int.from_bytes(name.encode(), "big"), content)
        return self.tell(began, key or TurnKey(asked.session, asked.agent))

    def ends(
        self, name: str, seen: Seen | None, after: float = 0, failure: str = "", key: TurnKey = MAIN
    ) -> "Turns":
        return self.tell(CallEnded(_at(after), ExchangeKey(name), seen, not failure, failure), key)

    def hook(self, hook: str, after: float = 0, prompt_id: str = "", tool: str = "") -> "Turns":
        return self.tell(HookReported(_at(after), hook, prompt_id, tool))

    def fires(self, timer: str, after: float, key: TurnKey = MAIN) -> "Turns":
        return self.tell(TimerFired(_at(after), timer), key)

    def shuts_down(self, after: float = 100) -> "Turns":
        for key in tuple(self.states):
            self.tell(ShutdownRequested(_at(after)), key)
        return self

    def is_now(self, state: type[turn.State], key: TurnKey = MAIN) -> bool:
        return type(self.states[key]) is state

    @property
    def turn(self) -> Turn:
        state = self.states[MAIN]
        assert isinstance(state, turn.Open)
        return state.turn

    def place(self, name: str) -> TurnJoined:
        """The one answer that a call got."""
        (joined,) = self.joined[name]
        return joined

    @property
    def spans(self) -> list[SpanRecord]:
        return [action.span for action in self.done if isinstance(action, ExportSpan)]

    def named(self, start: str) -> list[SpanRecord]:
        return [span for span in self.spans if span.name.startswith(start)]

    @property
    def roots(self) -> list[SpanRecord]:
        return [*self.named("user-turn:"), *self.named("agent:")]

    @property
    def outcomes(self) -> list[object]:
        return [dict(span.attributes)["loom.turn.outcome"] for span in self.roots]

    @property
    def timers(self) -> list[SetTimer]:
        return [action for action in self.done if isinstance(action, SetTimer)]

    @property
    def figures(self) -> list[Figure]:
        return [it for action in self.done if isinstance(action, Measure) for it in action.figures]

    @property
    def notes(self) -> list[str]:
        return [action.text for action in self.done if isinstance(action, Note)]


def _at(after: float) -> int:
    return AT + round(after * SECOND)
