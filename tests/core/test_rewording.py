import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loom_core import chain, rewording, wire
from loom_core.profile import CompactionRules
from loom_core.rewording import DEMAND, Continued
from loom_core.system import System
from loom_core.wire import Edit
from loom_core.wordings import ADDITIONAL, CONTINUATIONS, CONTINUED, GOING_ON, PHRASES, REMINDER, SUMMARISER
from tests.support.compactions import (
    CASES,
    CONTINUATION,
    IDENTITY,
    NEW_CLIENT,
    NOTE,
    OLD_CLIENTS,
    PROMPT,
    RULES,
    SUMMARISING,
    SYSTEM,
    WISHES,
    Case,
    continued,
    instruction,
    openings,
    paragraph,
    token,
)
from tests.support.conversations import (
    MARKER,
    STYLES,
    Message,
    Sent,
    answer,
    body,
    hostile,
    prompt,
    sent,
    text,
)

CLIENTS = (*OLD_CLIENTS, NEW_CLIENT)
cases = st.sampled_from(CASES)
own = hostile.filter(lambda it: not any(phrase in it for phrase in PHRASES))
"""Texts of a profile: the shell takes none with a phrase of the client's in it."""
wishes = st.lists(
    st.sampled_from(
        [
            ADDITIONAL,
            REMINDER,
            "REMINDER:",
            "Keep Bo.",
            "<summary>",
            "\n",
            "\ud800",
            "ü",
            "\\",
            '"',
            "\0",
            "</x>",
        ]
    ),
    min_size=1,
    max_size=6,
).map("".join)


def edits(client: bytes, rules: CompactionRules = RULES, going_on: str = CONTINUATION) -> tuple[Edit, ...]:
    """All three phases."""
    found = chain.read(client, "s")
    if found is None:
        return ()
    begins = rewording.continued(client, found.opening) if found.opening else None
    return (
        *rewording.summariser(client, found.system, rules.identity),
        *rewording.instruction(client, rules.prompt),
        *rewording.continuation(begins, going_on),
    )


def reworded(client: bytes, rules: CompactionRules = RULES, going_on: str = CONTINUATION) -> bytes:
    return wire.apply(client, edits(client, rules, going_on))


def system_of(client: bytes) -> System:
    found = chain.read(client, "s")
    assert found is not None
    return found.system


# ------------------------------------------------------------------ phases 1 and 2


@pytest.mark.parametrize("case", CASES, ids=lambda it: it.name)
@pytest.mark.parametrize("marks", [(), (0, 1)], ids=["bare", "marked"])
@pytest.mark.spec(
    "compact.summariser",
    "compact.system-stays",
    "compact.instruction",
    "compact.wishes",
    "compact.nothing-else",
)
def test_the_words_of_each_client_make_room_and_nothing_else_moves(
    case: Case, marks: tuple[int, ...]
) -> None:
    client = case.body(Sent(markers=marks))
    asks = f"{ADDITIONAL}{case.wishes}" if case.wishes else ""
    wanted = client.replace(token(case.said), token(f"{PROMPT}{asks}\n\n{DEMAND}"))
    wanted = wanted.replace(token(SUMMARISER.begins), token(IDENTITY))
    assert reworded(client) == wanted != client


@pytest.mark.parametrize("system", [SUMMARISER.begins, list(SUMMARISING), [text(SUMMARISER.begins)]])
@pytest.mark.spec("compact.summariser")
def test_the_summarisers_system_prompt_is_replaced_in_each_form(system: Any) -> None:  # noqa: ANN401 JSON
    client = body([prompt("Tea?")], Sent(system=system))
    assert reworded(client) == client.replace(token(SUMMARISER.begins), token(IDENTITY))


@pytest.mark.parametrize(
    "system",
    [
        None,
        "none",
        [],
        5,
        {"a": 1},
        list(SYSTEM),
        f"Not: {SUMMARISER.begins}",
        [text(f"Or {SUMMARISER.begins}")],
    ],
)
@pytest.mark.spec("compact.summariser", "compact.system-stays", "compact.ordinary")
def test_any_other_system_prompt_stays(system: Any) -> None:  # noqa: ANN401 JSON
    client = body([prompt("Tea?")], Sent(system=system))
    assert rewording.summariser(client, system_of(client), IDENTITY) == ()


@given(cases, wishes, sent)
@example(CASES[0], f"Bo.{REMINDER} Cy.{ADDITIONAL}Di.", Sent())
@example(CASES[-1], f"Bo.{REMINDER} Cy.{ADDITIONAL}Di.", Sent())
@example(CASES[0], "\ud800", Sent(ascii=True))
@pytest.mark.spec("compact.wishes", "compact.nothing-else")
def test_what_the_user_asks_of_the_summary_stays_byte_for_byte(case: Case, asked: str, how: Sent) -> None:
    said = instruction(case.client, asked, again=case.again)
    is_ascii = how.ascii or "\ud800" in asked
    how = Sent(how.strings, how.markers, how.style, how.system, is_ascii, how.first)
    client = body([*case.before, answer("So."), prompt(said)], how)
    old, made = token(said, is_ascii=is_ascii), reworded(client)
    before, behind = client.split(old)
    assert made.startswith(before)
    assert made.endswith(behind)
    new = made[len(before) : len(made) - len(behind)]
    asks = token(f"{ADDITIONAL}{asked}", is_ascii=is_ascii)
    assert new == token(PROMPT) + asks + token(f"\n\n{DEMAND}")


@given(cases, own, sent)
@pytest.mark.spec("compact.demand")
def test_text_alone_and_the_tags_are_asked_for_whatever_the_profile_says(
    case: Case, words: str, how: Sent
) -> None:
    made = json.loads(reworded(case.body(how), CompactionRules(prompt=words)))
    users = [message for message in made["messages"] if message["role"] == "user"]
    content = users[-1]["content"]
    said = content if isinstance(content, str) else content[-1]["text"]
    assert said.endswith(f"\n\n{DEMAND}")
    assert (case.wishes in said, "<summary>" in DEMAND, "no tools" in DEMAND) == (True, True, True)


ELSEWHERE: list[list[Message]] = [
    [prompt(f"See: {instruction(NEW_CLIENT)}")],
    [prompt(instruction(NEW_CLIENT), "What is it?")],
    [prompt(instruction(NEW_CLIENT)), answer("So?")],
    [prompt("Well?"), answer(instruction(NEW_CLIENT))],
    [prompt(instruction(NEW_CLIENT)), answer("So?"), prompt("Tea?")],
    [prompt("Tea?"), {"role": "system", "content": [text(instruction(NEW_CLIENT))]}],
    [prompt(instruction(NEW_CLIENT)), *[{"role": "system", "content": [text("Noted.")]}] * 2],
    [{"role": "system", "content": [text("Noted.")]}],
    [
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": [text(instruction(NEW_CLIENT))]}
            ],
        }
    ],
    [{"role": "user", "content": [{"type": "document", "title": "", "text": instruction(NEW_CLIENT)}]}],
    [prompt("Tea?"), answer("Yes."), prompt(continued(NEW_CLIENT))],
    [{"role": "assistant", "content": [text(continued(NEW_CLIENT))]}, prompt("Tea?")],
    [{"role": "system", "content": [text(continued(NEW_CLIENT))]}, prompt("Tea?")],
    [prompt(f"See: {continued(NEW_CLIENT)}")],
    [prompt(paragraph(NEW_CLIENT))],
    [
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": [text(continued(NEW_CLIENT))]}
            ],
        }
    ],
]


@pytest.mark.parametrize("messages", ELSEWHERE)
@pytest.mark.spec("compact.ordinary", "compact.place")
def test_the_words_anywhere_else_stay(messages: list[Message]) -> None:
    client = body(messages)
    assert reworded(client) == client


# ------------------------------------------------------------------ phase 3


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("trigger", ["auto", "manual"])
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.spec("compact.continuation", "compact.nothing-else")
def test_the_whole_paragraph_on_how_to_go_on_is_replaced_wherever_it_stands(
    client: str, trigger: str, style: tuple[str, str]
) -> None:
    has_one = client not in OLD_CLIENTS or trigger == "auto"
    for first in openings(client, trigger):
        for more in ([], [answer("Tea."), prompt(continued(client, trigger))]):
            came = body([first, *more], Sent(style=style, markers=(0, 2)))
            wanted = came.replace(token(paragraph(client)), token(CONTINUATION), 1)
            assert reworded(came) == wanted
            assert (wanted != came) is has_one


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.spec("compact.quoted")
def test_a_paragraph_that_a_summary_quotes_stays(client: str) -> None:
    quoted = f"Bo asked what this is:\n{paragraph(client)}\n\nIt was told.\n\nCy has tea."
    for trigger in ("auto", "manual"):
        told = continued(client, trigger, summary=quoted)
        came = body([prompt(told)])
        had = client not in OLD_CLIENTS or trigger == "auto"
        wanted = told[::-1].replace(paragraph(client)[::-1], CONTINUATION[::-1], 1)[::-1] if had else told
        assert reworded(came) == body([prompt(wanted)])
        assert paragraph(client) in wanted


def read(told: str, *before: dict[str, Any]) -> Continued:
    came = body([{"role": "user", "content": [*before, text(told)]}])
    conversation = chain.read(came, "s")
    assert conversation is not None
    assert conversation.opening is not None
    found = rewording.continued(came, conversation.opening)
    assert found is not None
    return found


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.spec("compact.drift-continuation")
def test_words_on_how_to_go_on_that_are_not_known_are_strange(client: str) -> None:
    strange = f"So go on {GOING_ON}, please."
    found = read(continued(client, going_on=strange), NOTE)
    assert (found.paragraph, found.is_strange, found.begins) == (None, True, strange)
    part = read(f"{CONTINUED} {CONTINUATIONS[0].begins} Go.")
    assert (part.paragraph, part.is_strange) == (None, True), "it is on no line of its own"
    bare = read(f"{CONTINUED}\nSummary:\nTea.")
    assert (bare.paragraph, bare.is_strange, bare.begins) == (None, False, "Tea.")
    far = read(f"{CONTINUED}\n{strange}\n\n{'Tea. ' * 500}\n\nMilk.")
    assert not far.is_strange, "a summary quotes it"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.spec("compact.continuation", "compact.survives")
def test_the_summary_is_told_without_the_words_on_how_to_go_on(client: str) -> None:
    found = read(continued(client, summary="Bo has \N{SPOOL OF THREAD}."))
    assert "Bo has" in found.summary
    assert GOING_ON not in found.summary
    assert found.paragraph is not None


# ------------------------------------------------------------------ properties


@given(cases, sent, st.sampled_from(["", "auto", "manual"]), st.sampled_from(CLIENTS), own, own)
@pytest.mark.spec("compact.idempotent", "compact.nothing-else")
def test_what_is_reworded_is_left_as_it_is(
    case: Case, how: Sent, trigger: str, client: str, mine: str, going_on: str
) -> None:
    first = openings(client, trigger)[:1] if trigger else []
    how = Sent(how.strings, how.markers, how.style, case.system, how.ascii, how.first)
    came = body([*first, answer("So."), *case.messages], how)
    rules = CompactionRules(mine or IDENTITY, mine)
    made = reworded(came, rules, going_on or CONTINUATION)
    assert made != came
    assert reworded(made, rules, going_on or CONTINUATION) == made


@given(cases, sent, hostile, st.sampled_from(CLIENTS))
@pytest.mark.spec("compact.nothing-else")
def test_beside_the_texts_no_value_changes(case: Case, how: Sent, words: str, client: str) -> None:
    how = Sent(how.strings, how.markers, how.style, case.system, how.ascii, how.first)
    came = body([openings(client)[0], answer("So."), *case.messages], how)

    made = json.loads(reworded(came, CompactionRules(words, words), words or "x"))
    asked = json.loads(came)
    changed = list(differing(asked, made))
    assert len(changed) == 2 + case.is_old
    assert all(isinstance(it, str) for it in changed)


def differing(one: Any, other: Any) -> list[Any]:  # noqa: ANN401 JSON
    """The values of the first that are others in the second, whose form is the same."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert list(one) == list(other)
        return [it for name in one for it in differing(one[name], other[name])]
    if isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other)
        return [it for a, b in zip(one, other, strict=True) for it in differing(a, b)]
    return [] if one == other else [one]


@given(st.binary(max_size=200) | cases.map(Case.body), st.data())
@pytest.mark.spec("compact.garbage")
def test_no_bytes_raise(came: bytes, data: st.DataObject) -> None:
    """A body that is broken at some place, or none at all."""
    at = data.draw(st.integers(0, len(came)))
    put = data.draw(st.sampled_from([b"", b"\xff", b'"', b"{", b"]", b"\\ud800", b"null", b",", b"\0"]))
    broken = came[:at] + put + came[at + data.draw(st.integers(0, 9)) :]
    made = reworded(broken)
    assert made == broken or chain.read(broken, "s") is not None


def test_markers_stay_where_they_are() -> None:
    said = {**text(instruction("2.1.9", WISHES)), "cache_control": MARKER}
    came = body([prompt("Tea?"), answer("Yes."), {"role": "user", "content": [said]}])
    made = json.loads(reworded(came))
    assert made["messages"][-1]["content"][0]["cache_control"] == MARKER
