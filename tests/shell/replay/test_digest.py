from loom_core.actions import Note, Recall, SendChunk
from loom_core.events import TimerFired
from loom_core.exchange import Idle
from loom_core.lookup import Question
from loom_core.values import ExchangeKey
from loom_shell.replay.digest import Digests, canonical
from loom_shell.replay.record import Recorded
from loom_shell.replay.running import Stepped

X, EVENT = ExchangeKey("x"), TimerFired(1, "t")


def step(*actions: Note | SendChunk) -> Stepped:
    return Stepped(Recorded(1, 1, X, EVENT), X, EVENT, Idle(), Idle(), actions)


def test_it_rolls_on_with_each_step() -> None:
    one, other = Digests(), Digests()
    assert one.of([step(Note("a"))]) == other.of([step(Note("a"))])
    assert one.of([step(Note("b"))]) != other.of([step(Note("c"))])
    assert one.of([step(Note("d"))]) != other.of([step(Note("d"))]), "what differed once differs for good"
    one.forget(X)
    assert one.of([step(Note("a"))]) == Digests().of([step(Note("a"))])


def test_of_no_step_there_is_none() -> None:
    assert Digests().of([]) == ""
    assert Digests().of([step()]) != ""


def test_actions_of_another_class_differ() -> None:
    assert Digests().of([step(Note("a"))]) != Digests().of([step(SendChunk(b"a"))])


def test_every_value_has_a_form_of_its_own() -> None:
    assert canonical(Note("\ud800")) != canonical(Note("?"))
    assert canonical(Recall(Question("q"))) == canonical(Recall(Question("q")))
    assert canonical(TimerFired(2**70, "t")) != canonical(TimerFired(2**71, "t"))
