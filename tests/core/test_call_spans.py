from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as evolve

from loom_core.call_spans import call_spans, chat_span, request_ids, request_span, weave_span
from loom_core.facts import CallFacts
from loom_core.message import Block, Seen
from loom_core.miss import Miss
from loom_core.redaction import MAX_VALUE
from loom_core.rules import SECOND, Content
from loom_core.trace import SpanRecord
from loom_core.woven import Compacted, WovenIn
from tests.support.facts import AT, HEADERS, JOINED, ROOT, SESSION, TRACE, asked, body, call_facts

SECRET = "sk-ant-api03-Abcdefgh1234567890"
LINK = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03")


def both(facts: CallFacts) -> tuple[SpanRecord, SpanRecord]:
    request, chat = call_spans(facts)
    return request, chat


@pytest.mark.spec("spans.tree")
def test_a_call_is_two_spans_in_its_turn() -> None:
    request, chat = both(call_facts())
    assert (request.trace_id, request.parent_id) == (TRACE, ROOT)
    assert (chat.trace_id, chat.parent_id) == (TRACE, request.span_id)
    assert (request.name, request.kind) == ("loom: POST /v1/messages", "server")
    assert (chat.name, chat.kind) == ("chat claude-sonnet-5-20260101", "client")
    assert (request.start, request.end) == (AT, AT + 3 * SECOND)
    assert (chat.start, chat.end) == (AT + SECOND // 4, AT + 3 * SECOND)
    assert request.error == chat.error == ""
    assert (request.trace_id, request.span_id, request.parent_id) == request_ids(
        asked(), call_facts().call, JOINED
    )
    for span, kind in ((request, "CHAIN"), (chat, "LLM")):
        assert span.attributes[:2] == (("openinference.span.kind", kind), ("session.id", SESSION))


def test_the_request_span_says_what_became_of_the_exchange() -> None:
    told = dict(request_span(call_facts(blocks_cut=2, attempts=3, failure="")).attributes)
    assert (
        told.items()
        >= {
            "gen_ai.conversation.id": SESSION,
            "loom.call.kind": "main",
            "loom.turn.call_index": 1,
            "http.request.method": "POST",
            "url.path": "/v1/messages",
            "http.response.status_code": 200,
            "http.request.body.size": len(body()),
            "http.response.body.size": 1_234,
            "user_agent.original": "claude-cli/2.1.328",
            "loom.exchange.id": "x-1",
            "loom.upstream.request_id": "req_1",
            "loom.attempts": 3,
            "loom.outcome": "complete",
            "loom.metadata.blocks_cut": 2,
            "loom.time_to_head": 1.0,
        }.items()
    )
    assert not [name for name in told if name.startswith("llm.")]


@pytest.mark.spec("spans.tokens")
def test_prompt_tokens_are_new_written_and_read_ones() -> None:
    told = dict(both(call_facts())[1].attributes)
    assert (
        told.items()
        >= {
            "llm.token_count.prompt": 4_310,
            "llm.token_count.completion": 20,
            "llm.token_count.total": 4_330,
            "llm.token_count.prompt_details.cache_read": 300,
            "llm.token_count.prompt_details.cache_write": 4_000,
            "gen_ai.usage.input_tokens": 4_310,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.cache_read.input_tokens": 300,
            "gen_ai.usage.cache_creation.input_tokens": 4_000,
        }.items()
    )
    none = dict(both(call_facts(seen=Seen()))[1].attributes)
    assert not [name for name in none if "token_count" in name or "usage" in name]
    part = dict(both(call_facts(seen=Seen(cache_read=5)))[1].attributes)
    assert (part["llm.token_count.prompt"], part["llm.token_count.total"]) == (5, 5)


def test_the_chat_span_says_what_was_asked_and_answered() -> None:
    told = dict(both(call_facts(attempts=2))[1].attributes)
    assert (
        told.items()
        >= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "anthropic",
            "llm.system": "anthropic",
            "llm.provider": "anthropic",
            "llm.model_name": "claude-sonnet-5-20260101",
            "gen_ai.request.model": "claude-sonnet-5",
            "gen_ai.response.model": "claude-sonnet-5-20260101",
            "gen_ai.response.id": "msg_1",
            "llm.finish_reason": "tool_use",
            "gen_ai.response.finish_reasons": ("tool_use",),
            "gen_ai.response.time_to_first_chunk": 1.0,
            "http.request.resend_count": 1,
            "input.value": "What is here?",
            "output.value": "I shall look.",
            "llm.input_messages.0.message.role": "system",
            "llm.input_messages.1.message.content": "What is here?",
        }.items()
    )
    bare = chat_span(call_facts(body=b"", seen=None, first_chunk_at=0, sent_at=0))
    assert bare is not None
    assert (bare.name, bare.start) == ("chat", AT)
    cut = chat_span(call_facts(seen=Seen(cut=True, odd=2)))
    assert cut is not None
    assert dict(cut.attributes).items() >= {"loom.answer.cut": True, "loom.answer.odd": 2}.items()


@pytest.mark.spec("compact.told")
def test_the_chat_span_of_a_compaction_says_so() -> None:
    told = Compacted(("request class",), "auto", must_survive=("Bo",))
    woven = WovenIn("ann", AT, AT, reworded=("instruction",), compaction=told)
    summary = Seen(complete=True, blocks=(Block("text", "<summary>Cy has tea.</summary>"),))
    spans = call_spans(call_facts(woven=woven, seen=summary))
    assert (
        dict(spans[-1].attributes).items()
        >= {
            "loom.compaction.reworded": ("instruction",),
            "loom.compaction.by": ("request class",),
            "loom.compaction.trigger": "auto",
            "loom.compaction.missing": ("Bo",),
        }.items()
    )
    plain = dict(both(call_facts())[1].attributes)
    assert not [name for name in plain if name.startswith("loom.compaction.")]


@pytest.mark.spec("spans.alone")
def test_without_a_turn_a_call_is_a_trace_of_its_own() -> None:
    for joined in (None, evolve(JOINED, trace_id="", parent_id="", index=0)):
        request, chat = both(call_facts(joined=joined))
        assert request.parent_id == ""
        assert request.trace_id not in (TRACE, "")
        assert chat.trace_id == request.trace_id
        told = dict(request.attributes)
        assert (told["input.value"], told["output.value"]) == ("What is here?", "I shall look.")
        assert "loom.turn.call_index" not in told
    assert "input.value" not in dict(both(call_facts(Content.METADATA, joined=None))[0].attributes)


@pytest.mark.spec("spans.link")
def test_the_clients_traceparent_is_the_parent_or_a_link() -> None:
    request = asked(headers=(*HEADERS, LINK))
    alone = request_span(call_facts(request=request, joined=None))
    assert (alone.trace_id, alone.parent_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert alone.links == ()
    joined = request_span(call_facts(request=request))
    assert (joined.trace_id, joined.parent_id) == (TRACE, ROOT)
    assert joined.links == (("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"),)


@pytest.mark.spec("spans.tree")
def test_other_paths_have_the_request_span_alone() -> None:
    request = asked(method="GET", target=b"/v1/models?limit=1000&key=secret", headers=(LINK,))
    (span,) = call_spans(CallFacts(request, AT + 1, "complete", status=200, attempts=1, head_at=AT + 1))
    assert span.name == "loom: GET /v1/models"
    assert span.parent_id == "b7ad6b7169203331"
    assert "secret" not in repr(span)
    odd = request_span(CallFacts(asked(method="BREW", target=b"*"), AT, "refused"))
    assert (odd.name, odd.error) == ("loom: _OTHER *", "refused")


@pytest.mark.spec("spans.tree")
def test_counting_tokens_is_no_chat() -> None:
    request = asked(target=b"/v1/messages/count_tokens")
    (span,) = call_spans(call_facts(request=request, seen=Seen(input_tokens=77, complete=True)))
    told = dict(span.attributes)
    assert told["loom.counted_tokens"] == 77
    assert "What is here?" not in repr(span)
    (span,) = call_spans(call_facts(request=request, seen=None, head_at=0, status=None, outcome="no answer"))
    assert "What is here?" not in repr(span)


@pytest.mark.spec("spans.linear")
def test_what_no_chat_span_shows_the_request_span_does() -> None:
    (span,) = call_spans(
        call_facts(head_at=0, status=502, seen=None, outcome="no answer", failure="connection refused")
    )
    told = dict(span.attributes)
    assert told["llm.input_messages.1.message.content"] == "What is here?"
    assert span.error == "status 502: connection refused"


@pytest.mark.spec("spans.errors")
@pytest.mark.parametrize(
    ("what", "request_error", "chat_error", "kind"),
    [
        ({"status": 529, "seen": Seen(error="overloaded_error")},)
        + ("status 529: overloaded_error",) * 2
        + ("overloaded_error",),
        ({"status": 400, "seen": Seen()}, "", "status 400", "400"),
        ({"seen": Seen(error="api_error")}, "", "api_error", "api_error"),
        ({"outcome": "upstream broke", "failure": "reset"}, "reset", "reset", "upstream broke"),
        ({"outcome": "shut down"}, "shut down", "shut down", "shut down"),
        ({"outcome": "client gone"}, "", "", None),
        ({}, "", "", None),
    ],
)
def test_what_went_wrong_is_the_spans_status(
    what: dict[str, object], request_error: str, chat_error: str, kind: str | None
) -> None:
    request, chat = both(call_facts(**what))
    assert (request.error, chat.error) == (request_error, chat_error)
    assert dict(chat.attributes).get("error.type") == kind


@pytest.mark.spec("spans.content")
@pytest.mark.parametrize("content", [Content.METADATA, Content.OFF])
@pytest.mark.parametrize("what", [{}, {"joined": None}, {"head_at": 0, "seen": None}])
def test_less_content_means_none_of_the_words(content: Content, what: dict[str, object]) -> None:
    told = repr(call_spans(call_facts(content, **what)))
    for word in ("What is here", "terse", "Let me look", "shall look", "'ls'", "Runs a command", "c2ln"):
        assert word not in told
    assert SESSION in told


@pytest.mark.spec("spans.redaction")
@pytest.mark.parametrize(
    "place", ["prompt", "system", "tool", "answer", "arguments", "model", "path", "agent"]
)
def test_no_secret_gets_into_a_span_from_anywhere(place: str) -> None:
    said = f"use {SECRET} here"
    given = {
        "prompt": {"body": body({"role": "user", "content": said})},
        "system": {"body": body(system=said)},
        "tool": {"body": body(tools=[{"name": "T", "description": said}])},
        "answer": {"seen": Seen(blocks=(Block("text", said),))},
        "arguments": {"seen": Seen(blocks=(Block("tool_use", f'{{"k":"{SECRET}"}}', name=said),))},
        "model": {"seen": Seen(model=said), "failure": said, "request_id": said},
        "path": {"request": asked(target=f"/v1/messages/{SECRET}".encode())},
        "agent": {"request": asked(headers=((b"user-agent", said.encode()),))},
    }[place]
    for joined in (JOINED, None):
        for head_at in (0, AT + 1):
            told = repr(call_spans(call_facts(**{"joined": joined, "head_at": head_at, **given})))
            assert "Abcdefgh1234567890" not in told


@pytest.mark.spec("spans.linear")
def test_five_hundred_messages_cost_what_is_new_in_them() -> None:
    messages: list[object] = [{"role": "user", "content": "begin"}]
    sizes = []
    shown = 0
    joined = JOINED
    for number in range(250):
        sent = body(*messages)
        facts = call_facts(body=sent, joined=evolve(joined, index=number + 1, shown=shown))
        request, chat = both(facts)
        for span in (request, chat):
            assert [name for name, _ in span.attributes[:2]] == ["openinference.span.kind", "session.id"]
        sizes.append(sum(len(repr(it)) for it in chat.attributes))
        assert dict(chat.attributes)["loom.input.messages.total"] == len(messages)
        shown = len(messages)
        assert facts.call is not None
        joined = evolve(joined, systems=frozenset({facts.call.system_hash}))
        messages += [
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": f"t{number:03}", "name": "Bash", "input": {}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": f"t{number:03}", "content": "x" * 500}],
            },
        ]
    assert len(messages) == 501
    assert max(abs(after - before) for before, after in pairwise(sizes[2:])) < 50


@pytest.mark.spec("spans.capped")
def test_one_huge_call_stays_within_the_bounds_of_a_span() -> None:
    many = [{"role": "user", "content": [{"type": "text", "text": "é" * 40_000}] * 8}] * 200
    _, chat = both(
        call_facts(body=body(*many, tools=[{"name": f"T{it}", "x": "y" * 40_000} for it in range(600)]))
    )
    assert len(chat.attributes) < 10_000
    assert all(len(it.encode()) <= MAX_VALUE for _, it in chat.attributes if isinstance(it, str))


@given(
    st.binary(max_size=200),
    st.integers(-5, 10),
    st.builds(
        Seen,
        model=st.text(),
        stop_reason=st.text(),
        error=st.text(),
        input_tokens=st.none() | st.integers(),
        output_tokens=st.none() | st.integers(),
        cache_read=st.none() | st.integers(),
        blocks=st.lists(
            st.builds(Block, st.text(), st.text(), st.text(), st.text(), st.text()), max_size=3
        ).map(tuple),
    )
    | st.none(),
    st.integers(),
    st.sampled_from([*Content]),
)
@pytest.mark.spec("spans.pure")
def test_spans_are_a_pure_total_function_of_the_facts(
    sent: bytes, shown: int, seen: Seen | None, ended_at: int, content: Content
) -> None:
    facts = call_facts(content, body=sent, joined=evolve(JOINED, shown=shown), seen=seen, ended_at=ended_at)
    spans = call_spans(facts)
    assert spans == call_spans(facts)
    for span in spans:
        assert 0 <= span.start <= span.end < 2**63
        repr(span).encode()


# Who broke the cache


@pytest.mark.spec("miss.shown")
def test_a_miss_of_the_cache_is_told_with_its_cause() -> None:
    missed = Miss("system", "system block 2 changed (client)", 40_000)
    told = dict(both(call_facts(miss=missed))[1].attributes)
    assert told["loom.cache.miss"] == "system block 2 changed (client)"
    assert (told["loom.cache.miss_cause"], told["loom.cache.miss_tokens"]) == ("system", 40_000)
    assert not [name for name, _ in both(call_facts())[1].attributes if name.startswith("loom.cache.")]
    secret = evolve(missed, words=f"tool {SECRET} changed (client)")
    assert SECRET not in repr(both(call_facts(miss=secret)))


# ------------------------------------------------------------------ weaving

WOVEN = WovenIn(
    "ann",
    AT + SECOND // 8,
    AT + SECOND // 4,
    identity=30,
    sticky=12,
    ephemeral=4,
    anchors=3,
    replayed=1,
    memories=2,
    decided="woven",
    recall="answered",
)


@pytest.mark.spec("weave.span", "spans.tree")
def test_what_was_woven_is_a_span_below_its_request() -> None:
    request, span, chat = call_spans(call_facts(woven=WOVEN))
    assert (span.name, span.kind, span.error) == ("loom.weave", "internal", "")
    assert (span.trace_id, span.parent_id) == (TRACE, request.span_id)
    assert span.span_id not in {request.span_id, chat.span_id}
    assert (span.start, span.end) == (AT + SECOND // 8, AT + SECOND // 4)
    assert span.attributes[:2] == (("openinference.span.kind", "CHAIN"), ("session.id", SESSION))
    assert dict(span.attributes[2:]) == {
        "loom.profile": "ann",
        "loom.weave.outcome": "woven",
        "loom.weave.tokens.identity": 30,
        "loom.weave.tokens.sticky": 12,
        "loom.weave.tokens.ephemeral": 4,
        "loom.weave.anchors": 3,
        "loom.weave.ledger_hits": 1,
        "loom.weave.memories": 2,
        "loom.weave.recall": "answered",
    }


@pytest.mark.spec("weave.span", "weave.unwoven")
def test_a_request_nothing_could_be_woven_into_has_a_span_in_error() -> None:
    assert weave_span(call_facts()) is None
    slow = weave_span(call_facts(woven=evolve(WOVEN, trouble="the store: slow")))
    unwoven = weave_span(call_facts(woven=evolve(WOVEN, trouble="the store: slow", missing="store")))
    assert slow is not None
    assert unwoven is not None
    assert (slow.error, unwoven.error) == ("", "the store: slow")
    told = dict(unwoven.attributes)
    assert (told["loom.weave.outcome"], told["loom.weave.trouble"]) == ("unwoven", "the store: slow")


@pytest.mark.spec("weave.span", "spans.redaction", "spans.content")
def test_no_words_that_were_woven_are_in_the_span() -> None:
    span = weave_span(call_facts(Content.OFF, woven=evolve(WOVEN, trouble=SECRET, profile=SECRET)))
    assert span is not None
    assert SECRET not in repr(span)
    without = weave_span(call_facts(call=None, joined=None, woven=WOVEN))
    assert without is not None
    assert without.trace_id
