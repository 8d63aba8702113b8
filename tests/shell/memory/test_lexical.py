import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.memory.lexical import AROUND, MOST_TERMS, around, date_words, expression, terms

DAY = 86_400_000_000_000


@pytest.mark.spec("memory.words")
@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("Where did we deploy the parser?", ("deploy", "parser")),
        ("Parser, parser & PARSER", ("parser",)),
        ("read_whole(path) in files.py", ("read", "whole", "path", "files", "py")),
        ("don't you've I'll", ()),
        ("Žluťoučký ku\u030an\u030c", ("žluťoučký", "kůň")),
        ('say "no" OR NOT (near* ^this) -- {a}:b', ("say", "near", "b")),
        ("a\x00b \ud800 \u202e", ("b",)),
        ("x" * 65, ()),
        ("", ()),
    ],
)
def test_a_question_is_its_words_without_stop_words(question: str, found: tuple[str, ...]) -> None:
    assert terms(question) == found


@pytest.mark.spec("memory.words")
def test_terms_are_quoted_and_joined_by_or() -> None:
    assert expression("Deploy the NEAR parser!") == '"deploy" OR "near" OR "parser"'
    assert expression("what is it?") == ""


@pytest.mark.spec("memory.words")
def test_of_a_long_question_the_beginning_and_the_end_are_looked_for() -> None:
    found = terms(" ".join(f"word{i}" for i in range(1_000)))
    assert len(found) == MOST_TERMS
    assert (found[0], found[-1]) == ("word0", "word999")
    pasted = terms("first " + "x " * 1_000_000 + "last")
    assert pasted == ("first", "x", "last")


@pytest.mark.spec("memory.words")
@given(st.text(st.characters(), max_size=300))
def test_no_question_is_an_error_of_syntax(question: str) -> None:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE words USING fts5(text)")
    if wanted := expression(question):
        db.execute("SELECT rowid FROM words WHERE words MATCH ?", (wanted,)).fetchall()
    db.close()


@pytest.mark.spec("memory.neighbours")
def test_the_surroundings_are_the_near_ends_of_the_neighbours_and_the_date() -> None:
    told = around("far " * 1000 + "near before", "near after " + "far " * 1000, 20_000 * DAY)
    before, after, date = told.split("\n")
    assert before.endswith("near before")
    assert after.startswith("near after")
    assert len(before) == len(after) == AROUND
    assert date == "2024-10-04 Friday 4 October 2024"
    assert around("", "", 0) == ""


@pytest.mark.spec("memory.neighbours")
def test_a_date_is_told_in_words_and_figures_within_all_of_time() -> None:
    assert date_words(1) == "1970-01-01 Thursday 1 January 1970"
    assert date_words(2**63 - 1) == "2262-04-11 Friday 11 April 2262"
    assert date_words(-1) == ""
