from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.block import CANARY
from loom_core.events import RequestChunkReceived
from loom_core.exchange import AwaitingHead
from loom_core.outgoing import Taken, taken_whole
from loom_shell.inspect import request as inspected
from loom_shell.inspect.request import Requests
from loom_shell.inspect.shown import Asked, Block
from loom_shell.inspect.texts import Texts
from tests.support.compactions import CONTINUATION, NEW_CLIENT, PROMPT, Case, continued
from tests.support.conversations import Message, Sent, answer, body, conversations, prompt, sent, text
from tests.support.inspected import Story, frames
from tests.support.weaving import COMPACTION, COUNT, IDENTITY, MAIN, WHOSE, request

Shown = list[tuple[str, str]]


class Read:
    """Requests of a story, as a page shows them."""

    def __init__(self) -> None:
        self.texts = Texts()
        self.requests = Requests(self.texts)
        self.story = Story()

    def goes_up(self, *messages: Message, **how: Any) -> Asked:  # noqa: ANN401
        number = len(self.story.records)
        key = self.story.asks(f"x-{number}", list(messages), **how)
        steps = [step for step in self.story.steps if step.key == key]
        taken = next(it.after.taken for it in steps if isinstance(it.after, AwaitingHead))
        client = next(it.event.data for it in steps if isinstance(it.event, RequestChunkReceived))
        self.story.gets(key, *frames(text("Yes.")))
        return self.requests.asked("s", client, taken)

    def told(self, blocks: list[Block]) -> Shown:
        return [(it.mark, self.texts.listed[it.text][0] if it.text >= 0 else "") for it in blocks]


@pytest.mark.spec("inspect.woven")
def test_what_was_woven_is_marked_by_its_life() -> None:
    read = Read()
    asked = read.goes_up(prompt("Tea?"))
    assert read.told(asked.system)[-1] == ("identity", IDENTITY)
    [message] = asked.messages
    assert [(mark, words.partition("\n")[0]) for mark, words in read.told(message.blocks)] == [
        ("", "Tea?"),
        ("sticky", "<system-reminder>"),
        ("ephemeral", "<system-reminder>"),
    ]
    assert message.blocks[1].holds == "1 piece, memory m-1"
    assert message.blocks[1].tokens > 20
    assert asked.tools == ["Bash", "Read"]


@pytest.mark.spec("inspect.woven")
def test_a_count_replays_and_its_blocks_are_marked_though_nothing_was_kept_of_them() -> None:
    read = Read()
    read.goes_up(prompt("Tea?"))
    asked = read.goes_up(prompt("Tea?"), target=COUNT)
    assert read.told(asked.system)[-1] == ("identity", IDENTITY)
    assert [block.mark for block in asked.messages[0].blocks] == ["", "sticky"]


@pytest.mark.spec("inspect.earlier")
def test_messages_that_were_sent_before_are_counted_and_show_what_was_woven() -> None:
    read = Read()
    read.goes_up(prompt("Tea?"))
    asked = read.goes_up(prompt("Tea?"), answer("Yes."), prompt("Milk?"))
    assert (asked.earlier, [message.number for message in asked.messages]) == (1, [1, 2, 3])
    old = asked.messages[0]
    assert ([block.mark for block in old.blocks], old.left) == (["sticky"], 1)
    assert read.told(asked.messages[2].blocks)[0] == ("", "Milk?")


@pytest.mark.spec("inspect.earlier")
def test_a_request_that_is_made_again_shows_its_last_message() -> None:
    read = Read()
    first = read.goes_up(prompt("Tea?"), headers=())
    again = read.goes_up(prompt("Tea?"), headers=())
    assert (first.earlier, again.earlier) == (0, 0)
    assert len(again.messages) == 1


@pytest.mark.spec("inspect.woven")
def test_the_words_of_a_compaction_stand_beside_the_clients_own() -> None:
    read = Read()
    case = Case(NEW_CLIENT, "own")
    read.goes_up(*case.before)
    asked = read.goes_up(*case.messages, headers=(*WHOSE, COMPACTION))
    (block,) = (it for message in asked.messages for it in message.blocks if it.mark == "reworded")
    assert read.texts.listed[block.text][0].startswith(PROMPT)
    assert read.texts.listed[block.was][0] == case.said
    going_on = read.goes_up(prompt(continued(NEW_CLIENT)), headers=(*WHOSE, MAIN))
    (block,) = (it for it in going_on.messages[0].blocks if it.mark == "reworded")
    assert CONTINUATION in read.texts.listed[block.text][0]


@pytest.mark.spec("inspect.woven")
@pytest.mark.parametrize("beside", ["", "words\n\n"])
def test_metadata_that_was_cut_out_is_shown_as_cut(beside: str) -> None:
    canary = CANARY.decode()
    hook = f'{beside}UserPromptSubmit hook additional context: {canary} {{"canary":"{canary}"}} {canary}'
    client = body([prompt("Tea?", hook)])
    taken = taken_whole(request(headers=()), client)
    assert taken.found.cut == 1
    texts = Texts()
    [message] = Requests(texts).asked("s", client, taken).messages
    (cut,) = (block for block in message.blocks if block.mark)
    assert (cut.mark, texts.listed[cut.was][0]) == ("cut", hook)
    assert (texts.listed[cut.text][0].strip() if cut.text >= 0 else "") == beside.strip()


@pytest.mark.spec("inspect.bounded")
def test_of_many_messages_and_blocks_the_newest_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspected, "MOST_MESSAGES", 2)
    monkeypatch.setattr(inspected, "MOST_BLOCKS", 3)
    client = body([answer("a"), prompt("b"), prompt(*"cdefg")])
    asked = Requests(Texts()).asked("s", client, taken_whole(request(headers=()), client))
    assert ([it.number for it in asked.messages], asked.left) == ([2, 3], 1)
    assert (len(asked.messages[1].blocks), asked.messages[1].left) == (3, 2)


@pytest.mark.parametrize(
    "client", [b"", b"{", b"[]", b'{"messages":5}', b'{"messages":[5,{"role":1}]}', b"\xff"]
)
def test_what_cannot_be_read_raises_nothing(client: bytes) -> None:
    asked = Requests(Texts()).asked("s", client, Taken(request(), client, len(client)))
    assert all(message.blocks for message in asked.messages)


@given(conversations(), sent)
def test_every_block_that_went_up_is_shown_and_none_is_marked_that_is_the_clients(
    messages: list[Message], how: Sent
) -> None:
    client = body(messages, how)
    taken = taken_whole(request(headers=()), client)
    asked = Requests(Texts()).asked("s", client, taken)
    shown = sum(len(message.blocks) + message.left for message in asked.messages)
    assert shown == sum(len(it["content"]) for it in messages)
    assert not any(block.mark for message in asked.messages for block in message.blocks)


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abcX"), max_size=8))
def test_two_requests_are_compared_without_losing_a_block(before: list[str], after: list[str]) -> None:
    client, up = (body([prompt(*words)]) for words in (before, after))
    taken = Taken(request(headers=()), up, len(client), is_edited=True)
    texts = Texts()
    told = [
        block for message in Requests(texts).asked("s", client, taken).messages for block in message.blocks
    ]
    words = [texts.listed[block.text][0] for block in told if block.text >= 0]
    assert words == after
    theirs = [
        texts.listed[block.was if block.was >= 0 else block.text][0]
        for block in told
        if block.mark != "added"
    ]
    assert theirs == before
