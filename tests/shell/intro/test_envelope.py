import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.intro.envelope import MOST_FOUND, MOST_READ, GarbageError, opened
from loom_shell.intro.prompt import INSTRUCTIONS

PIECES = (
    "<memorables>",
    "</memorables>",
    "<memorables/>",
    "<memorable>",
    "</memorable>",
    "One.",
    "<",
    "&lt;",
    "\n",
)


@pytest.mark.spec("intro.envelope")
@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("<memorables></memorables>", ()),
        ("<memorables>\n \n</memorables>", ()),
        ("<memorables/>", ()),
        ("<memorables><memorable>One.</memorable></memorables>", ("One.",)),
        ("Sure!\n```xml\n<memorables>\n<memorable> One. </memorable>\n</memorables>\n```", ("One.",)),
        (
            "<memorables><memorable>a &lt;b&gt; &amp;lt; &quot;c&#39;</memorable></memorables>",
            ("a <b> &lt; \"c'",),
        ),
        ("<memorables>Notes: <memorable>One.</memorable> and</memorables>", ("One.",)),
        ("<memorables><memorable></memorable><memorable>One.</memorable></memorables>", ("One.",)),
        ("<memorables><memorable>a <b>c</b></memorable><memorable>One.</memorable></memorables>", ("One.",)),
        ("<memorables><memorable>First sentence.</memorable></memorables>", ()),
        ("<think><memorables><memorable>No.</memorable></memorables></think><memorables></memorables>", ()),
        ("<memorables><memorable>No.</memorable></memorables> rather: <memorables/>", ()),
        ("<memorables/><memorables><memorable>One.</memorable></memorables>", ("One.",)),
        ("<memorables><memorables><memorable>One.</memorable></memorables>", ("One.",)),
    ],
)
def test_the_last_envelope_is_opened(answer: str, found: tuple[str, ...]) -> None:
    assert opened(answer) == found


@pytest.mark.spec("intro.envelope")
@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Nothing worth noting.",
        "<memorable>One.</memorable>",
        "<memorables><memorable>One.</memorable>",
        "</memorables><memorables>",
        "<memorables>One.</memorables>",
        "<memorables><memorable>One.</memorables>",
        '{"memorables": ["One."]}',
        "<memorables>" + "x" * MOST_READ + "</memorables>",
    ],
)
def test_anything_else_is_garbage(answer: str) -> None:
    with pytest.raises(GarbageError):
        opened(answer)


@pytest.mark.spec("intro.envelope")
def test_the_prompts_own_example_notes_nothing() -> None:
    assert opened(INSTRUCTIONS) == ()
    assert opened(INSTRUCTIONS.rpartition("With nothing")[0]) == ()


@pytest.mark.spec("intro.envelope", "intro.bounded")
def test_a_talkative_answer_gives_a_few() -> None:
    told = "".join(f"<memorable>Number {i}.</memorable>" for i in range(500))
    assert len(opened(f"<memorables>{told}</memorables>")) == MOST_FOUND


@pytest.mark.spec("intro.envelope")
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=9), max_size=12).map("".join))
def test_no_answer_makes_it_fail(answer: str) -> None:
    try:
        found = opened(answer)
    except GarbageError:
        return
    assert len(found) <= MOST_FOUND
    assert all(one.strip() for one in found)


@pytest.mark.spec("intro.envelope")
@pytest.mark.parametrize("piece", PIECES)
def test_a_hostile_answer_takes_no_longer(piece: str) -> None:
    hostile = piece * (2_000_000 // len(piece))
    began = time.process_time()
    for answer in (hostile, hostile + "</memorables>", f"<memorables>{hostile}</memorables>"):
        try:
            opened(answer)
        except GarbageError:
            continue
    assert time.process_time() - began < 1
