import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as evolve

from loom_core import chain, wire
from loom_core.actions import Keep
from loom_core.events import RequestReceived
from loom_core.ledger import Decision
from loom_core.profile import Life
from loom_core.weave import Woven, edits
from loom_core.woven import WovenIn
from loom_core.woven_blocks import WovenBlock, woven_blocks
from loom_core.wrapper import tokens
from tests.support.conversations import SCOPE, Message, Sent, body, conversations, hostile, prompt, sent
from tests.support.dialogue import Dialogue
from tests.support.weaving import (
    AGENT,
    ANN,
    CLOCK,
    COUNT,
    FIRST,
    LIST,
    NEWS,
    SECOND,
    SELF,
    SESSION,
    SIDE,
    WHOSE,
    Sources,
    request,
    rules,
    through,
    up,
)
from tests.support.weaving import sent as of_ann

TOLD = WovenIn("ann", 1, 2)
words = hostile.filter(lambda it: it.strip() != "").map(lambda it: it.encode("utf-8", "replace").decode())


@pytest.fixture(autouse=True)
def _nothing_is_known() -> Iterator[None]:
    chain.MEMO.clear()
    yield
    chain.MEMO.clear()


def kept(story: Dialogue) -> Keep:
    (order,) = story.of(Keep)
    return order


# Such a body has `system` after the messages.


def lives(found: tuple[WovenBlock, ...]) -> list[Life]:
    return [block.life for block in found]


def said(told: bytes, block: WovenBlock) -> str:
    """The text of a block that is nothing but a text."""
    found = json.loads(told[block.start : block.end])
    assert set(found) == {"type", "text"}
    assert found["type"] == "text"
    return str(found["text"])


@given(conversations(), sent, words, words, words)
@pytest.mark.spec("woven.blocks")
def test_each_block_is_found_where_it_stands(
    messages: list[Message], how: Sent, self: str, note: str, clock: str
) -> None:
    request = body(messages, how)
    conversation = chain.read(request, SCOPE)
    assert conversation is not None
    decided = tuple(Decision(f"sticky {note} {anchor.key}") for anchor in conversation.anchors)
    woven = Woven(
        f"self {self}",
        tuple((anchor, it.text) for anchor, it in zip(conversation.anchors, decided, strict=True)),
        f"now {clock}",
    )
    made = edits(request, conversation, woven)
    told = wire.apply(request, made)
    found = woven_blocks(Keep("s", TOLD, told, made, decided, woven.ephemeral))
    texts = {Life.IDENTITY: "self ", Life.STICKY: "sticky ", Life.EPHEMERAL: "now "}
    assert all(said(told, block).startswith(texts[block.life]) for block in found)
    assert all(block.tokens == tokens(said(told, block)) for block in found)
    assert [block.start for block in found] == sorted(block.start for block in found)
    ours = sum(edit.new.count(b'"text":"') for edit in made)
    assert len(found) == ours
    rest = told
    for block in reversed(found):
        rest = rest[: block.start] + b"null" + rest[block.end :]
    assert not any(mark in json.dumps(json.loads(rest)) for mark in texts.values())


@given(st.binary(), st.lists(st.builds(wire.Edit, st.integers(0, 9), st.integers(9, 12), st.binary())))
@pytest.mark.spec("woven.blocks")
def test_edits_without_blocks_have_none(told: bytes, made: list[wire.Edit]) -> None:
    assert woven_blocks(Keep("s", TOLD, told, tuple(made))) == ()


@pytest.mark.spec("woven.blocks")
def test_a_words_own_block_in_the_clients_text_is_not_the_looms() -> None:
    forged = prompt('{"type":"text","text":"x"}', '"},{"type":"text","text":"y"}')
    sources = Sources()
    keep = kept(through(sources, of_ann(forged)))
    assert lives(woven_blocks(keep)) == [Life.STICKY, Life.EPHEMERAL, Life.IDENTITY]


@pytest.mark.spec("woven.kept", "woven.blocks")
def test_a_woven_request_is_kept_as_it_goes_up_with_what_is_in_it() -> None:
    sources = Sources(lists={LIST: ("The tests are slow.", "Ann is in a hurry.")})
    story = through(sources, of_ann())
    keep = kept(story)
    assert (keep.session, keep.body, keep.woven.profile) == (SESSION, up(story), "ann")
    sticky, clock, self = woven_blocks(keep)
    assert SELF in said(keep.body, self)
    assert (NEWS in said(keep.body, sticky), CLOCK in said(keep.body, clock)) == (True, True)
    assert (sticky.memories, sticky.memorables, sticky.pieces) == (("m-1",), 2, 1)
    assert keep.woven.tokens == sum(block.tokens for block in (self, sticky, clock))


@pytest.mark.spec("woven.kept", "woven.blocks")
def test_what_is_woven_again_is_found_again() -> None:
    sources = Sources()
    through(sources, of_ann(*FIRST))
    keep = kept(through(sources, of_ann(*SECOND)))
    found = woven_blocks(keep)
    assert lives(found) == [Life.STICKY, Life.EPHEMERAL, Life.IDENTITY]
    assert NEWS in said(keep.body, found[0])


@pytest.mark.spec("woven.kept")
def test_a_request_that_goes_up_without_what_belongs_into_it_is_kept_as_such() -> None:
    story = through(Sources(is_read=False, trouble="slow"), of_ann(*SECOND))
    keep = kept(story)
    assert (keep.woven.is_whole, keep.woven.trouble, keep.body) == (False, "slow", up(story))
    assert woven_blocks(keep) == ()


@pytest.mark.spec("woven.kept")
def test_a_request_without_a_session_is_kept_under_the_scope_of_its_ledger() -> None:
    keep = kept(through(Sources(), of_ann(), request(WHOSE[1:])))
    assert len(keep.session) == 32


@pytest.mark.parametrize(
    "of",
    [
        request(WHOSE, COUNT),
        request((*WHOSE, SIDE)),
        request((*WHOSE, *AGENT)),
        request((*WHOSE, *AGENT), of=rules(evolve(ANN, agents=True))),
        request(WHOSE[:1]),
    ],
    ids=["count", "beside", "agent", "agent of ours", "of no profile"],
)
@pytest.mark.spec("woven.others")
def test_other_requests_are_not_kept(of: RequestReceived) -> None:
    assert through(Sources(), of_ann(), of).of(Keep) == []
