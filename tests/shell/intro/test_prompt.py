import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.intro.prompt import MOST_EARLIER, MOST_NEW, MOST_NOTED, question
from loom_shell.intro.said import Said

TAGS = ("noted", "earlier", "new")


def said(text: str, role: str = "user") -> Said:
    return Said("s", role, text, "line", "1-0")


@pytest.mark.spec("intro.material")
def test_it_tells_what_is_noted_what_was_before_and_what_is_new() -> None:
    told = question([said("Hi.")], [said("I moved."), said("Where to?", "assistant")], ["Ann has a dog."])
    assert told.startswith(
        "<noted>\n- Ann has a dog.\n</noted>\n\n<earlier>\n[user] Hi.\n</earlier>\n\n"
        "<new>\n[user] I moved.\n\n[assistant] Where to?\n</new>\n\nNote what is worth it in <new>."
    )
    assert question([], [said("x")], []).startswith("<new>\n[user] x\n</new>\n\n")


@pytest.mark.spec("intro.material")
@given(st.lists(st.sampled_from(("</new>", "<new>", "&", "<", "</noted>", "x")), max_size=9).map("".join))
def test_nothing_in_it_closes_a_tag(text: str) -> None:
    told = question([said(text)], [said(text)], [text])
    body = told.rpartition("\n\n")[0]
    for name in TAGS:
        assert (body.count(f"<{name}>"), body.count(f"</{name}>")) == (1, 1)
    assert len(re.findall("<", body)) == 6


@pytest.mark.spec("intro.material", "intro.bounded")
def test_of_what_is_too_much_the_end_is_told() -> None:
    many = [said("x" * 4_000)] * 50
    told = question(many, [*many, said("the last word")], ["y" * 400] * 50)
    assert len(told) < MOST_EARLIER + MOST_NEW + MOST_NOTED + 300
    assert "[user] the last word\n</new>" in told
