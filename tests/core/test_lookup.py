import pytest
from msgspec.structs import fields

from loom_core.lookup import (
    LEDGER_SECONDS,
    Answers,
    Entry,
    Memory,
    Provenance,
    Question,
    Recalled,
    ledger_key,
)


def test_a_ledger_lies_in_one_slot_of_a_cluster_and_lives_thirty_days() -> None:
    assert ledger_key("0f" * 16) == "loom:ledger:{" + "0f" * 16 + "}"
    assert LEDGER_SECONDS == 30 * 24 * 3600


def test_an_answer_without_a_word_is_one_that_was_read_and_found_nothing() -> None:
    answers = Answers()
    assert (answers.fields, answers.texts, answers.matched, answers.lists) == ({}, {}, {}, {})
    assert (answers.trouble, answers.is_read) == ("", True)
    assert Recalled() == Recalled((), "")


@pytest.mark.spec("weave.recalls")
def test_a_question_asks_for_little_and_for_what_people_said() -> None:
    question = Question("tea")
    assert (question.limit, question.budget, question.deadline) == (5, 400, 250_000_000)
    assert question.provenance == {Provenance.USER, Provenance.ASSISTANT}
    assert (question.exclude, question.min_score) == ((), 0.0)


def test_a_field_is_written_unless_another_was_first_if_nothing_is_expected() -> None:
    assert Entry("a:1", "{}").expected is None


@pytest.mark.parametrize("value", [Answers(), Entry("a", "b"), Memory("m", "t"), Question("q"), Recalled()])
def test_what_is_asked_and_answered_cannot_be_changed(value: Answers | Entry | Memory | Question) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        setattr(value, fields(value)[0].name, None)


def test_who_words_came_from_has_five_names() -> None:
    assert [it.value for it in Provenance] == ["user", "assistant", "tool", "web", "imported"]
