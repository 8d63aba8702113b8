"""The turns of a recording, gathered step by step: each agent's part of them, and the tools it used."""

from collections.abc import Mapping

from attrs import define, field

from loom_core import attributes as names
from loom_core.account import Turn as Account
from loom_core.actions import ExportSpan
from loom_core.loom import State
from loom_core.trace import AttributeValue, SpanRecord
from loom_core.turn import Open
from loom_core.values import TurnKey
from loom_shell.inspect.dialogue import Dialogue, since
from loom_shell.inspect.request import NAME
from loom_shell.inspect.shown import Lane, Tool
from loom_shell.inspect.texts import Texts
from loom_shell.replay.running import Stepped

MOST_TOOLS = 2_000
"""Tools of one agent's part of a turn."""
PROMPT = 2_000
"""Characters of a prompt."""
RUNNING = "not over"


@define
class Part:
    """One agent's part of a turn; `span` is its own, and all parts of a turn have its trace."""

    key: TurnKey
    account: Account
    dialogue: Dialogue
    outcome: str = RUNNING
    tools: list[SpanRecord] = field(factory=list)

    def lane(self, texts: Texts) -> Lane:
        lines = self.dialogue.lines(texts) if texts.has_room else []
        return Lane(
            agent=self.key.agent[:NAME],
            type=self.account.agent_type[:NAME],
            outcome=self.outcome[:NAME],
            lines=lines,
            left=self.dialogue.left if lines else len(self.dialogue),
        )


class Parts:
    """Mutable: the parts by the id of their span, in the order they began. `begun`: as of a dialogue."""

    def __init__(self, begun: int) -> None:
        self._begun = begun
        self._last: dict[TurnKey, Part] = {}
        self.found: dict[str, Part] = {}

    def take(self, key: TurnKey, step: Stepped) -> None:
        account = _account(step.after) or _account(step.before)
        part = self._part(key, account) if account else self._last.get(key)
        if part:
            part.dialogue.take(step)
        for action in step.actions:
            if isinstance(action, ExportSpan):
                self._export(action.span)

    def _part(self, key: TurnKey, account: Account) -> Part:
        part = self.found.get(account.span_id)
        if part is None:
            part = self.found[account.span_id] = Part(key, account, Dialogue(self._begun))
        part.account = account
        self._last[key] = part
        return part

    def _export(self, span: SpanRecord) -> None:
        said = dict(span.attributes)
        part, above = self.found.get(span.span_id), self.found.get(span.parent_id)
        if part and said.get(names.SPAN_KIND) == "AGENT":
            part.outcome = _text(said, "loom.turn.outcome")
        elif above and said.get(names.SPAN_KIND) == "TOOL" and len(above.tools) < MOST_TOOLS:
            above.tools.append(span)


def tool(span: SpanRecord, begun: int, lane: int, texts: Texts) -> Tool:
    said = dict(span.attributes)
    texts.spend(80)
    has_room = texts.has_room
    return Tool(
        lane=lane,
        name=_text(said, names.TOOL_NAME)[:NAME] or "tool",
        start=since(begun, span.start),
        end=since(begun, span.end),
        error=span.error[:NAME],
        given=texts.add(_text(said, names.INPUT_VALUE) if has_room else ""),
        result=texts.add(_text(said, names.OUTPUT_VALUE) if has_room else ""),
    )


def _account(state: State) -> Account | None:
    return state.turn if isinstance(state, Open) else None


def _text(said: Mapping[str, AttributeValue], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""
