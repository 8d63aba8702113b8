import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.intro import notebook
from loom_shell.intro.memorables import words
from loom_shell.intro.notebook import (
    MOST_HEARD,
    MOST_NEW,
    MOST_NEW_CHARACTERS,
    MOST_PAGES,
    MOST_TRIES,
    Notebook,
    Pace,
)
from loom_shell.intro.said import Said

PACE = Pace(quiet=5, longest=60, much=100)


def said(number: int, text: str = "x", session: str = "s") -> Said:
    return Said(session, "user", text, f"line-{number}", f"{number}-0")


@pytest.mark.spec("intro.pace")
def test_it_is_asked_after_some_silence() -> None:
    book = Notebook(PACE)
    assert (book.due(1e9), book.next_at()) == (None, float("inf"))
    book.hear(said(1), 10)
    book.hear(said(2), 12)
    assert book.next_at() == 17
    assert (book.due(16.9), book.due(17)) == (None, "s")


@pytest.mark.spec("intro.pace")
def test_who_never_falls_silent_is_asked_about_all_the_same() -> None:
    book = Notebook(PACE)
    for second in range(60):
        book.hear(said(second), second)
    assert book.next_at() == 60
    book = Notebook(PACE)
    book.hear(said(1, "x" * 99), 10)
    assert book.due(10) is None
    book.hear(said(2, "y"), 11)
    assert book.due(11) == "s", "it is much"


@pytest.mark.spec("intro.pace")
def test_sessions_have_their_turns() -> None:
    book = Notebook(PACE)
    for second, session in enumerate("abc"):
        book.hear(said(second, session=session), second)
    for session in "abc":
        assert book.due(100) == session
        book.asked(session, book.page(session))
    assert book.due(100) is None
    assert (book.pages, book.waiting) == (3, 0)


@pytest.mark.spec("intro.once", "intro.ack")
def test_a_line_is_heard_once_however_often_it_comes() -> None:
    book = Notebook(PACE)
    assert book.hear(said(1), 0) == ()
    assert book.hear(said(1), 1) == (), "it waits, and is acknowledged when it was asked about"
    again = evolve(said(1), entry="9-0")
    assert book.hear(again, 1) == ("9-0",), "another entry of the same line"
    assert [one.entry for one in book.page("s").new] == ["1-0"]
    assert book.hear(evolve(said(1), session="t"), 1) == (), "another session's line"
    assert book.asked("s", book.page("s")) == ("1-0",)
    assert book.hear(said(1), 2) == ("1-0",)
    assert book.page("s").new == ()


@pytest.mark.spec("intro.ack")
def test_what_comes_while_the_model_thinks_is_asked_about_next_time() -> None:
    book = Notebook(PACE)
    book.hear(said(1), 0)
    about = book.page("s")
    book.hear(said(2), 50)
    assert book.asked("s", about) == ("1-0",)
    page = book.page("s")
    assert ([one.line for one in page.heard], [one.line for one in page.new]) == (["line-1"], ["line-2"])
    assert book.next_at() == 55


@pytest.mark.spec("intro.ack", "intro.bounded")
def test_a_page_that_went_while_the_model_thought_stays_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "MOST_PAGES", 1)
    book = Notebook(PACE)
    book.hear(said(1), 0)
    about = book.page("s")
    assert book.hear(said(2, session="t"), 1) == ("1-0",)
    assert book.asked("s", about) == book.failed("s", about, 9, is_ours=True) == ()
    assert (book.pages, book.waiting) == (1, 1)


@pytest.mark.spec("intro.given-up")
def test_lines_that_are_failed_on_are_given_up_after_some_tries() -> None:
    book = Notebook(PACE)
    book.hear(said(1), 0)
    for attempt in range(1, MOST_TRIES):
        assert book.failed("s", book.page("s"), 100.0 * attempt, is_ours=True) == ()
        assert book.next_at() == 100 * attempt
    for _ in range(20):
        assert book.failed("s", book.page("s"), 900, is_ours=False) == (), "nobody could be reached"
    about = book.page("s")
    book.hear(said(2), 1)
    assert book.failed("s", about, 999, is_ours=True) == ("1-0",)
    assert [one.line for one in book.page("s").new] == ["line-2"]
    assert book.next_at() == 6


@pytest.mark.spec("intro.stored", "intro.bounded")
def test_what_is_done_with_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "MOST_DONE", 3)
    book = Notebook(PACE)
    assert book.forget("s", ["Ann has a dog."]) == ()
    assert book.page("s").done == (words("Ann has a dog."),)
    book.forget("s", [f"Number {i}." for i in range(5)])
    assert book.page("s").done == tuple(words(f"Number {i}.") for i in (2, 3, 4))


@pytest.mark.spec("intro.bounded", "intro.ack")
def test_what_falls_off_a_page_or_goes_with_it_is_done_with() -> None:
    book = Notebook(PACE)
    gone = [entry for i in range(MOST_NEW + 3) for entry in book.hear(said(i), i)]
    assert gone == ["0-0", "1-0", "2-0"]
    large = MOST_NEW_CHARACTERS // 6
    gone = [entry for i in range(100, 108) for entry in book.hear(said(i, "x" * large), i)]
    assert len(gone) == MOST_NEW + 2
    assert len(book.page("s").new) == 6
    for i in range(MOST_PAGES - 1):
        assert book.hear(said(i, session=f"t{i}"), i) == ()
    assert len(book.hear(said(1, session="last"), 1)) == 6
    assert book.pages == MOST_PAGES
    assert book.page("s").new == ()


@pytest.mark.spec("intro.bounded", "intro.once", "intro.ack")
@given(
    st.lists(
        st.tuples(
            st.sampled_from(("hear", "ask", "fail", "lose", "forget")),
            st.integers(0, 30),
            st.sampled_from("abc"),
        ),
        max_size=60,
    )
)
def test_every_entry_waits_or_is_done_with_and_never_both(steps: list[tuple[str, int, str]]) -> None:
    before, notebook.MOST_PAGES = notebook.MOST_PAGES, 2
    try:
        book, heard, done = Notebook(PACE), set(), []
        for now, (what, number, session) in enumerate(steps):
            match what:
                case "hear":
                    one = evolve(said(number, "x" * 9_000, session), entry=f"{session}{number}")
                    is_new = one.entry not in heard
                    heard.add(one.entry)
                    gone = book.hear(one, now)
                    done += gone if is_new else ()
                case "ask":
                    done += book.asked(session, book.page(session))
                case "forget":
                    done += book.forget(session, ["x y z"])
                case _:
                    done += book.failed(session, book.page(session), now, is_ours=what == "fail")
            waiting = [it.entry for session in "abc" for it in book.page(session).new]
            assert sorted([*waiting, *done]) == sorted(heard)
            assert all(len(book.page(session).heard) <= MOST_HEARD for session in "abc")
    finally:
        notebook.MOST_PAGES = before
