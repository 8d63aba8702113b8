import pytest

from loom_core.actions import Retire, Tell
from loom_core.events import AgentBegan, CallBegan, FileChanged, HookReported, ObservationDue, TimerFired
from loom_core.values import ExchangeKey, TranscriptKey, TurnKey
from loom_shell.replay.reading import recorded
from loom_shell.replay.record import Recorded
from loom_shell.replay.running import Running, stepped
from tests.support.recordings import FOLDER
from tests.support.turns import AGENT, AT, MAIN, call

X = ExchangeKey("x")


@pytest.mark.spec("replay.told")
def test_what_an_exchange_tells_waits_until_it_is_delivered() -> None:
    records = list(recorded(FOLDER / "overloaded.jsonl"))
    running = Running()
    for record in records:
        first, *deliveries = running.parts(record)
        assert all(step.told_by is None for step in first if step.key == record.key)
        assert len(deliveries) == len(record.then)
        for teller, steps in zip(record.then, deliveries, strict=True):
            assert all(step.told_by is not None for step in steps)
            assert not steps or steps[0].told_by == teller


@pytest.mark.spec("replay.told")
def test_what_a_turn_tells_is_delivered_where_it_stands() -> None:
    began = CallBegan(AT, X, call("prompt:p", agent=AGENT.agent), 7)
    running = Running()
    begun = [*running._told(Recorded(1, AT, X, began), AGENT, began, X)]
    assert [type(step.event) for step in begun][:2] == [CallBegan, AgentBegan]
    assert [step.told_by for step in begun][:2] == [X, AGENT]


def test_to_a_turn_that_never_began_an_event_means_nothing() -> None:
    assert list(stepped([Recorded(1, AT, MAIN, HookReported(AT, "Stop", "", ""))])) == []


def test_a_machine_that_retires_or_is_over_is_forgotten() -> None:
    running = Running()
    for record in recorded(FOLDER / "disconnect.jsonl"):
        list(running.happens(record))
    assert [key for key in running.states() if isinstance(key, ExchangeKey)] == []
    turn = TurnKey("s", "")
    asks = AgentBegan(AT, TurnKey("s", "a"))
    steps = [*Running()._told(Recorded(1, AT, X, asks), turn, asks, X)]
    assert any(isinstance(action, Retire) for action in steps[0].actions)


def test_a_delivery_of_nothing_changes_nothing() -> None:
    assert list(Running().delivers(Recorded(1, AT, X, TimerFired(AT, "t")), X)) == []


def test_a_machine_begins_anew_where_the_journal_says_so_and_in_each_run() -> None:
    key = TranscriptKey("/t")
    event = FileChanged(AT)
    same, anew, other = (
        [Recorded(1, AT, key, event), Recorded(2, AT, key, event, begins=begins, run=run)]
        for begins, run in ((False, ""), (True, ""), (False, "b"))
    )
    assert [len(list(stepped(it))) for it in (same, anew, other)] == [2, 2, 2]
    assert all(not isinstance(step.event, ObservationDue | Tell) for step in stepped(anew))
