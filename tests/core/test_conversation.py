import base64
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.conversation import (
    MAX_PARTS,
    MAX_TEXT,
    MAX_TOOLS,
    Part,
    Said,
    answer,
    plain,
    read,
    without_content,
    words,
)
from loom_core.message import Block, Seen
from tests.support import conversations
from tests.support.behind import first
from tests.support.facts import SEEN, SYSTEM, TOOLS, body

HELLO = {"role": "user", "content": "hello"}


def only(*blocks: object, role: str = "user") -> tuple[Said, ...]:
    return read(body({"role": role, "content": list(blocks)}), 0).new


def test_a_request_is_read_whole() -> None:
    told = read(body(HELLO), 0)
    assert (told.total, told.earlier, told.left_out) == (1, 0, 0)
    assert told.new == (Said("user", (Part("text", "hello"),)),)
    assert told.system == (Part("text", SYSTEM[0]["text"]),)
    assert [(tool.name, tool.definition) for tool in told.tools] == [
        ("Bash", msgspec.json.encode(TOOLS[0]).decode())
    ]
    assert told.parameters == {"max_tokens": 1_000, "temperature": 0.5, "stream": True}
    assert read(body(system="Be brief."), 0).system == (Part("text", "Be brief."),)


def test_a_tool_goes_by_its_name_else_its_type_and_odd_ones_by_none() -> None:
    given = [{"type": "web_search"}, {"name": 5, "type": "t"}, {"name": "n" * 999}, 1, "x", None, []]
    told = read(body(HELLO, tools=given), 0).tools
    assert [tool.name for tool in told] == ["web_search", "t", "n" * 256, "", "", "", ""]
    assert [msgspec.json.decode(tool.definition) for tool in told] == given


@pytest.mark.spec("spans.linear")
def test_only_what_was_not_shown_is_told() -> None:
    request = body(HELLO, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "and?"})
    told = read(request, 2)
    assert (told.total, told.earlier) == (3, 2)
    assert told.new == (Said("user", (Part("text", "and?"),)),)
    assert read(request, 99).earlier == 3
    assert read(request, -1).earlier == 0


def test_blocks_become_parts() -> None:
    assert only(
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}},
        role="assistant",
    ) == (
        Said(
            "assistant",
            (
                Part("text", "a"),
                Part("reasoning", "hm", signature="s"),
                Part("tool_call", '{"command":"ls"}', id="t1", name="Bash"),
            ),
        ),
    )


@pytest.mark.spec("spans.tool-results")
def test_each_tool_result_is_a_message_of_its_own() -> None:
    told = only(
        {"type": "tool_result", "tool_use_id": "t1", "content": "one"},
        {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "two"}]},
        {"type": "text", "text": "go on"},
    )
    assert told == (
        Said("tool", (Part("text", "one"),), "t1"),
        Said("tool", (Part("text", "two"),), "t2"),
        Said("user", (Part("text", "go on"),)),
    )
    assert only({"type": "tool_result", "tool_use_id": "t1"}) == (Said("tool", (Part("text", ""),), "t1"),)


@pytest.mark.spec("spans.images")
def test_images_and_files_are_told_by_type_size_and_hash() -> None:
    octets = b"\x89PNG" + b"\x00" * 100
    coded = base64.b64encode(octets).decode()
    source = {"type": "base64", "media_type": "image/png", "data": coded}
    image = {"type": "image", "source": source}
    ((part,),) = (said.parts for said in only(image))
    assert part == Part("image", f"[image image/png, 104 bytes, sha256:{sha256(octets).hexdigest()}]")
    (result,) = only({"type": "tool_result", "tool_use_id": "t", "content": [image]})
    assert result.parts == (Part("text", part.text),)
    for block in (
        {"type": "document", "source": source | {"media_type": "application/pdf"}},
        {"type": "redacted_thinking", "data": coded},
        {"type": "image", "source": source | {"data": f"{coded}!"}},
    ):
        ((part,),) = (said.parts for said in only(block))
        assert coded[:20] not in part.text
        assert "sha256:" in part.text
    url = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
    assert "https://x/y.png" in only(url)[0].parts[0].text
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}}
    assert only(document)[0].parts == (Part("document", "words"),)


def test_unknown_blocks_are_shown_as_they_are() -> None:
    assert only({"type": "new_thing", "x": 1}) == (
        Said("user", (Part("new_thing", '{"type":"new_thing","x":1}'),)),
    )
    assert only("text", None, 5) == (
        Said("user", (Part("text", "text"), Part("unknown", ""), Part("unknown", "5"))),
    )


def test_lone_surrogates_and_odd_numbers_cost_one_message_at_most() -> None:
    request = rb'{"messages":[{"role":"user","content":"a\ud800b"},{"role":"user","content":"c","n":1e999}]}'
    told = read(request, 0)
    assert told.new[0] == Said("user", (Part("text", "a\ufffdb"),))
    assert told.total == 2
    pair = rb'{"messages":[{"role":"user","content":"\\ud83d \ud83d\ude00 \ude00"}]}'
    assert read(pair, 0).new[0].parts[0].text == "\\ud83d 😀 \ufffd"


@pytest.mark.spec("spans.capped")
def test_there_is_room_for_the_newest_messages() -> None:
    many = [{"role": "user", "content": f"{number:05}"} for number in range(MAX_PARTS)]
    told = read(body(*many), 0)
    assert told.new[-1].parts[0].text == f"{MAX_PARTS - 1:05}"
    assert told.left_out + len(told.new) == MAX_PARTS
    assert told.left_out > 0
    long = [{"role": "user", "content": "x" * 30_000}] * 100
    told = read(body(*long), 0)
    assert sum(len(said.parts[0].text) for said in told.new) <= MAX_TEXT
    assert told.left_out == 100 - len(told.new) > 0
    (told,) = only(*[{"type": "text", "text": "x"}] * 10_000)
    assert len(told.parts) <= MAX_PARTS
    assert len(read(body(tools=TOOLS * 2_000), 0).tools) == MAX_TOOLS


@given(
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["messages", "system", "tools", "content", "role", "type", "source", "data", "input"]
                )
                | st.text(),
                inner,
            )
        ),
        max_leaves=12,
    ).map(msgspec.json.encode),
    st.integers(),
)
def test_whatever_comes_reading_is_total(request: bytes, shown: int) -> None:
    told = read(request, shown)
    assert told.earlier + told.left_out <= told.total
    assert told == read(request, shown)


def test_an_answer_is_told_in_the_same_form() -> None:
    said = answer(SEEN)
    assert said.role == "assistant"
    assert [part.kind for part in said.parts] == ["reasoning", "text", "tool_call"]
    assert plain(said) == "I shall look."
    assert answer(Seen(blocks=(Block("tool_use", "", id="t", name="N"),))).parts[0].text == "{}"
    assert answer(Seen(blocks=(Block("", "?"),))).parts == (Part("unknown", "?"),)


@pytest.mark.spec("spans.content")
def test_without_content_no_word_is_left() -> None:
    said = without_content(answer(SEEN))
    assert [(part.kind, part.name, part.text, part.signature) for part in said.parts] == [
        ("reasoning", "", "", ""),
        ("text", "", "", ""),
        ("tool_call", "Bash", "", ""),
    ]


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"type": "text", "text": " a\nb "}, " a\nb "),
        ({"type": "thinking", "thinking": "hm", "signature": "s"}, "hm"),
        ({"type": "tool_use", "id": "t", "name": "Bash", "input": {"c": "ls"}}, 'Bash {"c":"ls"}'),
        ({"type": "tool_result", "tool_use_id": "t", "content": "done"}, "done"),
        ({"type": "tool_result", "content": [{"type": "text", "text": it} for it in "ab"]}, "a\n\nb"),
        ({"type": "unheard-of", "a": 1}, '{"type":"unheard-of","a":1}'),
        ("said", "said"),
        (None, ""),
        (5, "5"),
    ],
)
@pytest.mark.spec("woven.view")
def test_a_block_in_words(block: object, told: str) -> None:
    assert words(block) == told


@given(conversations.conversations(), conversations.sent, st.integers(1, 12), st.integers(0, 14))
@pytest.mark.spec("turn.call-new", "spans.linear")
def test_what_is_behind_changes_nothing(
    messages: list[conversations.Message], how: conversations.Sent, count: int, shown: int
) -> None:
    half = [conversations.prompt("\ud800")] if how.ascii else []
    request = conversations.body([*half, *messages, *half], how)
    assert read(request, shown, first(request, count)) == read(request, shown)
