import json
from collections.abc import Iterator
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loom_core import chain, wire
from loom_core.block import CANARY
from loom_core.chain import Conversation
from loom_core.meter import Meter, measure
from loom_core.weave import NOTHING, Woven, edits
from tests.support.conversations import (
    MARKER,
    SCOPE,
    STYLES,
    Message,
    Sent,
    answer,
    asks_tool,
    body,
    conversations,
    flat,
    hostile,
    markers,
    prompt,
    restored,
    result,
    sent,
    text,
    without,
)

SELF, NOTE, CLOCK = 'OURS: "who" you are\n', "OURS: a ü note", "OURS: 12:00"


@pytest.fixture(autouse=True)
def _nothing_is_known() -> Iterator[None]:
    chain.MEMO.clear()
    yield
    chain.MEMO.clear()


def read(request: bytes) -> Conversation:
    found = chain.read(request, SCOPE)
    assert found is not None
    return found


def woven(request: bytes, what: Woven) -> bytes:
    return wire.apply(request, edits(request, read(request), what))


def everywhere(request: bytes, *, identity: str = SELF, ephemeral: str = "") -> Woven:
    """Something at every anchor, each another text."""
    anchors = read(request).anchors
    return Woven(identity, tuple((it, f"{NOTE} {it.key}") for it in anchors), ephemeral)


def parsed(request: bytes) -> dict[str, Any]:
    asked: dict[str, Any] = json.loads(request)
    return asked


class Ledger:
    """What has been decided, first writer wins: a model of what drives weaving."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}

    def weave(self, request: bytes) -> bytes:
        """The newest anchor gets a text or none, once; an old one that was never decided stays empty."""
        found = read(request)
        for anchor in found.anchors:
            wants = anchor == found.newest and int(anchor.key[:2], 16) % 4
            self.fields.setdefault(anchor.key, f"{NOTE} {len(self.fields)}" if wants else "")
        identity = self.fields.setdefault(found.root, f"{SELF} {blake2b(found.root.encode()).hexdigest()}")
        return woven(request, Woven(identity, tuple((it, self.fields[it.key]) for it in found.anchors)))


steps = st.lists(st.tuples(st.integers(0, 12), conversations(), sent, st.booleans()), min_size=2, max_size=6)


def joined(messages: list[Message]) -> list[Message]:
    """As a client sends prompts that nobody answered: those that follow each other are one message."""
    made: list[Message] = []
    for it in messages:
        are_prompts = made and all(
            one["role"] == "user" and all(block["type"] != "tool_result" for block in one["content"])
            for one in (made[-1], it)
        )
        if are_prompts:
            made[-1] = {**it, "content": [*made[-1]["content"], *it["content"]]}
        else:
            made.append(it)
    return made


@given(steps)
@pytest.mark.spec("weave.prefix", "weave.repeat")
def test_every_request_extends_in_woven_form_what_it_extends(
    steps: list[tuple[int, list[Message], Sent, bool]],
) -> None:
    """Growing, rewinding, editing and forking; against every earlier request, not only the last."""
    ledger, told = Ledger(), []
    messages: list[Message] = []
    for back, more, how, joins in steps:
        messages = messages[: max(0, len(messages) - back)] + more
        request = body(joined(messages) if joins else messages, how)
        made = ledger.weave(request)
        assert ledger.weave(request) == made
        told.append((flat(request), flat(made)))
    for before, before_woven in told:
        for after, after_woven in told:
            if after[: len(before)] == before:
                assert after_woven[: len(before_woven)] == before_woven


@given(conversations(), sent, st.sampled_from(["", CLOCK]))
@pytest.mark.spec("weave.insert", "weave.markers", "weave.grammar")
def test_with_our_blocks_taken_out_it_is_the_clients(
    messages: list[Message], how: Sent, ephemeral: str
) -> None:
    request = body(messages, how)
    what = everywhere(request, ephemeral=ephemeral)
    made = edits(request, read(request), what)
    result = wire.apply(request, made)
    assert restored(result, made, request) == request
    replaced = [request[edit.start : edit.end] for edit in made if edit.start != edit.end]
    assert all(old in {b"null", b'""', b"[]"} for old in replaced)
    ours = [SELF, CLOCK, *(words for _, words in what.decided)]
    assert without(result, ours) == without(request, ours)
    assert markers(result) == markers(request)
    assert (
        list(parsed(result)) in (list(parsed(request)), [*list(parsed(request)), "system"])
        or how.system == "none"
    )
    for message in parsed(result)["messages"]:
        blocks = message["content"] if isinstance(message["content"], list) else []
        added = [block for block in blocks if block.get("text", "").startswith("OURS")]
        assert not added or message["role"] == "user"
        assert not added or all(block["type"] != "tool_result" for block in blocks)
        assert not added or blocks[0] not in added, "behind the client's own"
        assert not any("cache_control" in block for block in added)


@given(conversations(), sent)
@pytest.mark.spec("weave.none")
def test_nothing_woven_is_no_edit(messages: list[Message], how: Sent) -> None:
    request = body(messages, how)
    found = read(request)
    for nothing in (NOTHING, Woven(" \n", tuple((it, "") for it in found.anchors), "\t")):
        assert edits(request, found, nothing) == ()
    assert woven(request, NOTHING) is request


@given(conversations(), st.lists(hostile, min_size=3, max_size=3))
@pytest.mark.spec("weave.canary", "weave.garbage")
def test_no_text_whatever_brings_a_canary_or_breaks_the_body(
    messages: list[Message], texts: list[str]
) -> None:
    request = body(messages)
    assume(CANARY not in request)
    what = Woven(texts[0], tuple((it, texts[1]) for it in read(request).anchors), texts[2])
    made = woven(request, what)
    assert CANARY not in made
    assert read(made).size == len(made), "it is still a request"


@pytest.mark.parametrize(
    ("system", "after"),
    [
        (b"", b',"system":[OURS]'),
        (b',"system":null', b',"system":[OURS]'),
        (b',"system":""', b',"system":[OURS]'),
        (b',"system":[ ]', b',"system":[OURS]'),
        (b',"system":"a\\u0062"', b',"system":[{"type":"text","text":"a\\u0062"},OURS]'),
        (b',"system":[{"type":"text"} ]', b',"system":[{"type":"text"},OURS ]'),
        (b',"system":[1,\n2\n]', b',"system":[1,\n2,OURS\n]'),
        (b',"system":5', b',"system":5'),
        (b',"system":{"a":[]}', b',"system":{"a":[]}'),
    ],
)
@pytest.mark.spec("weave.identity")
def test_the_identity_comes_after_the_clients_system(system: bytes, after: bytes) -> None:
    request = b'{"model":"m","messages":[]' + system + b',"x":1e0}'
    ours = b'{"type":"text","text":"OURS: \\"who\\" you are\\n"}'
    expected = b'{"model":"m","messages":[]' + after.replace(b"OURS", ours) + b',"x":1e0}'
    assert woven(request, Woven(SELF)) == expected


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.spec("weave.sticky", "weave.ephemeral")
def test_texts_come_after_the_prompts_last_block(style: tuple[str, str]) -> None:
    messages = [prompt("a"), asks_tool("t"), result("t", "x"), answer("b"), prompt("r", "c")]
    request = body(messages, Sent(style=style))
    found = read(request)
    what = Woven("", ((found.anchors[0], NOTE), (found.anchors[-1], NOTE + "2")), CLOCK)
    made = parsed(woven(request, what))["messages"]
    assert made[0]["content"] == [text("a"), text(NOTE)]
    assert made[1:4] == parsed(request)["messages"][1:4]
    assert made[4]["content"] == [text("r"), text("c"), text(NOTE + "2"), text(CLOCK)]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.spec("weave.sticky")
def test_a_text_stays_where_the_prompt_once_ended(style: tuple[str, str]) -> None:
    """An interrupted prompt, and what was typed after it, are one message."""
    before = read(body([prompt("a")], Sent(style=style)))
    request = body([prompt("a", "[interrupted]", "b")], Sent(style=style))
    found = read(request)
    assert before.newest
    assert next((it.key, it.is_past) for it in found.anchors) == (before.newest.key, True)
    what = Woven("", ((found.anchors[0], NOTE), (found.anchors[-1], NOTE + "2")), CLOCK)
    made = parsed(woven(request, what))["messages"][0]["content"]
    assert made == [text(it) for it in ("a", NOTE, "[interrupted]", "b", NOTE + "2", CLOCK)]


SYSTEM = {"role": "system", "content": [text("x")]}


@pytest.mark.parametrize(
    ("messages", "marked", "is_woven"),
    [
        ([prompt("a")], (), True),
        ([prompt("a")], (0,), True),
        ([prompt("a"), SYSTEM], (), True),
        ([prompt("a"), SYSTEM], (1,), True),
        ([prompt("a"), SYSTEM], (0,), False),
        ([prompt("a"), answer("b")], (), False),
        ([prompt("a"), asks_tool("t"), result("t")], (0,), False),
        ([prompt("a"), answer("b"), prompt("c")], (0, 2), True),
    ],
)
@pytest.mark.spec("weave.ephemeral")
def test_ephemeral_text_is_never_under_a_marker(
    messages: list[Message], marked: tuple[int, ...], *, is_woven: bool
) -> None:
    for strings in (1, 2):
        request = body(messages, Sent(strings=strings, markers=marked))
        made = woven(request, Woven(ephemeral=CLOCK))
        assert (made != request) is is_woven
        asked = parsed(made)
        covered = [block for block in _up_to_the_last_marker(asked) if block == text(CLOCK)]
        assert covered == []
        whole = request[:-1] + b',"cache_control":{"type":"ephemeral"}}'
        assert woven(whole, Woven(ephemeral=CLOCK)) == whole


def _up_to_the_last_marker(asked: dict[str, Any]) -> list[Any]:
    blocks = [
        it
        for message in asked["messages"]
        if isinstance(message["content"], list)
        for it in message["content"]
    ]
    last = max((at for at, block in enumerate(blocks) if "cache_control" in block), default=-1)
    return blocks[: last + 1]


@pytest.mark.spec("weave.sticky", "weave.repeat")
def test_an_anchor_takes_one_text_the_first() -> None:
    request = body([prompt("a")])
    anchor = read(request).anchors[0]
    made = woven(request, Woven(decided=((anchor, ""), (anchor, "one"), (anchor, "two"))))
    assert parsed(made)["messages"][0]["content"] == [text("a"), text("one")]


@pytest.mark.spec("weave.other-body")
def test_a_conversation_read_from_another_body_gives_no_edits() -> None:
    request = body([prompt("a")])
    assert edits(request + b" ", read(request), everywhere(request)) == ()


@pytest.mark.spec("weave.surrogates", "weave.insert")
def test_halves_of_pairs_stay_and_ours_become_question_marks() -> None:
    request = b'{"messages":[{"role":"user","content":"\\ud83d"}],"system":"\\ude00"}'
    made = woven(request, everywhere(request, identity="OURS \ud83d"))
    assert made.startswith(b'{"messages":[{"role":"user","content":[{"type":"text","text":"\\ud83d"},{"type"')
    assert b'"system":[{"type":"text","text":"\\ude00"},{"type":"text","text":"OURS ?"}]' in made


@pytest.mark.spec("weave.prefix")
def test_what_upstream_has_cached_is_read_as_far_as_without_weaving() -> None:
    """The client's three markers: two in system, one on the newest block (contracts section 1)."""
    system = [text("s " * 3000) | {"cache_control": MARKER}, text("t " * 3000) | {"cache_control": MARKER}]
    turns: list[Message] = []
    ledger, bare, full, read_bare, read_full = Ledger(), Meter(), Meter(), 0, 0
    for number in range(12):
        turns += [prompt(f"prompt {number} " * 40), asks_tool("t"), result("t"), answer("done " * 40)]
        for until in (len(turns) - 3, len(turns) - 1):
            request = body(turns[:until], Sent(system=system, markers=(0,), strings=1 + number % 2))
            at = number * 10**9
            bare, figures = measure(bare, parsed(request), at)
            read_bare += figures.cache_read_input_tokens
            full, figures = measure(full, parsed(ledger.weave(request)), at)
            read_full += figures.cache_read_input_tokens
    assert read_full >= read_bare > 0


@given(conversations(), sent)
@pytest.mark.spec("weave.insert")
def test_edits_never_overlap(messages: list[Message], how: Sent) -> None:
    request = body(messages, how)
    made = sorted(edits(request, read(request), everywhere(request)), key=lambda edit: edit.start)
    assert all(one.end < two.start for one, two in pairwise(made))
