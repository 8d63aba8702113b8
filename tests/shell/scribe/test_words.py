import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.scribe import words


@pytest.mark.spec("scribe.words")
@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("Deploy the parser", (("deploy",), ("the",), ("parser",))),
        ('"two words" one', (("two", "words"), ("one",))),
        ('an "open end', (("an",), ("open", "end"))),
        ("e-mail foo/bar.py", (("e", "mail"), ("foo", "bar", "py"))),
        ("Größe ÉTÉ e\u0301te\u0301", (("große",), ("ete",))),
        ("twice Twice", (("twice",),)),
        ("", ()),
        ('" - * :', ()),
    ],
)
def test_a_question_becomes_its_phrases(question: str, found: tuple[words.Phrase, ...]) -> None:
    assert words.phrases(question) == found


@pytest.mark.spec("scribe.syntax")
@given(st.text())
def test_an_expression_holds_nothing_but_quoted_words(question: str) -> None:
    asked = words.phrases(question)
    for phrase in asked:
        assert all(one.isalnum() for one in phrase)
    assert words.fts5(asked).count('"') == 2 * len(asked)


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    once = words.folded(text)
    assert words.folded(once) == once or not text.isascii()


def test_a_question_is_bounded() -> None:
    asked = words.phrases(" ".join(f"w{i}" for i in range(10_000)))
    assert len(asked) == words.MOST
    assert words.phrases("x" * 100_000) == (("x" * words.MOST_LETTERS,),)
    assert sum(map(len, words.phrases('"' + "a b " * 10_000))) == words.MOST


def test_the_first_word_is_found_also_by_its_stem() -> None:
    text = "It was Deployed on Friday."
    assert words.first(text, (("friday",),)) == 19
    assert words.first(text, (("deploying",),)) == 7
    assert words.first(text, (("nothing",),)) == 0
