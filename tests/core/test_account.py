import pytest
from msgspec.structs import replace as evolve

from loom_core.account import (
    MAX_LEAD,
    MAX_TOOLS,
    Turn,
    begun,
    has_other_prompt,
    hook_spans,
    shares_prompt,
    with_results,
    with_seen,
)
from loom_core.actions import ExportSpan
from loom_core.call import Call
from loom_core.events import CallBegan, CallEnded
from loom_core.metadata import Metadata
from loom_core.newest import ToolResult
from loom_core.past import Past
from loom_core.rules import Content
from loom_core.trace import Traceparent
from loom_core.values import ExchangeKey, TurnKey
from tests.support.turns import AGENT, AT, MAIN, METADATA, ROOT, TRACE, asks, call, says

LINK = Traceparent("a" * 32, "b" * 16)
EXCHANGE = ExchangeKey("x-1")
PAST = Past()


def new(asked: Call, past: Past = PAST, key: TurnKey = MAIN, seed: int = 7) -> Turn:
    return begun(key, CallBegan(AT, EXCHANGE, asked, seed), past)


@pytest.mark.spec("turn.ids")
def test_the_hooks_ids_come_first() -> None:
    turn = new(call("prompt:p1", metadata=METADATA))
    assert (turn.trace_id, turn.span_id, turn.parent_id) == (TRACE, ROOT, "")
    assert (turn.began_at, turn.source, turn.links) == (METADATA.started_at, "laptop", ())
    below = new(call(metadata=evolve(METADATA, parent_span_id="c" * 16)))
    assert below.parent_id == "c" * 16


@pytest.mark.spec("turn.ids")
def test_without_a_hook_the_clients_trace_and_then_the_seed_decide() -> None:
    linked = new(call(link=LINK))
    assert (linked.trace_id, linked.parent_id, linked.links) == (LINK.trace_id, LINK.span_id, ())
    assert new(call()) == new(call())
    assert new(call()).trace_id != new(call(), seed=8).trace_id
    assert len(new(call()).span_id) == 16
    old = new(call(metadata=Metadata(trace_id=TRACE)))
    assert (old.trace_id, old.span_id == ROOT, old.parent_id) == (TRACE, False, "")


@pytest.mark.spec("turn.link")
def test_a_header_beside_the_hooks_trace_is_a_link() -> None:
    turn = new(call(metadata=METADATA, link=LINK))
    assert (turn.trace_id, turn.parent_id) == (TRACE, "")
    assert turn.links == ((LINK.trace_id, LINK.span_id),)
    same = evolve(METADATA, parent_span_id=LINK.span_id)
    assert new(call(metadata=same, link=Traceparent(TRACE, LINK.span_id))).links == ()


@pytest.mark.spec("turn.repeated", "turn.subagent")
def test_a_root_that_is_taken_becomes_the_parent() -> None:
    for turn in (
        new(call(metadata=METADATA), Past(roots=(ROOT,))),
        new(call(metadata=METADATA), PAST, AGENT),
    ):
        assert (turn.trace_id, turn.parent_id) == (TRACE, ROOT)
        assert turn.span_id != ROOT
        assert turn.began_at == AT
        assert hook_spans(turn) == ()


@pytest.mark.spec("turn.ids")
def test_a_start_that_cannot_be_is_not_believed() -> None:
    for start in (0, AT + 1, AT - MAX_LEAD - 1):
        assert new(call(metadata=evolve(METADATA, started_at=start))).began_at == AT


@pytest.mark.spec("turn.remembered")
def test_the_hooks_words_are_remembered_for_their_prompt_only() -> None:
    past = Past(told=METADATA)
    again = new(call("prompt:p1", prompt=""), past)
    assert (again.span_id, again.prompt, again.source) == (ROOT, "What is here?", "laptop")
    assert new(call("prompt:p2"), past).metadata is None
    assert new(call("prompt:"), Past(told=Metadata())).metadata is None


@pytest.mark.spec("turn.joins")
def test_prompt_ids_decide_where_both_have_one() -> None:
    turn = new(call("prompt:p1", "trace:t"))
    assert shares_prompt(turn, call("prompt:p1"))
    assert shares_prompt(turn, call("trace:t"))
    assert not shares_prompt(turn, call("prompt:p2", "trace:t"))
    assert not shares_prompt(turn, call("text:x"))
    assert not shares_prompt(new(call()), call())
    assert has_other_prompt(turn, "p2")
    assert not has_other_prompt(turn, "p1")
    assert not has_other_prompt(turn, "")
    assert not has_other_prompt(new(call("text:x")), "p2")


def test_the_hook_has_a_span_if_it_told_of_one() -> None:
    assert len(hook_spans(new(call(metadata=METADATA)))) == 1
    for said in (evolve(METADATA, hook_span_id=""), evolve(METADATA, hook_started_at=0), None):
        assert hook_spans(new(call(metadata=said))) == ()


def test_answers_add_up() -> None:
    turn = new(call())
    for seen in (asks("t1"), says("One."), evolve(says(""), model="m2", cache_read=5, cache_creation=7)):
        turn = with_seen(turn, CallEnded(AT, EXCHANGE, seen, ok=True, failure=""))
    assert (turn.input_tokens, turn.output_tokens, turn.cache_read, turn.cache_creation) == (1, 8, 5, 7)
    assert (turn.models, turn.answer, turn.stop_reason) == (("m", "m2"), "One.", "end_turn")
    assert [tool.id for tool in turn.tools] == ["t1"]
    assert with_seen(turn, CallEnded(AT, EXCHANGE, says("no"), ok=False, failure="reset")) == turn
    assert not with_seen(turn, CallEnded(AT, EXCHANGE, None, ok=True, failure="")).stop_reason


def test_the_tools_that_are_followed_are_bounded() -> None:
    turn = new(call())
    many = asks(*(f"t{number}" for number in range(MAX_TOOLS + 1)))
    assert len(with_seen(turn, CallEnded(AT, EXCHANGE, many, ok=True, failure="")).tools) == MAX_TOOLS


@pytest.mark.spec("turn.results")
def test_a_tools_span_says_what_its_result_said_where_content_is_full() -> None:
    for content, shown in ((Content.FULL, "two files"), (Content.METADATA, None), (Content.OFF, None)):
        turn = evolve(new(call()), content=content)
        turn = with_seen(turn, CallEnded(AT, EXCHANGE, asks("t1"), ok=True, failure=""))
        result = ToolResult("t1", is_error=False, text="two files")
        _, (done,) = with_results(turn, call(results=(result,)), AT)
        assert isinstance(done, ExportSpan)
        assert dict(done.span.attributes).get("output.value") == shown
        assert dict(done.span.attributes).get("gen_ai.tool.call.result") == shown
