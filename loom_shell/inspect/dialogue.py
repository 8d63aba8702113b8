"""What a machine was told and ordered, line by line: `>>` events, `<<` actions, and what it became."""

from attrs import define, field
from msgspec import Struct

from loom_core.actions import ExportSpan, Tell
from loom_shell.inspect import words
from loom_shell.inspect.shown import Line, Sign
from loom_shell.inspect.texts import Texts
from loom_shell.replay.running import Stepped
from loom_shell.units import duration

MOST_LINES = 240
"""Lines of one machine, or of one turn's part of it; what comes after is counted."""
FOLDED = frozenset(
    {
        "RequestChunkReceived",
        "SendUpstreamChunk",
        "UpstreamChunkReceived",
        "SendChunk",
        "ObservationDue",
        "Tell ObservationDue",
    }
)
"""What comes by the thousand while bytes are relayed: a run of these is a line for each name."""
FURTHEST = 2**53 - 1
"""Microseconds, 285 years: the largest whole number that a page's script tells exactly."""


@define
class _Said:
    at: int
    sign: Sign
    name: str
    text: str
    state: str
    count: int = 1
    size: int = 0


@define
class Dialogue:
    """Mutable: gathers while a recording is read. `begun`: nanoseconds, when it began."""

    begun: int
    left: int = 0
    _said: list[_Said] = field(factory=list)

    def take(self, step: Stepped) -> None:
        at = since(self.begun, step.record.at)
        state = type(step.after).__name__ if type(step.after) is not type(step.before) else ""
        self._add(at, "~>" if step.told_by else ">>", step.event, state)
        for action in step.actions:
            self._add(at, "<<", action, "")

    def __len__(self) -> int:
        return len(self._said)

    def lines(self, texts: Texts) -> list[Line]:
        texts.spend(60 * len(self._said))
        return [
            Line(said.at, said.sign, said.name, texts.add(said.text), said.state, said.count, said.size)
            for said in self._said
        ]

    def _add(self, at: int, sign: Sign, value: Struct, state: str) -> None:
        name = type(value).__name__
        if isinstance(value, Tell):
            name = f"Tell {type(value.event).__name__}"
        if not state and (before := self._run(sign, name)):
            before.count += 1
            before.size += words.size(value)
        elif len(self._said) < MOST_LINES:
            self._said.append(_Said(at, sign, name, _told(value), state, size=words.size(value)))
        else:
            self.left += 1

    def _run(self, sign: Sign, name: str) -> _Said | None:
        """The line of this name in the run that the last line belongs to."""
        if name not in FOLDED:
            return None
        for said in reversed(self._said):
            if said.name not in FOLDED:
                return None
            if (said.sign, said.name) == (sign, name):
                return said
        return None


def _told(value: Struct) -> str:
    match value:
        case Tell(key=key, event=event):
            said = words.line(event)
            return f"{words.machine(key)}{': ' if said else ''}{said}"
        case ExportSpan(span=span):
            failed = f", {span.error}" if span.error else ""
            return f"{span.name}, {duration(span.end - span.start)}{failed}"
        case _:
            return words.line(value)


def since(begun: int, at: int) -> int:
    """Microseconds from one moment to another, both in nanoseconds."""
    return max(-FURTHEST, min((at - begun) // 1_000, FURTHEST))
