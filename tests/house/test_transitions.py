"""`specs/transitions.md` says what the machine does today, about every state and every event."""

from typing import get_args

from loom_core import exchange, transcript, turn
from loom_core.events import Event
from tests.support import samples, transcript_samples, transitions, turn_samples


def test_the_page_is_what_the_machine_does() -> None:
    written = transitions.PAGE.read_text(encoding="utf-8")
    assert written == transitions.current(), "stale: run `uv run just verify` and look at the difference"


def test_every_class_of_state_and_event_has_a_sample() -> None:
    assert {type(state) for state in samples.states().values()} == set(get_args(exchange.State))
    phases = {turn.WaitingForUser, *turn.Open.__subclasses__(), turn.ShuttingDown}
    assert {type(state) for state in turn_samples.states().values()} == phases
    open_ = set(transcript.Open.__subclasses__())
    wanted = (set(get_args(transcript.State)) - {transcript.Open}) | open_
    assert {type(state) for state in transcript_samples.states().values()} == wanted
    assert {type(event) for event in samples.events().values()} == set(get_args(Event))


def test_the_page_speaks_of_every_pair() -> None:
    first, second, third = (part.split("\n### ")[1:] for part in transitions.current().split("\n## ")[1:])
    _speaks_of_every_pair(first, list(samples.states()), sorted(samples.events()))
    _speaks_of_every_pair(second, list(turn_samples.states()), sorted(turn_samples.events()))
    _speaks_of_every_pair(third, list(transcript_samples.states()), sorted(transcript_samples.events()))


def _speaks_of_every_pair(sections: list[str], states: list[str], events: list[str]) -> None:
    assert [section.partition("\n")[0] for section in sections] == states
    for section in sections:
        listed = [
            line.split(" | ")[0].removeprefix("| ") for line in section.splitlines() if line.startswith("| ")
        ][2:]
        for line in section.splitlines():
            if line.startswith(("Changes nothing: ", "Out of order, noted: ")):
                listed += line.partition(": ")[2].removesuffix(".").split(", ")
        assert sorted(listed) == events
