from loom_core.trace import AttributeValue
from loom_shell.recent import KeptSpan
from loom_shell.span_words import line, model, text, texts, whole


def span(**attributes: AttributeValue) -> KeptSpan:
    told = {name.replace("__", "."): value for name, value in attributes.items()}
    return KeptSpan("s", "", "chat", "client", 0, 1, "", told)


def test_what_is_of_another_kind_reads_as_nothing() -> None:
    odd = span(a=5, b=True, c="x", d=-1)
    assert (text(odd, "a"), text(odd, "c"), text(odd, "none")) == ("", "x", "")
    assert [whole(odd, name) for name in "abcd"] == [5, None, None, None]
    assert texts(odd, "c") == ()
    assert texts(span(a=("x", "y")), "a") == ("x", "y")


def test_the_model_that_answered_is_named_else_the_one_asked_for() -> None:
    asked = span(gen_ai__request__model="asked", gen_ai__response__model="")
    assert model(asked) == "asked"
    assert model(span(gen_ai__request__model="asked", gen_ai__response__model="told")) == "told"


def test_a_line_is_clipped_and_clean() -> None:
    assert line("one\n two\tthree", 20) == "one two three"
    assert line("x" * 90, 10) == "x" * 10 + "…"
    assert "\x1b" not in line("\x1b[2J", 20)
