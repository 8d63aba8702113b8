"""`specs/transitions.md`: what the exchange machine does, asked of the machine itself.

Every sample of a state meets every sample of an event. `python -m tests.support.transitions`
writes the page, a house test compares it.
"""

from collections.abc import Mapping
from pathlib import Path

from loom_core import loom
from loom_core.actions import Actions, Note
from loom_core.events import Event
from loom_core.exchange import State
from tests.support import samples

PAGE = Path(__file__).resolve().parents[2] / "specs" / "transitions.md"

HEAD = """\
# Transitions of the exchange machine

Written by `uv run just verify`: `step` was asked with a sample of every state and of every event
(`tests/support/samples.py`). A word after a name tells variants of one class apart. *Stays* is the same
class of state, perhaps with more in it. An event that does not fit changes nothing and is noted.
"""


def page(states: Mapping[str, State], events: Mapping[str, Event]) -> str:
    """The whole page: a section for each state, a row for each event that means something there."""
    return "\n".join([HEAD, *(_section(name, state, events) for name, state in states.items())])


def _section(name: str, state: State, events: Mapping[str, Event]) -> str:
    rows, ignored, noted = [], [], []
    for label, event in events.items():
        after, actions = loom.step(samples.KEY, state, event)
        if after == state and not actions:
            ignored.append(label)
        elif after == state and _out_of_order(actions):
            noted.append(label)
        else:
            becomes = "*stays*" if type(after) is type(state) else type(after).__name__
            orders = ", ".join(type(action).__name__ for action in actions) or "–"
            rows.append(f"| {label} | {becomes} | {orders} |")
    lines = [f"## {name}", ""]
    if rows:
        lines += ["| event | becomes | actions, in order |", "| --- | --- | --- |", *rows, ""]
    if ignored:
        lines += [f"Changes nothing: {', '.join(ignored)}.", ""]
    if noted:
        lines += [f"Out of order, noted: {', '.join(noted)}.", ""]
    return "\n".join(lines)


def _out_of_order(actions: Actions) -> bool:
    match actions:
        case (Note(text=text),):
            return text.startswith("invalid transition")
        case _:
            return False


def current() -> str:
    """The page as the machine of today gives it."""
    return page(samples.states(), samples.events()).rstrip("\n") + "\n"


if __name__ == "__main__":
    PAGE.write_text(current(), encoding="utf-8")
