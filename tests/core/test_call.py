import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.call import Call, CallKind, read, turn_key
from loom_core.metadata import Metadata
from loom_core.newest import ToolResult
from loom_core.trace import Traceparent
from loom_core.values import ExchangeKey, Headers, TurnKey
from tests.support import compactions, conversations
from tests.support.behind import first

PATH = b"/v1/messages"
EXCHANGE = ExchangeKey("x-1")
UUID = "5e551011-0000-4000-8000-000000000001"


def of(
    *messages: object,
    headers: Headers = (),
    path: bytes = PATH,
    metadata: Metadata | None = None,
    **fields: object,
) -> Call:
    return read(path, headers, json.dumps({"messages": messages, **fields}).encode(), metadata)


def user(*content: object) -> dict[str, object]:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def text(words: object) -> dict[str, object]:
    return {"type": "text", "text": words}


def result(tool: str, **more: object) -> dict[str, object]:
    return {"type": "tool_result", "tool_use_id": tool, **more}


@pytest.mark.spec("turn.call")
@pytest.mark.parametrize(
    ("headers", "system", "kind"),
    [
        ((), None, CallKind.MAIN),
        (((b"X-Claude-Code-Request-Class", b"main"),), None, CallKind.MAIN),
        (((b"x-claude-code-request-class", b"compaction"),), None, CallKind.COMPACTION),
        (((b"x-claude-code-request-class", b"side_reply"),), None, CallKind.AUXILIARY),
        (((b"x-claude-code-request-class", b"auxiliary"),), None, CallKind.AUXILIARY),
        (((b"x-claude-code-request-class", b"workflow"),), None, CallKind.SUBAGENT),
        (((b"x-claude-code-request-class", b"unheard-of"),), None, CallKind.MAIN),
        (((b"x-claude-code-agent-id", b"a1"),), None, CallKind.SUBAGENT),
        ((), [text("x-anthropic-billing-header: cc_is_subagent=true;")], CallKind.SUBAGENT),
        ((), "cc_is_subagent=true", CallKind.SUBAGENT),
        ((), [], CallKind.MAIN),
    ],
)
def test_the_kind_comes_from_headers_then_from_the_system_prompt(
    headers: Headers, system: object, kind: CallKind
) -> None:
    assert of(user("hi"), headers=headers, system=system).kind is kind
    assert of(headers=headers, path=PATH + b"/count_tokens").kind is CallKind.COUNT


@pytest.mark.spec("turn.call")
def test_the_session_comes_from_the_header_then_the_body_then_the_block() -> None:
    said = Metadata(session_id="of-the-block")
    new = {"user_id": json.dumps({"device_id": "d", "account_uuid": "u-1", "session_id": UUID})}
    old = {"user_id": f"user_ab_account__session_{UUID}"}
    header = ((b"x-claude-code-session-id", b"of-the-header"),)
    own = ((b"x-loom-session", b"own"), *header)
    assert of(headers=own, metadata=said, metadata_=1).session == "own"
    assert of(headers=header, metadata=said).session == "of-the-header"
    for described, name in ((new, "u-1"), (old, "user_ab_account_")):
        body = json.dumps({"messages": [], "metadata": described}).encode()
        found = read(PATH, (), body, said)
        assert (found.session, found.user_id) == (UUID, name)
    assert of(metadata=said).session == "of-the-block"
    assert read(PATH, (), b'{"metadata":{"user_id":"{broken"}}', None).session == ""
    assert read(PATH, (), b'{"metadata":{"user_id":"somebody"}}', None).user_id == "somebody"


@pytest.mark.spec("turn.call")
def test_the_prompt_is_what_a_hook_says_else_what_the_body_does() -> None:
    assert of(user("one"), user("two")).prompt == "two"
    assert of(user("one"), metadata=Metadata(prompt="told")).prompt == "told"
    found = of(user("List files."), {"role": "assistant", "content": "Well."}, user(result("t1")))
    assert (found.prompt, found.results) == ("List files.", (ToolResult("t1", is_error=False),))
    assert found.messages == 3


@pytest.mark.parametrize("case", compactions.CASES, ids=lambda it: it.name)
@pytest.mark.spec("compact.kind", "compact.no-prompt", "compact.agents")
def test_a_compaction_is_known_by_header_or_words_and_has_no_prompt(case: compactions.Case) -> None:
    agent = ((b"x-claude-code-agent-id", b"a1"),)
    for headers in (case.headers, (*case.headers, *agent)):
        found = read(PATH, headers, case.body(), None)
        assert (found.kind, found.prompt) == (CallKind.COMPACTION, "")
        assert not any(name.startswith("text:") for name in found.names)
    assert found.agent == "a1"


@pytest.mark.spec("compact.kind", "compact.class-believed")
def test_a_client_that_names_another_class_is_believed() -> None:
    said = compactions.instruction(compactions.NEW_CLIENT)
    for told, kind in ((b"main", CallKind.MAIN), (b"auxiliary", CallKind.AUXILIARY)):
        found = of(user(said), headers=((b"x-claude-code-request-class", told),))
        assert (found.kind, found.prompt) == (kind, said)
        assert found.compaction is not None


@pytest.mark.spec("compact.kind")
def test_what_is_only_like_a_compaction_stays_what_it_is() -> None:
    found = of(user(compactions.instruction("2.1.9")), system="Be brief.")
    assert (found.kind, found.compaction is None) == (CallKind.MAIN, False)


@pytest.mark.spec("compact.no-prompt")
def test_a_conversation_that_goes_on_from_a_summary_is_named_by_what_was_typed() -> None:
    told = compactions.continued(compactions.NEW_CLIENT)
    assert (of(user(told)).prompt, of(user(told)).names) == ("", ())
    assert of(user(told), user("Tea?")).names == of(user("Tea?")).names


@pytest.mark.spec("turn.call", "turn.joins")
def test_a_turn_goes_by_prompt_id_and_trace_else_by_its_text() -> None:
    header = ((b"x-claude-code-prompt-id", b"p1"),)
    said = Metadata(prompt_id="p0", trace_id="f" * 32)
    assert of(user("hi"), headers=header).names == ("prompt:p1",)
    assert of(user("hi"), metadata=said).names == ("prompt:p0", f"trace:{'f' * 32}")
    (name,) = of(user("hi")).names
    assert name.startswith("text:")
    assert of(user("hi"), user(result("t1"))).names == (name,)
    assert of(user("ho")).names != (name,)
    assert of().names == ()


@pytest.mark.spec("turn.stale")
def test_a_block_of_an_earlier_prompt_is_not_of_this_call() -> None:
    header = ((b"x-claude-code-prompt-id", b"p1"),)
    assert of(user("hi"), headers=header, metadata=Metadata(prompt_id="p0", prompt="old")).metadata is None
    for said in (Metadata(prompt_id="p1"), Metadata(trace_id="f" * 32)):
        assert of(user("hi"), headers=header, metadata=said).metadata == said


@pytest.mark.spec("turn.call")
def test_headers_tell_of_agents_sources_and_traces() -> None:
    headers = (
        (b"x-claude-code-agent-id", b"a1"),
        (b"x-claude-code-parent-agent-id", b"a0"),
        (b"x-claude-code-agent-type", b"Explore"),
        (b"x-loom-source", b"mine"),
        (b"traceparent", f"00-{'a' * 32}-{'b' * 16}-03".encode()),
    )
    found = of(headers=headers, metadata=Metadata(source="laptop"), model="m")
    assert (found.agent, found.parent_agent, found.agent_type) == ("a1", "a0", "Explore")
    assert (found.source, found.link) == ("mine", Traceparent("a" * 32, "b" * 16))
    assert found.model == "m"
    assert of(metadata=Metadata(source="laptop")).source == "laptop"


@pytest.mark.spec("turn.call")
def test_lone_surrogates_hide_nothing() -> None:
    body = rb'{"model":"m","messages":[{"role":"user","content":"a \ud800 b"}],"system":"\udfff"}'
    found = read(PATH, (), body, None)
    assert (found.prompt, found.model, found.messages) == ("a \ufffd b", "m", 1)
    assert found.system_hash


def test_the_system_prompt_is_known_by_its_hash() -> None:
    assert of(system="a").system_hash == of(system="a", model="m").system_hash != of(system="b").system_hash
    assert of().system_hash == ""


@pytest.mark.spec("turn.key")
def test_a_call_without_a_session_is_known_by_its_prompt() -> None:
    agent = ((b"x-claude-code-agent-id", b"a1"),)
    session = ((b"x-claude-code-session-id", b"s1"),)
    asked = of(user("hi"), headers=agent)
    assert turn_key(of(headers=(*session, *agent)), EXCHANGE) == TurnKey("s1", "a1")
    assert turn_key(of(headers=session), EXCHANGE) == TurnKey("s1", "")
    assert turn_key(asked, EXCHANGE) == TurnKey(f"~{asked.names[0]}", "a1")
    assert turn_key(of(), EXCHANGE) == TurnKey("~x-1", "")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["user", "text"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "tool_use_id", "user_id"]), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@pytest.mark.spec("turn.call")
@given(st.dictionaries(st.sampled_from(["messages", "system", "metadata", "model"]), VALUES) | VALUES)
def test_no_json_raises(asked: object) -> None:
    assert read(PATH, (), json.dumps(asked).encode(), None).session == "" or isinstance(asked, dict)


@pytest.mark.spec("turn.call")
@given(st.binary(max_size=40))
def test_no_bytes_raise(body: bytes) -> None:
    assert read(PATH, (), body, None).results == ()


@given(
    conversations.conversations(),
    conversations.sent,
    st.integers(1, 12),
    st.sampled_from([None, Metadata(prompt_id="p", prompt="typed")]),
)
@pytest.mark.spec("turn.call-new")
def test_what_is_behind_changes_nothing(
    messages: list[conversations.Message], how: conversations.Sent, count: int, metadata: Metadata | None
) -> None:
    half = [conversations.prompt("\ud800")] if how.ascii else []
    request, headers = conversations.body([*half, *messages, *half], how), ()
    whole = read(PATH, headers, request, metadata)
    assert read(PATH, headers, request, metadata, first(request, count)) == whole
