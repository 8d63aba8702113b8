"""`specs/transitions.md`: what the machines do, asked of the machines themselves.

Every sample of a state meets every sample of an event. `python -m tests.support.transitions`
writes the page, a house test compares it.
"""

from collections.abc import Mapping
from pathlib import Path

from loom_core import loom
from loom_core.actions import Actions, Note
from loom_core.events import Event
from loom_core.values import Key
from tests.support import samples, transcript_samples, turn_samples

PAGE = Path(__file__).resolve().parents[2] / "specs" / "transitions.md"

HEAD = """\
# Transitions

Written by `uv run just verify`: `step` was asked with a sample of every state and of every event
(`tests/support/` samples, turn_samples, transcript_samples). A word after a name tells variants of one class
apart. *Stays* is the same class of state, perhaps with more in it. An event that does not fit
changes nothing and is noted.
"""


def machine(title: str, key: Key, states: Mapping[str, loom.State], events: Mapping[str, Event]) -> str:
    """One machine: a section for each state, a row for each event that means something there."""
    sections = (_section(key, name, state, events) for name, state in states.items())
    return "\n".join([f"## {title}\n", *sections])


def _section(key: Key, name: str, state: loom.State, events: Mapping[str, Event]) -> str:
    rows, ignored, noted = [], [], []
    for label, event in events.items():
        after, actions = loom.step(key, state, event)
        if after == state and not actions:
            ignored.append(label)
        elif after == state and _out_of_order(actions):
            noted.append(label)
        else:
            becomes = "*stays*" if type(after) is type(state) else type(after).__name__
            orders = ", ".join(type(action).__name__ for action in actions) or "–"
            rows.append(f"| {label} | {becomes} | {orders} |")
    lines = [f"### {name}", ""]
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
    exchange = machine("The exchange machine", samples.KEY, samples.states(), samples.events())
    turn = machine("The turn machine", turn_samples.KEY, turn_samples.states(), turn_samples.events())
    transcript = machine(
        "The transcript machine",
        transcript_samples.KEY,
        transcript_samples.states(),
        transcript_samples.events(),
    )
    return f"{HEAD}\n{exchange}\n{turn}\n{transcript}".rstrip("\n") + "\n"


if __name__ == "__main__":
    PAGE.write_text(current(), encoding="utf-8")
