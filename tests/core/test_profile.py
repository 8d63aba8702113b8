import pytest

from loom_core.lookup import Provenance
from loom_core.profile import Life, MemorableRules, MemoryRules, Piece, Profile


@pytest.mark.spec("weave.budgets")
def test_what_a_profile_does_not_say_is_little() -> None:
    """The figures of weaving.md, "Safety of woven text"."""
    profile = Profile("ann", "1")
    memories, memorables = profile.memories, profile.memorables
    assert (memories.most, memories.budget, memories.session_budget) == (5, 400, 4_000)
    assert (memorables.most, memorables.budget) == (3, 120)
    assert memories.deadline == 250_000_000
    assert profile.identity_budget == 20_000
    assert memories.on
    assert memorables.on


@pytest.mark.spec("weave.provenance")
def test_memories_are_what_the_user_and_the_assistant_said_unless_a_profile_wants_others() -> None:
    assert MemoryRules().provenance == {Provenance.USER, Provenance.ASSISTANT}


@pytest.mark.spec("weave.whose")
def test_subagents_belong_to_a_profile_only_if_it_says_so_and_no_sentence_is_looked_for() -> None:
    assert Profile("ann", "1").agents is False
    assert Profile("ann", "1").placeholder == ""


def test_a_piece_has_its_text_from_one_place_and_no_limit_of_its_own() -> None:
    piece = Piece("mood", Life.IDENTITY, key="ann:mood")
    assert (piece.text, piece.pattern, piece.heading, piece.budget) == ("", "", "", 0)


def test_woven_text_lives_in_one_of_three_ways() -> None:
    assert [life.value for life in Life] == ["identity", "sticky", "ephemeral"]


def test_equal_profiles_are_equal() -> None:
    assert Profile("ann", "1", memorables=MemorableRules()) == Profile("ann", "1")
    assert Profile("ann", "1") != Profile("ann", "2")
