import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.lookup import Memory, Provenance
from loom_shell.memory import NewMemory, items, rows, schema
from loom_shell.memory.items import Counts, Found, Item, Wanted


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
    for index in ("words", "gone"):
        it.execute(f"INSERT INTO {index} ({index}) VALUES ('integrity-check')")  # noqa: S608 - our own words
    it.close()


def ids(db: sqlite3.Connection, query: str, **wanted: object) -> list[str]:
    asked = Wanted(query, **wanted)  # type: ignore[arg-type] # checked by use
    return [one.memory.id for one in items.found(db, asked).items]


def told(db: sqlite3.Connection, *texts: str) -> None:
    for at, text in enumerate(texts, start=1):
        rows.put(db, NewMemory(text, at))


@pytest.mark.spec("memory.items", "memory.tags")
def test_a_memory_is_told_with_its_tags_and_what_the_loom_says_of_it(db: sqlite3.Connection) -> None:
    for new in (
        NewMemory("one", 1, scope="alpha"),
        NewMemory("two", 2, Provenance.ASSISTANT, tags=("b", "a", "b")),
        NewMemory("three", 3, Provenance.WEB, "alpha", "s", ("provenance:web", "x", "scope:alpha")),
        NewMemory("four", 4, Provenance.ASSISTANT, tags=("scope", "no:thing")),
    ):
        rows.put(db, new)
    assert {one.memory.text: one.tags for one in items.newest(db, 9, 0)} == {
        "one": ("provenance:user", "scope:alpha"),
        "two": ("b", "a", "b"),
        "three": ("provenance:web", "x", "scope:alpha"),
        "four": ("scope", "no:thing"),
    }
    assert items.one(db, "2") == Item(Memory("2", "two", 2, Provenance.ASSISTANT), ("b", "a", "b"))
    assert items.one(db, "9") is items.one(db, "x") is None


@pytest.mark.spec("memory.exact")
def test_an_exact_search_finds_the_letters_newest_first(db: sqlite3.Connection) -> None:
    told(db, "The C++ Parser", "parsers in c++", "C and more", "100% of it_all", "Über\tden Wolken")
    assert ids(db, "c++", exact=True) == ["2", "1"]
    assert ids(db, " C++ PARSER\x00 ", exact=True) == ["1"]
    assert ids(db, "%", exact=True) == ids(db, "it_a", exact=True) == ["4"]
    assert ids(db, "Über\tden", exact=True) == ["5"]
    assert ids(db, " ", exact=True) == ids(db, "parsed", exact=True) == []
    assert ids(db, "c", exact=True, limit=1) == ["3"]
    (one,) = items.found(db, Wanted("100%", exact=True)).items
    assert one.memory.score == items.EXACT
    assert ids(db, "100%", exact=True, min_score=items.EXACT * 2) == []


@pytest.mark.spec("memory.span")
@pytest.mark.parametrize("exact", [False, True])
def test_a_span_of_time_has_its_beginning_and_not_its_end(db: sqlite3.Connection, exact: bool) -> None:  # noqa: FBT001 - a parameter of the test
    told(db, *["tea"] * 4)
    assert sorted(ids(db, "tea", exact=exact, after=2, before=4)) == ["2", "3"]
    assert ids(db, "tea", exact=exact, after=9, before=1) == []
    assert len(ids(db, "tea", exact=exact, after=-(2**90), before=2**90)) == 4


@pytest.mark.spec("memory.include-forgotten", "memory.forget", "memory.tells-forgotten")
@pytest.mark.parametrize("exact", [False, True])
def test_forgotten_ones_are_found_by_name_alone(db: sqlite3.Connection, exact: bool) -> None:  # noqa: FBT001 - a parameter of the test
    told(db, "green tea", "black tea", "no coffee")
    rows.forget(db, "1")
    assert ids(db, "tea", exact=exact) == ["2"]
    all_of_it = items.found(db, Wanted("tea", exact=exact, include_forgotten=True))
    assert {one.memory.id: one.is_forgotten for one in all_of_it.items} == {"1": True, "2": False}
    assert ids(db, "tea", exact=exact, include_forgotten=True, exclude=("1",)) == ["2"]
    assert len(ids(db, "tea", exact=exact, include_forgotten=True, limit=1)) == 1
    assert items.found(db, Wanted("tea", exact=exact, exclude=("1", "2", "x"))) == Found((), ("1",))
    assert items.one(db, "1") is None
    assert [one.memory.id for one in items.newest(db, 9, 0)] == ["3", "2"]


@pytest.mark.spec("memory.counts")
def test_memories_are_counted(db: sqlite3.Connection) -> None:
    assert items.counts(db) == Counts(0, 0)
    told(db, "one", "two", "three")
    rows.forget(db, "2")
    assert items.counts(db) == Counts(2, 1)


@pytest.mark.spec("memory.nearest")
def test_what_is_nearest_comes_first_and_no_more_than_wanted(db: sqlite3.Connection) -> None:
    told(db, *(f"tea {'and more ' * i}" for i in range(items.MOST + 9)))
    assert ids(db, "tea", limit=3) == ["1", "2", "3"]
    assert len(ids(db, "tea", limit=10**9)) == items.MOST
    assert ids(db, "tea", limit=-1) == ids(db, "what is it") == ids(db, "") == []
    best = items.found(db, Wanted("tea", limit=1)).items[0].memory.score
    assert ids(db, "tea", min_score=best) == ["1"]


@pytest.mark.spec("memory.words")
@given(st.text(st.characters(), max_size=40), st.booleans(), st.booleans(), st.lists(st.text(), max_size=3))
def test_nothing_that_is_asked_is_syntax(
    query: str,
    exact: bool,  # noqa: FBT001 - a value of hypothesis
    forgotten: bool,  # noqa: FBT001 - as above
    exclude: list[str],
) -> None:
    db = made()
    told(db, "tea", "loom")
    rows.forget(db, "1")
    found = items.found(db, Wanted(query, exact=exact, include_forgotten=forgotten, exclude=tuple(exclude)))
    assert len(found.items) <= 2
    db.close()
