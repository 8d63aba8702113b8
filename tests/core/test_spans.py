import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as evolve

from loom_core.metadata import Metadata
from loom_core.rules import SECOND, Content
from loom_core.spans import hook_span, tool_span, turn_span
from tests.support.facts import AT, METADATA, ROOT, SESSION, TRACE, tool_facts, turn_facts

SECRET = "sk-ant-api03-Abcdefgh1234567890"


@pytest.mark.spec("spans.tree")
def test_the_root_is_the_users_turn_with_input_and_output() -> None:
    span = turn_span(turn_facts())
    assert (span.trace_id, span.span_id, span.parent_id) == (TRACE, ROOT, "")
    assert (span.name, span.kind) == ("user-turn:5e551011", "internal")
    assert (span.start, span.end, span.error) == (AT - SECOND, AT + 6 * SECOND, "")
    assert span.attributes[:2] == (("openinference.span.kind", "AGENT"), ("session.id", SESSION))
    told = dict(span.attributes)
    assert (
        told.items()
        >= {
            "user.id": "user-1",
            "gen_ai.conversation.id": SESSION,
            "gen_ai.operation.name": "invoke_agent",
            "agent.name": "main",
            "loom.source": "laptop",
            "loom.turn.outcome": "complete",
            "loom.turn.calls": 2,
            "loom.turn.tokens.prompt": 4_310,
            "loom.turn.tokens.completion": 20,
            "loom.turn.models": ("claude-sonnet-5",),
            "input.value": "What is here?",
            "input.mime_type": "text/plain",
            "output.value": "Two files.",
            "output.mime_type": "text/plain",
        }.items()
    )
    assert json.loads(str(told["metadata"])) == {
        "source": "laptop",
        "cwd": "/srv/project",
        "prompt_id": "prompt-1",
        "started_at": AT - SECOND,
        "machine": {"fqdn": "box.example", "ram": "16000000000"},
    }


@pytest.mark.spec("spans.tokens")
def test_readers_that_add_up_tokens_find_them_once() -> None:
    assert not [name for name, _ in turn_span(turn_facts()).attributes if name.startswith("llm.token_count")]


@pytest.mark.spec("spans.tree")
def test_a_subagent_is_named_by_its_id() -> None:
    span = turn_span(turn_facts(agent="a1", agent_type="Explore", parent_id="f" * 16))
    assert (span.name, span.parent_id) == ("agent:a1", "f" * 16)
    assert dict(span.attributes).items() >= {"agent.name": "Explore", "gen_ai.agent.id": "a1"}.items()
    assert turn_span(turn_facts(session="")).name == "user-turn:unknown"


@pytest.mark.spec("spans.errors")
def test_a_failed_turn_is_an_error_and_an_abandoned_one_is_none() -> None:
    assert turn_span(turn_facts(outcome="failed: status 500")).error == "failed: status 500"
    assert turn_span(turn_facts(outcome="abandoned: next prompt")).error == ""
    assert tool_span(tool_facts(error="no result came")).error == "no result came"


@pytest.mark.spec("spans.tree")
def test_a_tool_call_is_a_span_with_its_arguments() -> None:
    span = tool_span(tool_facts(result="a b"))
    assert (span.trace_id, span.parent_id, span.name) == (TRACE, ROOT, "execute_tool Bash")
    assert (span.start, span.end) == (AT + 3 * SECOND, AT + 4 * SECOND)
    assert (
        dict(span.attributes).items()
        >= {
            "openinference.span.kind": "TOOL",
            "session.id": SESSION,
            "gen_ai.operation.name": "execute_tool",
            "tool.name": "Bash",
            "gen_ai.tool.name": "Bash",
            "tool.id": "toolu_1",
            "gen_ai.tool.call.id": "toolu_1",
            "input.value": '{"command":"ls"}',
            "input.mime_type": "application/json",
            "gen_ai.tool.call.arguments": '{"command":"ls"}',
            "output.value": "a b",
        }.items()
    )


def test_each_tool_call_has_an_id_of_its_own() -> None:
    ids = {
        tool_span(tool_facts(**what)).span_id
        for what in ({}, {"id": "toolu_2"}, {"trace_id": "c" * 32}, {"parent_id": "d" * 16}, {"start": AT})
    }
    assert len(ids) == 5


@pytest.mark.spec("spans.hook")
def test_the_hooks_span_has_the_ids_and_times_of_the_block() -> None:
    span = hook_span(TRACE, ROOT, SESSION, METADATA)
    assert (span.trace_id, span.span_id, span.parent_id) == (TRACE, "b7ad6b7169203331", ROOT)
    assert (span.name, span.start, span.end) == ("hook:collect-metadata", AT - SECOND, AT - SECOND // 2)
    assert dict(span.attributes)["openinference.span.kind"] == "CHAIN"


@pytest.mark.spec("spans.hook")
@pytest.mark.parametrize("wrong", ["", "0" * 16, "xyz", "B7AD6B7169203331", "b7ad6b7169203331" * 2])
def test_an_id_in_the_block_that_is_none_is_replaced(wrong: str) -> None:
    span = hook_span(TRACE, ROOT, SESSION, evolve(METADATA, hook_span_id=wrong, hook_ended_at=0))
    assert len(bytes.fromhex(span.span_id)) == 8
    assert span.span_id not in (wrong, "0" * 16)
    assert span.end == span.start


@pytest.mark.spec("spans.content")
def test_less_content_means_less() -> None:
    for content in (Content.METADATA, Content.OFF):
        told = repr(
            (
                turn_span(turn_facts(content=content)),
                tool_span(tool_facts(content=content, result="a b")),
                hook_span(TRACE, ROOT, SESSION, METADATA, content),
            )
        )
        for word in ("What is here", "Two files", "command", "'a b'"):
            assert word not in told
        for fact in ("/srv/project", "box.example", "user-1"):
            assert (fact in told) is (content is Content.METADATA)


@pytest.mark.spec("spans.redaction")
def test_no_secret_gets_into_a_span() -> None:
    secret = f"it is {SECRET}"
    metadata = evolve(METADATA, cwd=secret, source=secret, machine=(("fqdn", secret),))
    told = repr(
        (
            turn_span(
                turn_facts(prompt=secret, answer=secret, outcome=f"failed: {secret}", metadata=metadata)
            ),
            tool_span(tool_facts(given=f'{{"k":"{SECRET}"}}', result=secret, error=secret, name=secret)),
            hook_span(TRACE, ROOT, SESSION, metadata),
        )
    )
    assert "Abcdefgh1234567890" not in told


@pytest.mark.spec("spans.pure")
@given(st.text(), st.text(), st.integers(), st.integers(), st.integers())
def test_spans_are_pure_and_total(text: str, other: str, start: int, end: int, count: int) -> None:
    metadata = Metadata(
        source=text,
        cwd=other,
        hook_span_id=text,
        hook_started_at=start,
        hook_ended_at=end,
        machine=((text, count),),
    )
    for make in (
        lambda: turn_span(
            turn_facts(
                session=text, prompt=other, start=start, end=end, calls=count, metadata=metadata, agent=other
            )
        ),
        lambda: tool_span(tool_facts(name=text, given=other, start=start, end=end)),
        lambda: hook_span(TRACE, ROOT, text, metadata),
    ):
        span = make()
        assert span == make()
        assert 0 <= span.start <= span.end < 2**63
        repr(span).encode()
