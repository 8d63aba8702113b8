import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.printable import printable, shown


@given(st.text(st.characters(codec=None)))
def test_what_comes_out_is_one_line_that_a_terminal_only_prints(text: str) -> None:
    out = printable(text)
    assert out.isprintable()
    assert len(out.encode().splitlines()) <= 1


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("/v1/messages", "/v1/messages"),
        ("schön", "schön"),
        ("a\\b", "a\\b"),
        ("a\nb\\", "a\\nb\\\\"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u202e", "\\u202e"),
        ("\u2028\x85", "\\u2028\\x85"),
        ("\ud800", "\\ud800"),
    ],
)
def test_only_what_is_unsafe_is_escaped(text: str, out: str) -> None:
    assert printable(text) == out


def test_a_long_text_is_clipped() -> None:
    assert printable("x" * 50, 10) == "x" * 10 + "…"
    assert printable("x" * 10, 10) == "x" * 10


def test_a_value_is_shown_by_its_repr_clipped() -> None:
    assert shown("a\nb") == "'a\\nb'"
    assert len(shown("x" * 10_000)) < 90
    assert shown(1 << 20_000) == "a very large number"
