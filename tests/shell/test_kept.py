import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.kept import Kept


@pytest.mark.spec("store.kept")
def test_what_was_learned_is_known() -> None:
    kept = Kept()
    kept.learn("s", {"a": "1", "b": "2"})
    kept.learn("s", {"b": "3"})
    kept.learn("other", {})
    assert kept.known("s", ("a", "b", "c")) == {"a": "1", "b": "3"}
    assert kept.known("other", ("a",)) == {}
    assert len(kept) == 2


@pytest.mark.spec("store.kept", "store.expected")
def test_of_decisions_the_first_stands_unless_it_is_the_expected_one() -> None:
    kept = Kept()
    assert kept.decide("s", "a", "1", None) == "1"
    assert kept.decide("s", "a", "2", None) == "1"
    assert kept.decide("s", "a", "3", "0") == "1"
    assert kept.decide("s", "a", "4", "1") == "4"
    assert kept.decide("s", "new", "5", "gone") == "5"


@pytest.mark.spec("store.owed")
def test_a_decision_is_owed_until_it_is_paid_or_the_store_holds_another() -> None:
    kept = Kept()
    kept.learn("s", {"b": "stands"})
    kept.decide("s", "a", "1", None)
    kept.decide("s", "b", "2", None)
    kept.decide("s", "c", "3", None)
    assert kept.owed("s") == {"a": "1", "c": "3"}
    kept.learn("s", {"a": "of another"})
    assert kept.owed("s") == {"c": "3"}
    kept.paid("s", ["c"])
    assert kept.owed("s") == {}
    assert kept.known("s", "abc") == {"a": "of another", "b": "stands", "c": "3"}
    kept.paid("never seen", ["c"])
    assert kept.owed("never seen") == {}


@pytest.mark.spec("store.lost")
def test_what_the_store_has_lost_stands_and_is_owed_until_it_is_paid() -> None:
    kept = Kept()
    kept.learn("s", {"a": "1", "b": "2"})
    assert kept.lost("s", ("a", "never known")) == {"a": "1"}
    assert kept.owed("s") == {"a": "1"}
    kept.paid("s", ["a"])
    assert kept.owed("s") == {}
    assert kept.lost("s", "b") == {"b": "2"}
    kept.learn("s", {"b": "of another"})
    assert kept.owed("s") == {}
    assert kept.lost("never seen", "a") == {}
    assert len(kept) == 2


@pytest.mark.spec("store.lost", "store.expected")
def test_what_is_known_stands_before_what_is_offered() -> None:
    kept = Kept()
    assert kept.stands("s", "a", "1", None) == "1"
    assert len(kept) == 0
    kept.learn("s", {"a": "1"})
    assert kept.stands("s", "a", "2", None) == "1"
    assert kept.stands("s", "a", "2", "0") == "1"
    assert kept.stands("s", "a", "2", "1") == "2"


@pytest.mark.spec("store.kept-bounded")
def test_the_scope_that_was_not_used_for_longest_goes_first() -> None:
    kept = Kept(fields=4)
    kept.learn("one", {"a": "1", "b": "1"})
    kept.learn("two", {"a": "2"})
    kept.known("one", ("a",))
    kept.learn("three", {"a": "3", "b": "3"})
    assert kept.known("two", ("a",)) == {}
    assert kept.known("one", ("a", "b")) == {"a": "1", "b": "1"}
    assert len(kept) == 4


@pytest.mark.spec("store.kept-bounded")
def test_of_one_scope_alone_the_oldest_fields_go() -> None:
    kept = Kept(characters=40)
    for name in "abcdef":
        kept.decide("s", name, "x" * 9, None)
    assert kept.known("s", "abcdef") == dict.fromkeys("cdef", "x" * 9)
    assert set(kept.owed("s")) == set("cdef")
    kept.learn("s", {"f": "y" * 100})
    assert len(kept) == 0
    kept.learn("other", {"g": "y" * 100})
    kept.learn("other", {"h": "1"})
    assert kept.known("other", "gh") == {"h": "1"}


@given(
    st.lists(
        st.tuples(st.sampled_from("st"), st.sampled_from("abcd"), st.text("x", max_size=6), st.booleans())
    )
)
def test_the_bounds_hold_and_the_count_is_right(steps: list[tuple[str, str, str, bool]]) -> None:
    kept = Kept(fields=5, characters=20)
    for scope, name, value, decides in steps:
        if decides:
            kept.decide(scope, name, value, None)
        else:
            kept.learn(scope, {name: value})
        held = [pair for one in "st" for pair in kept.known(one, "abcd").items()]
        assert len(held) == len(kept) <= 5
        assert sum(len(name) + len(value) for name, value in held) == kept._size <= 20


@pytest.mark.spec("store.fresh")
def test_only_what_is_known_whole_and_was_read_lately_is_fresh() -> None:
    kept = Kept()
    kept.was_read("s", 5.0)
    kept.learn("s", {"a": "1", "b": "2"})
    assert kept.fresh("s", ("a",), 0.0) is None, "learned, and never read"
    kept.was_read("s", 5.0)
    assert kept.fresh("s", ("a", "b"), 5.0) == {"a": "1", "b": "2"}
    assert kept.fresh("s", ("a", "b"), 5.1) is None
    assert kept.fresh("s", ("a", "c"), 0.0) is None
    assert kept.fresh("t", ("a",), 0.0) is None
    kept.decide("s", "c", "3", None)
    assert kept.fresh("s", ("a",), 0.0) is None, "something is owed"


@pytest.mark.spec("store.unsaved")
def test_what_could_not_be_written_over_is_kept_until_it_is() -> None:
    kept = Kept()
    kept.save("s", {"u": "1"}, is_done=False)
    assert kept.unsaved("s") == {"u": "1"}
    assert kept.known("s", ("u",)) == {"u": "1"}
    kept.save("s", {"u": "2"}, is_done=False)
    kept.save("s", {"u": "1"}, is_done=True)
    assert kept.unsaved("s") == {"u": "2"}, "a newer one is still to be written"
    kept.save("s", {"u": "2"}, is_done=True)
    assert kept.unsaved("s") == kept.unsaved("t") == {}
