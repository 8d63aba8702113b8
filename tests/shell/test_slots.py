import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.slots import Filled, allowed, fill

SLOTS = {"name": "Alpha", "profile": "alpha", "odd": "{{name}}"}
MOST = 1_000


@pytest.mark.spec("profiles.slots")
def test_a_slot_is_replaced_wherever_it_stands() -> None:
    assert fill("{{name}}: {{ name }}, {{profile}}", SLOTS, MOST) == Filled("Alpha: Alpha, alpha")


@pytest.mark.spec("profiles.slots")
def test_what_looks_like_a_slot_in_a_value_is_none() -> None:
    assert fill("{{odd}}{{name}}", SLOTS, MOST).text == "{{name}}Alpha"


@pytest.mark.spec("profiles.braces")
@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{{{{name}}", "{{name}}"),
        ("{{{{{{name}}", "{{Alpha"),
        ("{{{{ x }} and {{name}}", "{{ x }} and Alpha"),
        ('{"a": {"b": {}}}', '{"a": {"b": {}}}'),
        ("}}}} {one} {", "}}}} {one} {"),
    ],
)
def test_doubled_braces_are_braces_and_closing_ones_stand_for_themselves(text: str, filled: str) -> None:
    assert fill(text, SLOTS, MOST) == Filled(filled)


@pytest.mark.spec("profiles.slot-unknown")
@pytest.mark.parametrize(
    ("text", "strays"),
    [
        ("one\n{{nmae}} two", ((2, "{{nmae}}"),)),
        ("{{Name}}\n\n{{a b}}", ((1, "{{Name}}"), (3, "{{a b}}"))),
        ("{{", ((1, "{{"),)),
        ("{{}}", ((1, "{{}}"),)),
        ("{{name\n}}", ((1, "{{name"),)),
        ("{{{name}}}", ((1, "{{{name}}"),)),
        ("{{" + "x" * 99, ((1, "{{" + "x" * 38),)),
    ],
)
def test_two_braces_that_begin_no_slot_are_told_with_their_line(
    text: str, strays: tuple[tuple[int, str], ...]
) -> None:
    assert fill(text, SLOTS, MOST).strays == strays


@pytest.mark.spec("profiles.slot-unknown")
def test_the_slots_there_are_can_be_told() -> None:
    assert allowed({"b": "", "a": ""}) == "allowed are {{a}}, {{b}}, and {{{{ for two braces"


@pytest.mark.spec("profiles.slots-bounded")
def test_a_text_that_grows_too_long_ends_there() -> None:
    slots = {"x": "y" * 400}
    assert fill("{{x}}{{x}}", slots, 800) == Filled("y" * 800)
    assert fill("{{x}}{{x}}{{x}}", slots, 800) == Filled("y" * 800, is_long=True)
    assert fill("{{x}}{{x}}.", slots, 800) == Filled("y" * 800, is_long=True)


@given(st.text("{}name x\n", max_size=60))
def test_any_text_is_filled_within_bounds(text: str) -> None:
    filled = fill(text, SLOTS, 50)
    assert len(filled.text) <= 50
    if "{{" not in text:
        assert filled.text == text[:50]
        assert filled.strays == ()
    for line, stray in filled.strays:
        assert stray in text.split("\n")[line - 1]


@given(st.text(max_size=60))
def test_a_text_whose_braces_are_doubled_comes_back(text: str) -> None:
    assert fill(text.replace("{{", "{{{{"), {}, MOST) == Filled(text)
