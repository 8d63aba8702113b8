import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.survival import missing, summary

WORDS = st.lists(
    st.sampled_from(["Ann", "the", "kettle", "Straße", "İ", "<summary>"]), min_size=1, max_size=4
)
SPACES = st.sampled_from([" ", "\n", "\t \r\n", "\u00a0"])


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("<analysis>\nTea.\n</analysis>\n\n<summary>\nMilk.\n</summary>", "Milk."),
        ("<summary></summary>", ""),
        ("<summary>Old.</summary> no: <summary> New. </summary> That is it.", "New."),
        ("<summary>It goes on", ""),
        ("No tags.", ""),
        ("</summary><summary>", ""),
        ("", ""),
    ],
)
@pytest.mark.spec("compact.survives")
def test_the_summary_is_what_its_last_tags_hold(answer: str, kept: str) -> None:
    assert summary(answer) == kept


@pytest.mark.spec("compact.survives")
def test_what_is_missing_is_told_once_and_in_order() -> None:
    assert missing(["Bo", "Ann", "Cy", "Bo"], "ANN has tea.") == ("Bo", "Cy")
    assert missing([], "") == ()
    assert missing(["the kettle"], "the\n  Kettle") == ()


@given(WORDS, st.data())
@pytest.mark.spec("compact.survives")
def test_a_phrase_is_found_however_it_is_spaced_or_spelled(words: list[str], data: st.DataObject) -> None:
    text = "".join(word + data.draw(SPACES) for word in words)
    said = data.draw(st.sampled_from([text, text.upper(), f"Well, {text} so."]))
    assert missing([" ".join(words)], said) == ()
    assert missing(["a word nobody said"], said) == ("a word nobody said",)


@given(st.text(), st.lists(st.text()))
@pytest.mark.spec("compact.survives")
def test_whatever_is_said_what_is_missing_was_asked_for(answer: str, phrases: list[str]) -> None:
    assert summary(answer) in answer
    assert set(missing(phrases, answer)) <= set(phrases)
