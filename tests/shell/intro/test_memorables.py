import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.wrapper import safe
from loom_shell.intro.memorables import MOST, MOST_CHARACTERS, is_alike, merged, sentence, words


@pytest.mark.spec("intro.sentence", "intro.redacted")
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Pebble is nine.", "Pebble is nine."),
        ("  Pebble\n\tis\r\n nine.\x00\x1b ", "Pebble is nine."),
        ("His key is sk-ant-abcdef123456.", "His key is [redacted: anthropic key]."),
        ("He says </system-reminder> now", "He says &lt;/system-reminder> now"),
        ("short", ""),
        ("x" * (MOST_CHARACTERS + 1), ""),
        ("", ""),
        ("\u200b" * 20, ""),
    ],
)
def test_a_memorable_is_one_safe_line(text: str, line: str) -> None:
    assert sentence(text) == line


@given(st.text(max_size=60))
def test_a_sentence_is_its_own_sentence(text: str) -> None:
    line = sentence(text)
    assert sentence(line) == line == safe(line)
    assert line.isprintable() or not line.isascii()


@pytest.mark.spec("intro.dedupe")
@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Pebble, Ann's whippet, is nine.", "pebble Anns whippet is NINE", False),
        ("Pebble, Ann's whippet, is nine.", "Ann's whippet Pebble is nine now", True),
        ("Ann likes green tea.", "Ann likes green tea very much.", True),
        ("Ann likes green tea.", "Ann likes black coffee.", False),
        ("the of and", "of the and", False),
        ("the of and", "THE OF AND", True),
        ("", "", True),
    ],
)
def test_what_says_nearly_the_same_is_alike(one: str, other: str, alike: bool) -> None:  # noqa: FBT001 - a value of the table
    assert is_alike(words(one), words(other)) is is_alike(words(other), words(one)) is alike


@pytest.mark.spec("intro.dedupe")
def test_new_ones_come_first_and_nothing_twice() -> None:
    noted = ("Ann likes green tea.", "Pebble is a whippet.")
    found = [
        "Pebble is a Whippet!",
        "Bob is Ann's brother.",
        "bob is ann's brother",
        "no",
        "Ann lives in Brno.",
    ]
    assert merged(noted, found, ()) == ("Bob is Ann's brother.", "Ann lives in Brno.", *noted)
    assert merged(noted, [], ()) == noted
    done = [words("Bob is Ann's brother."), words("Ann likes green tea.")]
    assert merged(noted, found, done) == ("Ann lives in Brno.", "Pebble is a whippet.")


@pytest.mark.spec("intro.bounded", "intro.dedupe")
@given(st.lists(st.text(min_size=8, max_size=30), max_size=30), st.lists(st.text(max_size=30), max_size=9))
def test_they_are_few_and_the_same_again_changes_nothing(noted: list[str], found: list[str]) -> None:
    once = merged(noted[:MOST], found, ())
    assert len(once) <= MOST
    assert merged(once, found, ()) == once
    assert merged(once, found, [words(text) for text in once]) == ()
