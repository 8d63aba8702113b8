import json
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core import chain
from loom_core.chain import Conversation
from tests.support.conversations import (
    MARKER,
    PICTURE,
    SCOPE,
    STYLES,
    Message,
    Sent,
    answer,
    asks_tool,
    body,
    conversations,
    prompt,
    result,
    sent,
    text,
)


@pytest.fixture(autouse=True)
def _nothing_is_known() -> Iterator[None]:
    chain.MEMO.clear()
    yield
    chain.MEMO.clear()


def read(request: bytes, scope: str = SCOPE) -> Conversation:
    found = chain.read(request, scope)
    assert found is not None
    return found


def afresh(request: bytes, scope: str = SCOPE) -> Conversation:
    chain.MEMO.clear()
    return read(request, scope)


def keys(messages: Sequence[Message], how: Sent = Sent(), scope: str = SCOPE) -> list[str]:  # noqa: B008, frozen
    return [anchor.key for anchor in read(body(messages, how), scope).anchors]


TURNS = [prompt("a"), answer("b"), prompt("a"), asks_tool("t"), result("t", "and"), answer("c"), prompt("a")]


@pytest.mark.spec("weave.places")
def test_equal_prompts_have_keys_of_their_own() -> None:
    found = keys(TURNS)
    assert len(set(found)) == len(found) == 3
    assert all(len(key) == 32 and set(key) <= set("0123456789abcdef") for key in found)


@pytest.mark.spec("weave.chain")
def test_a_key_tells_of_everything_up_to_it_and_of_nothing_after() -> None:
    first, second, third = keys(TURNS)
    assert keys(TURNS, scope="f" * 32)[0] != first
    assert keys([prompt("x"), *TURNS[1:]])[1] != second
    assert keys([*TURNS[:-2], answer("x"), TURNS[-1]]) != [first, second, third]
    assert keys([*TURNS[:-2], answer("x"), TURNS[-1]])[:2] == [first, second]
    assert keys(TURNS[:-1]) == [first, second]
    as_system = {**answer("b"), "role": "system"}
    assert keys([TURNS[0], as_system, *TURNS[2:]])[1] != second


@given(conversations(), sent, sent)
@pytest.mark.spec("weave.flips")
def test_how_a_call_writes_it_down_changes_no_key(messages: list[Message], one: Sent, two: Sent) -> None:
    first, second = afresh(body(messages, one)), read(body(messages, two))
    assert [(it.key, it.message) for it in first.anchors] == [(it.key, it.message) for it in second.anchors]
    assert first.root == second.root
    assert (first.newest is None) == (second.newest is None)


@given(conversations(), conversations(), sent, sent)
@pytest.mark.spec("weave.extends")
def test_anchors_stay_the_first_ones(
    messages: list[Message], more: list[Message], one: Sent, two: Sent
) -> None:
    before = keys(messages, one)
    after = keys([*messages, *more], two)
    assert after[: len(before)] == before


@given(conversations(), sent)
@pytest.mark.spec("weave.anchors", "weave.grammar")
def test_real_prompts_and_nothing_else_have_an_anchor(messages: list[Message], how: Sent) -> None:
    request = body(messages, how)
    found = read(request)
    real = [
        (index, number + 1 < len(message["content"]))
        for index, message in enumerate(messages)
        if message["role"] == "user" and all(block["type"] != "tool_result" for block in message["content"])
        for number in range(len(message["content"]))
    ]
    assert [(anchor.message, anchor.is_past) for anchor in found.anchors] == real
    listed = json.loads(request)["messages"]
    for anchor in found.anchors:
        content = listed[anchor.message]["content"]
        ends = b'"' if anchor.opens >= 0 else b"}"
        assert isinstance(content, str) == (anchor.opens >= 0)
        assert request[anchor.place - 1 : anchor.place] == ends
        if anchor.opens >= 0:
            assert json.loads(request[anchor.opens : anchor.place]) == content
        elif anchor.is_past:
            assert request[anchor.place :].lstrip().startswith(b",")
        else:
            assert request[anchor.place :].lstrip().startswith(b"]")


@pytest.mark.parametrize(
    ("messages", "newest"),
    [
        ([prompt("a")], 0),
        ([prompt("a"), {"role": "system", "content": [text("x")]}], 0),
        ([prompt("a"), answer("b")], None),
        ([prompt("a"), answer("b"), {"role": "system", "content": [text("x")]}], None),
        ([prompt("a"), asks_tool("t"), result("t")], None),
        ([prompt("a"), asks_tool("t"), result("t", "stop")], None),
        ([prompt("a"), asks_tool("t"), result("t"), PICTURE], 3),
        ([prompt("a"), prompt("b")], 1),
        ([answer("a")], None),
        ([], None),
    ],
)
@pytest.mark.spec("weave.newest")
def test_the_newest_anchor_is_the_last_one_unanswered(messages: list[Message], newest: int | None) -> None:
    found = read(body(messages)).newest
    assert (found and found.message) == newest


@pytest.mark.spec("weave.newest")
def test_behind_what_cannot_be_read_no_anchor_is_newest() -> None:
    found = read(b'{"messages":[{"role":"user","content":"a"},{"role":7,"content":"b"}]}')
    assert (len(found.anchors), found.newest) == (1, None)


@pytest.mark.spec("weave.anchors")
def test_a_prompt_with_a_repeated_key_has_no_anchor() -> None:
    found = read(b'{"messages":[{"role":"user","role":"user","content":"a"},{"role":"user","content":"a"}]}')
    assert [anchor.message for anchor in found.anchors] == [1]


@pytest.mark.spec("weave.surrogates")
def test_halves_of_pairs_keep_no_anchor_from_being_found() -> None:
    def bodied(half: bytes) -> bytes:
        return b'{"messages":[{"role":"user","content":"' + half + b'"},{"role":"user","content":"a"}]}'

    one, two = read(bodied(b"\\ud83d")), read(bodied(b"\\ud83e"))
    assert len(one.anchors) == len(two.anchors) == 2
    assert not {it.key for it in one.anchors} & {it.key for it in two.anchors}
    odd = bodied(b"\\ud83d")
    assert [odd[it.opens : it.place] for it in one.anchors] == [b'"\\ud83d"', b'"a"']


@pytest.mark.spec("weave.most-anchors", "weave.extends")
def test_prompts_beyond_the_most_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "MOST_ANCHORS", 2)
    found = read(body([prompt("a")] * 4))
    assert [anchor.message for anchor in found.anchors] == [0, 1]
    assert found.newest == found.anchors[-1], "as long as no assistant has spoken"


def marked(message: Message) -> Message:
    return {
        **message,
        "content": [*message["content"][:-1], {**message["content"][-1], "cache_control": MARKER}],
    }


NESTED = {
    **result("t"),
    "content": [{**result("t")["content"][0], "content": [text("x") | {"cache_control": MARKER}]}],
}


@pytest.mark.parametrize(
    ("messages", "under"),
    [
        ([prompt("a")], False),
        ([marked(prompt("a"))], False),
        ([marked(prompt("a")), answer("b"), prompt("c")], False),
        ([prompt("a"), marked({"role": "system", "content": [text("x")]})], True),
        ([prompt("a"), NESTED], True),
        ([prompt('"cache_control"'), {"role": "system", "content": [text('"cache_control"')]}], False),
    ],
)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.spec("weave.last-marker")
def test_the_last_marker_is_before_or_behind_the_newest_anchor(
    messages: list[Message], style: tuple[str, str], *, under: bool
) -> None:
    request = body(messages, Sent(style=style, system=[text("s") | {"cache_control": MARKER}]))
    found = read(request)
    assert found.newest is not None
    assert (found.last_marker > found.newest.place) is under
    escaped = request.replace(b'"cache_control"', b'"cache_contro\\u006c"')
    hidden = afresh(escaped)
    assert hidden.newest is not None
    assert (hidden.last_marker > hidden.newest.place) is (under and NESTED not in messages)


@pytest.mark.parametrize(("value", "is_marker"), [(b'{"type":"ephemeral"}', True), (b"null", False)])
@pytest.mark.spec("weave.last-marker")
def test_a_marker_on_the_whole_request_is_one_on_its_last_block(value: bytes, *, is_marker: bool) -> None:
    request = b'{"messages":[{"role":"user","content":"a"}],"cache_control":' + value + b"}"
    assert read(request).last_marker == (request.index(b"]") + 1 if is_marker else -1)


@pytest.mark.spec("weave.root")
def test_the_identity_is_pinned_by_scope_first_message_and_model() -> None:
    def root(*messages: Message, model: str = "m", scope: str = SCOPE) -> str:
        return read(body(messages).replace(b'"model":"m"', f'"model":"{model}"'.encode()), scope).root

    base = root(prompt("a"))
    assert root(prompt("a"), answer("b"), prompt("c")) == base
    assert root(marked(prompt("a"))) == base
    others = {root(prompt("b")), root(prompt("a"), model="n"), root(prompt("a"), scope="f" * 32), root()}
    assert len(others | {base}) == 5


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    st.one_of(
        st.binary(max_size=60),
        JSON.map(lambda it: json.dumps(it).encode()),
        JSON.map(lambda it: json.dumps({"messages": it, "system": it, "model": it}).encode()),
        JSON.map(lambda it: json.dumps({"messages": [{"role": "user", "content": it}, it]}).encode()),
    )
)
@pytest.mark.spec("weave.garbage")
def test_garbage_never_raises(request_body: bytes) -> None:
    found = chain.read(request_body, SCOPE)
    assert found is None or found == afresh(request_body)


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"{}",
        b"[]",
        b'{"messages":{}}',
        b'{"messages":null}',
        b'{"messages":"[]"}',
        b'{"messages":[]',
        b'{"messages":[],"messages":[]}',
        b'{"messages":[]}x',
        b'{"messages":[' + b"[" * 5000 + b"]" * 5000 + b"]}",
    ],
)
@pytest.mark.spec("weave.garbage")
def test_what_is_no_request_is_no_conversation(odd: bytes) -> None:
    assert chain.read(odd, SCOPE) is None


@pytest.mark.spec("weave.memo", "compact.prefix")
def test_where_a_compaction_begins_is_the_same_with_and_without_what_is_known() -> None:
    turns = [prompt("a"), *[it for n in range(20) for it in (answer(f"{n}"), prompt(f"p{n}"))]]
    asking = [*turns, prompt("sum up")]
    for messages in ([prompt("a"), prompt("sum up")], [prompt("a", "sum up")], asking):
        request = body(messages)
        chain.MEMO.clear()
        cold = chain.read(request, SCOPE, instructs=True)
        read(body(turns))
        read(body(asking))
        warm = chain.read(request, SCOPE, instructs=True)
        assert cold == warm
        assert cold
        assert cold.beginning == read(body([prompt("a")])).beginning
