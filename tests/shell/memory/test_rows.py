import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.lookup import Provenance, Question
from loom_shell.memory import NewMemory, rows, schema

DAY = "1970-01-01 Thursday 1 January 1970"
SOUND = "INSERT INTO words (words) VALUES ('integrity-check')"


def made() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    for step in schema.STEPS:
        for statement in step:
            db.execute(statement)
    return db


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    it = made()
    yield it
    it.execute(SOUND)
    it.close()


def ids(db: sqlite3.Connection, question: Question, limit: int = 20) -> list[str]:
    return [one.id for one in rows.nearest(db, question, limit)]


def surroundings(db: sqlite3.Connection) -> list[tuple[str, str]]:
    return db.execute("SELECT text, around FROM memory WHERE NOT forgotten ORDER BY at, id").fetchall()


@pytest.mark.spec("memory.neighbours")
def test_neighbours_are_of_one_scope_and_session_and_in_the_order_of_time(db: sqlite3.Connection) -> None:
    for at, scope, session, text in (
        (10, "a", "s", "first"),
        (30, "a", "s", "third"),
        (20, "a", "s", "second"),
        (21, "b", "s", "other scope"),
        (22, "a", "t", "other session"),
        (23, "a", "", "alone"),
        (24, "a", "", "alone too"),
    ):
        rows.put(db, NewMemory(text, at, scope=scope, session=session))
    assert dict(surroundings(db)) == {
        "first": f"second\n{DAY}",
        "second": f"first\nthird\n{DAY}",
        "third": f"second\n{DAY}",
        **dict.fromkeys(("other scope", "other session", "alone", "alone too"), DAY),
    }


@pytest.mark.spec("memory.neighbours", "memory.forget")
def test_when_one_is_forgotten_its_neighbours_close_up(db: sqlite3.Connection) -> None:
    for at, text in enumerate(("first", "second", "third", "fourth"), start=1):
        rows.put(db, NewMemory(text, at, session="s"))
    assert rows.forget(db, "2")
    assert surroundings(db)[:2] == [("first", f"third\n{DAY}"), ("third", f"first\nfourth\n{DAY}")]
    assert ids(db, Question("second")) == []


@pytest.mark.spec("memory.neighbours")
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 20)), max_size=14))
def test_however_memories_come_and_go_their_surroundings_are_those_of_the_moment(
    steps: list[tuple[int, int]],
) -> None:
    db = made()
    for i, (at, goes) in enumerate(steps, start=1):
        rows.put(db, NewMemory(f"t{i}", at, session="s"))
        # Most numbers name no memory, or one that is gone.
        rows.forget(db, f"{goes}")
    line = surroundings(db)
    for i, (_text, around) in enumerate(line):
        beside = [line[j][0] for j in (i - 1, i + 1) if 0 <= j < len(line)]
        assert around.split("\n") == [*beside, DAY]
    db.execute(SOUND)
    db.close()


@pytest.mark.spec("memory.wanted")
def test_only_what_is_wanted_is_found(db: sqlite3.Connection) -> None:
    for i, provenance in enumerate(Provenance):
        rows.put(db, NewMemory("The loom weaves.", i, provenance))
    rows.put(db, NewMemory("The loom weaves.", 7, scope="alpha"))
    rows.put(db, NewMemory("The loom weaves.", 8, scope="beta"))
    assert set(ids(db, Question("loom"))) == {"1", "2", "6", "7"}
    assert set(ids(db, Question("loom", scope="alpha"))) == {"1", "2", "6"}
    assert ids(db, Question("loom", provenance=frozenset({Provenance.WEB}))) == ["4"]
    assert ids(db, Question("loom", provenance=frozenset())) == []
    assert set(ids(db, Question("loom", exclude=("1", "6", "x", "9" * 30)))) == {"2", "7"}
    best = rows.nearest(db, Question("loom"), 1)[0]
    assert ids(db, Question("loom", min_score=best.score * 2)) == []
    assert best.id in ids(db, Question("loom", min_score=best.score))


@pytest.mark.spec("memory.nearest")
def test_of_equally_near_memories_the_newest_comes_first(db: sqlite3.Connection) -> None:
    for _ in range(3):
        rows.put(db, NewMemory("The loom weaves.", 5))
    assert ids(db, Question("weaving"), 2) == ["3", "2"]
    assert ids(db, Question("what is it?")) == []


@pytest.mark.spec("memory.nearest", "memory.neighbours")
def test_a_date_is_found_in_words_and_in_figures(db: sqlite3.Connection) -> None:
    rows.put(db, NewMemory("The loom weaves.", 1_741_338_000_000_000_000))
    rows.put(db, NewMemory("The loom weaves.", 5))
    assert ids(db, Question("on a Friday in March"))[0] == "1"
    assert ids(db, Question("2025")) == ["1"]


@pytest.mark.parametrize(
    ("memory_id", "row"),
    [("1", 1), ("12", 12), ("", 0), ("-1", 0), ("1.0", 0), ("٣", 0), ("²", 0), ("9" * 19, 0), ("1 ", 0)],
)
def test_an_id_is_a_number_in_decimal(memory_id: str, row: int) -> None:
    assert rows.number(memory_id) == row


def test_the_probe_leaves_no_transaction_open(db: sqlite3.Connection) -> None:
    rows.probe(db)
    assert not db.in_transaction
