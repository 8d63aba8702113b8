import pytest
from msgspec.structs import replace as evolve

from loom_core.actions import Action, ExportSpan, LogExchange, Measure, Note, Remember, Tell, WatchFile
from loom_core.cutting import Found
from loom_core.events import CallBegan, CallEnded, RequestReceived, TurnJoined
from loom_core.observer import Observed, add, fold, observe
from loom_core.outgoing import Taken
from loom_core.rules import SECOND, Content, Rules, Tracing
from loom_core.telling import Ended, Told, begin, is_call, log_line, over, with_answer
from loom_core.values import Admission, ExchangeKey, Headers, Request, TurnKey
from loom_core.wire import Edit
from loom_core.woven import Compacted, WovenIn

AT = 1_700_000_000 * SECOND
KEY = ExchangeKey("x-1")
TRACE, ROOT = "a" * 32, "b" * 16
JOINED = TurnJoined(AT + 1, TRACE, ROOT, 3, 0, frozenset())
NAMED: Headers = ((b"x-claude-code-session-id", b"s-1"), (b"x-claude-code-agent-id", b"a-1"))
BODY = b'{"model":"m-1","messages":[{"role":"user","content":"Hi."}]}'
JSON: Headers = ((b"content-type", b"application/json"),)
USAGE = b'"usage":{"input_tokens":1,"output_tokens":2,"cache_read_input_tokens":30}'
MESSAGE = (
    b'{"type":"message","id":"msg_1","role":"assistant","model":"m-1","stop_reason":"end_turn",'
    b'"content":[{"type":"text","text":"Yes."}],%b}' % USAGE
)


def asked(
    path: bytes = b"/v1/messages", method: str = "POST", headers: Headers = NAMED, *, tells: bool = True
) -> RequestReceived:
    rules = Rules(tracing=Tracing(Content.METADATA, tells=tells))
    return RequestReceived(AT, Request(method, path + b"?beta=true", headers), rules, Admission.OWN, 7)


def taken(request: RequestReceived | None = None, body: bytes | None = BODY, **found: object) -> Taken:
    whole = Taken(request or asked(), body, len(body or b""))
    return evolve(whole, found=evolve(whole.found, **found)) if found else whole


def seen(status: int = 200, body: bytes = MESSAGE) -> Observed:
    return fold(add(observe(status, JSON), body))


def ended(of: Taken | None = None, joined: TurnJoined | None = JOINED, **what: object) -> Ended:
    of = of or taken()
    told = Told(begin(KEY, of)[0].call, joined) if is_call(of) else None
    given = {
        "outcome": "complete",
        "status": 200,
        "attempts": 1,
        "sent_at": AT + SECOND,
        "head_at": AT + 2 * SECOND,
        "first_chunk_at": AT + 3 * SECOND,
        "relayed": len(MESSAGE),
        "observed": seen(),
        "told": told,
    }
    return Ended(of, AT + 4 * SECOND, **{**given, **what})


def kinds(actions: tuple[Action, ...]) -> list[str]:
    return [type(action).__name__ for action in actions]


def measured(actions: tuple[Action, ...]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    (told,) = (action.figures for action in actions if isinstance(action, Measure))
    found = {(it.name, it.labels): it.value for it in told}
    assert len(found) == len(told)
    return found


def news(actions: tuple[Action, ...]) -> CallEnded:
    (told,) = (action for action in actions if isinstance(action, Tell))
    assert told.key == TurnKey("s-1", "a-1")
    assert isinstance(told.event, CallEnded)
    return told.event


@pytest.mark.spec("tracing.told-once")
def test_a_turn_is_told_of_a_call_with_all_that_its_machine_needs() -> None:
    told, actions = begin(KEY, taken())
    assert told.joined is None
    assert actions[0] == Tell(TurnKey("s-1", "a-1"), CallBegan(AT, KEY, told.call, 7, Content.METADATA))
    assert actions[1:] == (WatchFile("s-1", ""),)
    assert (told.call.prompt, told.call.model, told.call.messages) == ("Hi.", "m-1", 1)


@pytest.mark.parametrize(
    ("request_", "is_one"),
    [
        (asked(), True),
        (asked(b"/v1/messages/count_tokens"), True),
        (asked(tells=False), False),
        (asked(b"/v1/models", "GET"), False),
        (asked(b"/v1/messages/batches"), False),
        (asked(method="GET"), False),
    ],
)
@pytest.mark.spec("tracing.told-once", "tracing.off")
def test_a_turn_hears_of_messages_and_token_counts_and_only_when_switched_on(
    request_: RequestReceived, *, is_one: bool
) -> None:
    assert is_call(taken(request_)) is is_one


@pytest.mark.spec("tracing.told")
def test_at_the_end_come_spans_figures_the_news_and_last_the_log_line() -> None:
    actions = over(KEY, ended())
    assert list(dict.fromkeys(kinds(actions))) == ["ExportSpan", "Measure", "Tell", "LogExchange"]
    spans = [action.span for action in actions if isinstance(action, ExportSpan)]
    assert [span.name for span in spans] == ["loom: POST /v1/messages", "chat m-1"]
    assert {span.trace_id for span in spans} == {TRACE}
    assert (spans[0].parent_id, spans[1].parent_id) == (ROOT, spans[0].span_id)
    event = news(actions)
    assert (event.at, event.exchange, event.ok, event.failure) == (AT + 4 * SECOND, KEY, True, "")
    assert event.seen is not None
    assert event.seen.blocks[0].text == "Yes."


@pytest.mark.spec("tracing.told")
def test_what_is_no_call_has_figures_and_a_log_line_and_with_telling_off_the_line_alone() -> None:
    other = taken(asked(b"/v1/files/secret-name", "PUT"), None)
    assert kinds(over(KEY, ended(other))) == ["Measure", "LogExchange"]
    quiet = taken(asked(tells=False))
    assert kinds(over(KEY, ended(quiet))) == ["LogExchange"]


@pytest.mark.spec("tracing.told")
def test_the_log_line_has_the_times_since_the_request_came() -> None:
    line = log_line(ended(taken(cut=2)), None)
    assert isinstance(line, LogExchange)
    assert (line.to_head, line.total, line.cut) == (2 * SECOND, 4 * SECOND, 2)
    assert (line.path, line.received, line.relayed) == (b"/v1/messages", len(BODY), len(MESSAGE))
    assert log_line(ended(head_at=0), None).to_head is None


OVERLOADED = b'{"type":"error","error":{"type":"overloaded_error","message":"Busy."}}'


@pytest.mark.parametrize(
    ("what", "failure"),
    [
        ({"outcome": "client gone"}, "client gone"),
        ({"outcome": "upstream broke", "detail": "closed: eof"}, "closed: eof"),
        ({"outcome": "no answer", "detail": "refused: x", "status": 502}, "refused: x"),
        ({"status": 529, "observed": seen(529, OVERLOADED)}, "overloaded_error"),
        ({"status": 200, "observed": seen(200, OVERLOADED)}, "overloaded_error"),
    ],
)
@pytest.mark.spec("tracing.failure")
def test_a_call_that_failed_says_why(what: dict[str, object], failure: str) -> None:
    event = news(over(KEY, ended(**what)))
    assert (event.ok, event.failure) == (False, failure)


@pytest.mark.spec("tracing.figures")
def test_the_figures_of_a_call() -> None:
    found = measured(over(KEY, ended()))
    route = (
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("http.route", "/v1/messages"),
    )
    model = (("gen_ai.request.model", "m-1"),)
    assert found["http.server.request.duration", route] == 4.0
    assert found["gen_ai.client.operation.duration", model] == 3.0
    assert found["gen_ai.client.operation.time_to_first_chunk", model] == 2.0
    tokens = {dict(labels)["kind"]: value for (name, labels), value in found.items() if name == "loom.tokens"}
    assert tokens == {"input": 1, "output": 2, "cache_read": 30}


def used(actions: tuple[Action, ...]) -> dict[str, float]:
    told = {labels: value for (name, labels), value in measured(actions).items() if name.endswith(".usage")}
    assert {dict(labels)["gen_ai.request.model"] for labels in told} <= {"m-1"}
    return {dict(labels)["gen_ai.token.type"]: value for labels, value in told.items()}


@pytest.mark.spec("metrics.usage")
def test_the_tokens_of_a_call_are_all_that_was_read_and_what_was_written() -> None:
    assert used(over(KEY, ended())) == {"input": 31, "output": 2}
    written = MESSAGE.replace(b'"input_tokens":1,', b'"cache_creation_input_tokens":400,')
    assert used(over(KEY, ended(observed=seen(body=written)))) == {"input": 430, "output": 2}


@pytest.mark.spec("metrics.usage")
def test_tokens_that_are_not_told_or_only_counted_are_no_usage_and_none_at_all_is_a_value() -> None:
    untold = MESSAGE.replace(USAGE, b'"usage":{"output_tokens":0}')
    assert used(over(KEY, ended(observed=seen(body=untold)))) == {"output": 0}
    assert used(over(KEY, ended(observed=seen(529, OVERLOADED), status=529))) == {}
    counted = over(
        KEY, ended(taken(asked(b"/v1/messages/count_tokens")), observed=seen(body=b'{"input_tokens":9}'))
    )
    assert used(counted) == {}
    assert not [name for name, _ in measured(counted) if name == "loom.tokens"]


CHUNKS = ("gen_ai.client.operation.time_per_output_chunk", (("gen_ai.request.model", "m-1"),))


def streamed(frames: int) -> Observed:
    return add(
        observe(200, ((b"content-type", b"text/event-stream"),)), b"event: ping\ndata: {}\n\n" * frames
    )


@pytest.mark.spec("metrics.chunks")
def test_a_stream_tells_the_mean_time_between_its_frames() -> None:
    assert measured(over(KEY, ended(observed=streamed(5))))[CHUNKS] == 0.25
    assert measured(over(KEY, ended(observed=streamed(2))))[CHUNKS] == 1.0


@pytest.mark.parametrize(
    "what",
    [
        {},
        {"observed": streamed(1)},
        {"observed": streamed(5), "outcome": "upstream broke", "detail": "silent: x"},
        {"observed": streamed(5), "outcome": "client gone"},
    ],
    ids=["json", "one frame", "broken", "left"],
)
@pytest.mark.spec("metrics.chunks")
def test_without_a_second_frame_or_a_whole_stream_there_is_no_mean(what: dict[str, object]) -> None:
    assert CHUNKS not in measured(over(KEY, ended(**what)))


@pytest.mark.spec("tracing.figures")
def test_no_path_that_anyone_makes_up_becomes_a_label() -> None:
    found = measured(over(KEY, ended(taken(asked(b"/v1/files/secret-name", "PUT"), None))))
    assert [dict(labels)["http.route"] for _, labels in found] == ["other"]


@pytest.mark.spec("tracing.figures")
def test_blocks_and_rewrites_are_counted_where_there_were_any() -> None:
    found = measured(over(KEY, ended(taken(edits=(Edit(0, 1, b""),), cut=2, left=1))))
    assert found["loom.metadata.blocks", (("result", "cut"),)] == 2
    assert found["loom.metadata.blocks", (("result", "left"),)] == 1
    assert found["loom.rewrites", (("kind", "metadata"),)] == 1
    assert Found() == taken().found
    names = {name for name, _ in measured(over(KEY, ended()))}
    assert names.isdisjoint({"loom.metadata.blocks", "loom.rewrites", "loom.upstream.errors"})


@pytest.mark.spec("tracing.figures")
def test_faults_of_upstream_are_counted_by_cause_and_status() -> None:
    found = measured(over(KEY, ended(outcome="no answer", detail="refused: 10.0.0.1", status=502)))
    assert found["loom.upstream.errors", (("cause", "refused"), ("status", "502"))] == 1
    model = (("gen_ai.request.model", "m-1"), ("error.type", "refused"))
    assert ("gen_ai.client.operation.duration", model) in found


@pytest.mark.spec("tracing.told-once")
def test_the_turns_answer_is_kept_and_comes_to_nothing_where_no_call_was_told() -> None:
    told = begin(KEY, taken())[0]
    answered = with_answer(told, JOINED)
    assert answered is not None
    assert (answered.call, answered.joined) == (told.call, JOINED)
    assert with_answer(None, JOINED) is None


# Who broke the cache


def cached(read: int, written: int) -> Observed:
    figures = b'"cache_read_input_tokens":%d,"cache_creation_input_tokens":%d}' % (read, written)
    return seen(body=MESSAGE.replace(b'"cache_read_input_tokens":30}', figures))


def misses(actions: tuple[Action, ...]) -> object:
    chat = next(it.span for it in actions if isinstance(it, ExportSpan) and it.span.name.startswith("chat"))
    return dict(chat.attributes).get("loom.cache.miss")


@pytest.mark.spec("miss.shown", "miss.expected", "miss.kin")
def test_a_call_that_read_less_than_the_one_before_had_cached_says_why() -> None:
    marked = BODY.replace(b'"Hi."', b'[{"type":"text","text":"Hi.","cache_control":{"type":"ephemeral"}}]')
    first = over(KEY, ended(taken(body=marked), observed=cached(0, 9_000)))
    shape = news(first).shape
    assert shape is not None
    assert (shape.cached, shape.sent_at, shape.head_at) == (9_000, AT + SECOND, AT + 2 * SECOND)
    joined, later = evolve(JOINED, before=(shape,)), {"sent_at": AT + 3 * SECOND}
    second = over(KEY, ended(taken(body=marked), joined, observed=cached(9_000, 0), **later))
    assert [misses(it) for it in (first, second)] == [None, None]
    third = over(KEY, ended(taken(body=marked), joined, observed=cached(0, 9_000), **later))
    assert misses(third) == "nothing in the request differs: expired or dropped at upstream"
    aside = ended(taken(body=marked), evolve(joined, index=0), observed=cached(0, 9_000), **later)
    alone = ended(taken(body=marked), None, observed=cached(0, 9_000), **later)
    for actions in (over(KEY, aside), over(KEY, alone)):
        assert misses(actions) is None
        assert news(actions).shape is None


WOVEN = WovenIn("ann", AT, AT + SECOND // 4, identity=30, sticky=12, replayed=1, decided="woven")


@pytest.mark.spec("weave.figures")
def test_a_weaving_is_counted_with_its_time_and_tokens() -> None:
    found = measured(over(KEY, ended(evolve(taken(), woven=WOVEN))))
    labels = (("what", "request"), ("outcome", "woven"))
    assert found["loom.weave.runs", labels] == 1
    assert found["loom.weave.duration", labels] == 0.25
    tokens = {labels: value for (name, labels), value in found.items() if name == "loom.weave.tokens"}
    assert tokens == {(("what", "identity"),): 30, (("what", "sticky"),): 12}
    assert found["loom.rewrites", (("kind", "weave"),)] == 1


@pytest.mark.spec("weave.figures", "weave.unwoven")
def test_a_request_nothing_could_be_woven_into_is_counted_as_that_and_as_no_rewrite() -> None:
    unwoven = WovenIn("ann", AT, AT, trouble="the store: slow", missing="store")
    found = measured(over(KEY, ended(evolve(taken(), woven=unwoven))))
    assert found["loom.weave.runs", (("what", "request"), ("outcome", "unwoven"))] == 1
    names = {name for name, _ in found}
    assert names.isdisjoint({"loom.weave.tokens", "loom.rewrites"})
    assert not [name for name, _ in measured(over(KEY, ended())) if name.startswith("loom.weave.")]


@pytest.mark.spec("compact.told", "compact.drift-told")
def test_a_reworded_call_is_a_rewrite_and_a_drift_is_counted_by_its_kind() -> None:
    found = measured(over(KEY, ended(evolve(taken(), woven=evolve(WOVEN, reworded=("instruction",))))))
    assert found["loom.rewrites", (("kind", "compaction"),)] == 1
    assert not [name for name, _ in found if name == "loom.compaction.drift"]
    drifted = evolve(WOVEN, compaction=Compacted(("request class",), drift="instruction"))
    found = measured(over(KEY, ended(evolve(taken(), woven=drifted))))
    assert found["loom.compaction.drift", (("phase", "instruction"),)] == 1
    assert ("loom.rewrites", (("kind", "compaction"),)) not in found


@pytest.mark.spec("compact.lost")
def test_what_a_summary_lacks_is_noted_also_with_telling_off() -> None:
    asks = evolve(WOVEN, compaction=Compacted(("request class",), must_survive=("Bo", "Cy")))
    summary = seen(body=MESSAGE.replace(b"Yes.", b"<summary>Bo has tea.</summary>"))
    note = Note("the summary of a compaction lacks what must survive for profile ann: Cy")
    for request_ in (asked(), asked(tells=False)):
        actions = over(KEY, ended(evolve(taken(request_), woven=asks), observed=summary))
        assert [it for it in actions if isinstance(it, Note)] == [note]
        assert isinstance(actions[-1], LogExchange)
    cut = ended(evolve(taken(), woven=asks), observed=seen(body=b"{}"))
    assert not [it for it in over(KEY, cut) if isinstance(it, Note)]


@pytest.mark.spec("weave.owed")
def test_what_is_owed_to_the_ledger_comes_first_also_with_telling_off() -> None:
    owed = Remember("scope", (("source", "ann"),))
    for request_ in (asked(), asked(tells=False)):
        actions = over(KEY, ended(evolve(taken(request_), owed=owed, woven=WOVEN)))
        assert actions[0] == owed
        assert kinds(actions).count("Remember") == 1
        assert isinstance(actions[-1], LogExchange)
        assert actions[-1].woven == WOVEN


@pytest.mark.spec("weave.span", "tracing.told")
def test_a_woven_call_has_a_span_between_its_request_and_its_answer() -> None:
    actions = over(KEY, ended(evolve(taken(), woven=WOVEN)))
    names = [action.span.name for action in actions if isinstance(action, ExportSpan)]
    assert names == ["loom: POST /v1/messages", "loom.weave", "chat m-1"]


def test_a_call_that_was_read_for_weaving_is_not_read_again() -> None:
    said = evolve(begin(KEY, taken())[0].call, prompt="as it was typed")
    assert begin(KEY, evolve(taken(), call=said))[0].call is said
