import math
from enum import Enum

import pytest

from loom_core.actions import SendUpstream
from loom_core.values import Admission, Cause, ExchangeKey
from loom_shell.replay.reading import JournalError, recorded
from loom_shell.replay.retold import literal, retold
from loom_shell.replay.running import stepped
from tests.support.recordings import FOLDER


@pytest.mark.spec("replay.to-test")
def test_the_same_words_make_the_same_test() -> None:
    records = list(recorded(FOLDER / "slow-memory.jsonl"))
    source = retold(records, b"k" * 32)
    assert source == retold(records, b"k" * 32)
    assert source != retold(records)
    assert "story.delivers(ExchangeKey(id='x-1'))" in source
    assert "story.follows(ExchangeKey(id='x-1'), LookUp)" in source


def test_of_no_event_there_is_no_test() -> None:
    with pytest.raises(JournalError, match="no event of that session"):
        retold([])


@pytest.mark.parametrize(
    "value",
    [
        ExchangeKey("x"),
        Cause.RESET,
        (1, "a", b"\xff"),
        (),
        frozenset({2, 1}),
        frozenset(),
        {"a": (None, True)},
    ],
)
def test_a_value_is_written_as_python_reads_it(value: object) -> None:
    imports: dict[str, set[str]] = {}
    known: dict[str, type[object | Enum]] = {"ExchangeKey": ExchangeKey, "Cause": Cause}
    assert eval(literal(value, imports), dict(known)) == value  # noqa: S307 - what was just written
    assert set().union(*imports.values()) <= known.keys()


def test_an_infinite_number_is_written_too() -> None:
    assert math.isinf(eval(literal(math.inf, {})))  # noqa: S307 - what was just written
    assert literal(Admission.OWN, {}) == "Admission.OWN"


@pytest.mark.spec("replay.to-test")
@pytest.mark.parametrize("name", ["compaction-2.1.328", "resume-2"])
@pytest.mark.parametrize("number", range(4))
def test_whatever_the_words_become_the_ledger_is_read_and_what_follows_is_as_it_was(
    name: str, number: int
) -> None:
    source = retold(recorded(FOLDER / f"{name}.jsonl"), bytes([number]) * 32)
    did = [step for step in stepped(recorded(FOLDER / f"{name}.jsonl")) if step.actions]
    assert source.count("story.follows(") == len(did)
    sent = [line for line in source.splitlines() if "story.follows(" in line and ", SendUpstream" in line]
    assert len(sent) == sum(isinstance(it, SendUpstream) for step in did for it in step.actions)
