import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.lookup import Memory
from loom_shell.memory import NewMemory, TextRefusedError
from loom_shell.memory.verbatim import MAX_NAME, MAX_TAGS, MAX_TEXT, octets, storable, tokens, valid, within


def kept(text: str) -> str:
    return storable(NewMemory(text, 1)).text


@pytest.mark.spec("memory.verbatim")
@pytest.mark.parametrize(
    ("said", "stored"),
    [
        ("  As it was said,\n\tindented. ", "  As it was said,\n\tindented. "),
        ("žluťoučký kůň 🐎 \u200b\u202e", "žluťoučký kůň 🐎 \u200b\u202e"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("a\x00b\x1b[31mc\x7f\x9bd", "ab[31mcd"),
        ("lone \ud800 one", "lone \ufffd one"),
        ("a pair \ud83d\udc0e", "a pair 🐎"),
    ],
)
def test_a_text_stays_as_it_was_said_but_for_what_is_no_character(said: str, stored: str) -> None:
    assert kept(said) == stored


@pytest.mark.spec("memory.redacted")
@pytest.mark.parametrize("hidden", ["sk-ant-abcdef123456", "sk-\x00ant-abc\x1bdef123456"])
def test_a_secret_is_taken_out_also_behind_control_characters(hidden: str) -> None:
    assert kept(f"the key is {hidden}, keep it") == "the key is [redacted: anthropic key], keep it"


@pytest.mark.spec("memory.tags")
def test_tags_stay_as_they_were_given_but_for_secrets_and_what_is_no_character() -> None:
    given = ("b", "a", "b", "", "x\x00y", "\ud800", "sk-ant-abcdef123456")
    stored = storable(NewMemory("x", 1, tags=given)).tags
    assert stored == ("b", "a", "b", "", "xy", "\ufffd", "[redacted: anthropic key]")


@pytest.mark.spec("memory.tags", "memory.refused")
@pytest.mark.parametrize("tags", [("x",) * (MAX_TAGS + 1), ("x" * (MAX_NAME + 1),)])
def test_too_many_tags_and_too_long_ones_are_refused(tags: tuple[str, ...]) -> None:
    with pytest.raises(TextRefusedError, match="at most 32 tags of at most 256 characters"):
        storable(NewMemory("x", 1, tags=tags))


@pytest.mark.spec("memory.refused")
@pytest.mark.parametrize("text", ["", " \n\t ", "\x00\x01", "\r\n"])
def test_an_empty_text_is_refused(text: str) -> None:
    with pytest.raises(TextRefusedError, match="its text is empty"):
        kept(text)


@pytest.mark.spec("memory.refused")
def test_a_text_may_have_64_kib_and_no_byte_more() -> None:
    assert len(kept("ä" * (MAX_TEXT // 2))) == MAX_TEXT // 2
    for text in ("ä" * (MAX_TEXT // 2) + "b", "b" * (MAX_TEXT + 1)):
        with pytest.raises(TextRefusedError, match="longer than 65536 bytes"):
            kept(text)


@pytest.mark.spec("memory.refused")
@pytest.mark.parametrize(
    ("new", "told"),
    [
        (NewMemory("a", 2**63), "its time is no count of nanoseconds"),
        (NewMemory("a", -(2**63) - 1), "its time is no count of nanoseconds"),
        (NewMemory("a", 1, scope="s" * (MAX_NAME + 1)), "at most 256 characters"),
        (NewMemory("a", 1, session="s" * (MAX_NAME + 1)), "at most 256 characters"),
    ],
)
def test_odd_fields_are_refused(new: NewMemory, told: str) -> None:
    with pytest.raises(TextRefusedError, match=told) as refused:
        storable(new)
    assert "\n" not in str(refused.value)


def test_names_are_made_valid() -> None:
    stored = storable(NewMemory("a", 1, scope="x\ud800", session="\udfff"))
    assert (stored.scope, stored.session) == ("x\ufffd", "\ufffd")


@pytest.mark.spec("memory.verbatim")
@given(st.text(st.characters(), max_size=200))
def test_what_was_stored_is_stored_the_same_again(text: str) -> None:
    try:
        once = kept(text)
    except TextRefusedError:
        return
    assert kept(once) == once
    assert once.encode("utf-8")


@given(st.text(st.characters(), max_size=50))
def test_valid_text_can_always_be_written(text: str) -> None:
    assert octets(valid(text)) == len(valid(text).encode("utf-8"))


@pytest.mark.spec("memory.bounds")
@pytest.mark.parametrize(("text", "cost"), [("", 0), ("a", 1), ("four", 1), ("fivee", 2), ("ääää", 2)])
def test_tokens_are_bytes_by_four_rounded_up(text: str, cost: int) -> None:
    assert tokens(text) == cost


@pytest.mark.spec("memory.bounds")
def test_memories_are_whole_and_one_that_does_not_fit_is_passed_over() -> None:
    found = [Memory("1", "a" * 400), Memory("2", "b" * 4000), Memory("3", "c" * 40), Memory("4", "d" * 40)]
    assert [one.id for one in within(found, 5, 120)] == ["1", "3", "4"]
    assert [one.id for one in within(found, 5, 110)] == ["1", "3"]
    assert [one.id for one in within(found, 1, 120)] == ["1"]
    assert within(found, 0, 120) == within(found, 5, 0) == within(found, -1, -1) == ()
