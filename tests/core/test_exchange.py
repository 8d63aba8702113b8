"""Stories of the exchange: what happens (`>>`) and what must follow (`<<`)."""

from collections.abc import Callable

import msgspec
import pytest
from msgspec.structs import replace as evolve

from loom_core import errors, loom
from loom_core.actions import (
    AbortResponse,
    AbortUpstream,
    EndResponse,
    EndUpstreamRequest,
    LogExchange,
    Note,
    Remember,
    SendChunk,
    SendHead,
    SendUpstream,
    SendUpstreamChunk,
    SetTimer,
    Tell,
)
from loom_core.events import (
    ClientGone,
    DecisionsMade,
    Event,
    LookupsAnswered,
    MemoriesRecalled,
    ObservationDue,
    RequestChunkReceived,
    RequestEnded,
    RequestReceived,
    ShutdownRequested,
    TimerFired,
    UpstreamChunkReceived,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamHeadReceived,
)
from loom_core.exchange import (
    AwaitingHead,
    Composing,
    Concluding,
    Finished,
    Idle,
    Receiving,
    Streaming,
)
from loom_core.message import Seen
from loom_core.observer import FOLD_AT, fold
from loom_core.outgoing import order
from loom_core.values import Admission, Cause
from loom_core.weaving import Answered
from tests.support import samples
from tests.support.dialogue import (
    FRAMES,
    JSON_HEAD,
    MS,
    PROBE,
    UPLOAD,
    Dialogue,
    answered_here,
    awaiting,
    backing_off,
    came,
    chunk,
    failed,
    fired,
    head,
    streaming,
    uploading,
)
from tests.support.samples import AT, KEY, SSE_HEAD, asked
from tests.support.weaving import WHOSE, Sources, asks, begun, request, rules, through, up
from tests.support.weaving import sent as told_by_client

# ------------------------------------------------------------------ one request, one answer


@pytest.mark.spec(
    "exchange.status",
    "exchange.headers",
    "exchange.bytes",
    "exchange.chunks",
    "exchange.end",
    "exchange.record",
)
def test_one_request_and_its_streamed_answer() -> None:
    story = (
        Dialogue()
        >> asked()
        >> chunk(b"{")
        >> chunk(b"}")
        >> RequestEnded(AT + MS)
        << SendUpstream(
            1, "POST", b"/v1/messages?beta=true", asked().request.headers, b"{}", replace_credential=False
        )
        >> head(200, SSE_HEAD)
        << SendHead(200, SSE_HEAD)
        >> came(FRAMES[0])
        << SendChunk(FRAMES[0])
        >> came(FRAMES[1])
        << SendChunk(FRAMES[1])
        >> came(FRAMES[2])
        << SendChunk(FRAMES[2])
        >> UpstreamEnded(AT + 400 * MS)
        << EndResponse()
        << LogExchange
    )
    story.ends(Finished)
    assert story.record.seen is not None
    assert (story.record.seen.message_id, story.record.seen.frames, story.record.seen.complete) == (
        "msg_1",
        4,
        True,
    )
    assert evolve(story.record, seen=None) == LogExchange(
        method="POST",
        path=b"/v1/messages",
        status=200,
        attempts=1,
        received=2,
        relayed=sum(map(len, FRAMES)),
        to_head=200 * MS,
        total=400 * MS,
        outcome="complete",
        detail="",
        seen=None,
    )


@pytest.mark.spec("exchange.bytes", "observer.json")
def test_a_json_answer_is_relayed_and_read() -> None:
    body = (
        b'{"type":"message","id":"msg_2","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn"}'
    )
    story = (
        streaming(JSON_HEAD)
        >> came(body[:20])
        << SendChunk(body[:20])
        >> came(body[20:])
        << SendChunk(body[20:])
    )
    (story >> UpstreamEnded(AT) << EndResponse() << LogExchange).ends(Finished)
    assert story.record.seen == Seen(message_id="msg_2", stop_reason="end_turn", complete=True)


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 429, 500, 529, 599])
@pytest.mark.spec("exchange.status", "exchange.errors", "exchange.headers", "retry.statuses")
def test_an_error_of_upstreams_reaches_the_client_to_the_letter(status: int) -> None:
    headers = (
        (b"retry-after", b"0"),
        (b"x-should-retry", b"true"),
        (b"anthropic-ratelimit-requests-remaining", b"0"),
        *JSON_HEAD,
    )
    body = b'{"type":"error",  "error":{"type":"rate_limit_error","message":"Slow down"}}\n'
    story = awaiting() >> head(status, headers) << SendHead(status, headers) >> came(body) << SendChunk(body)
    (story >> UpstreamEnded(AT) << EndResponse() << LogExchange).ends(Finished)
    assert (story.record.status, story.record.outcome) == (status, "complete")
    assert story.record.seen is not None
    assert story.record.seen.error == "rate_limit_error"


@pytest.mark.spec("headers.hop-by-hop", "headers.named", "headers.coding", "headers.nothing-added")
def test_an_answer_loses_the_lines_of_the_hop_only() -> None:
    kept = ((b"Date", b"today"), (b"Content-Encoding", b"gzip"), (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b"))
    hop = ((b"Connection", b"X-Hop"), (b"x-hop", b"1"), (b"Transfer-Encoding", b"chunked"))
    story = awaiting() >> head(200, (*hop, *kept)) << SendHead(200, kept)
    (story >> came(b"\x1f\x8b\x00") << SendChunk(b"\x1f\x8b\x00")).ends(Streaming)


@pytest.mark.parametrize("status", [200, 204, 304])
@pytest.mark.spec("exchange.no-body", "observer.no-body")
def test_an_answer_without_a_body_is_a_head_and_an_end(status: int) -> None:
    story = Dialogue() >> PROBE >> RequestEnded(AT) << order(PROBE, 1, b"") >> head(status, JSON_HEAD)
    (story << SendHead(status, JSON_HEAD) >> UpstreamEnded(AT) << EndResponse() << LogExchange).ends(Finished)
    assert (story.record.relayed, story.record.seen) == (0, None)


@pytest.mark.spec("exchange.head")
def test_nothing_goes_to_the_client_before_upstream_has_spoken() -> None:
    awaiting().ends(AwaitingHead)  # every action was named, and none was a head
    uploading().ends(AwaitingHead)


@pytest.mark.spec("exchange.observed-late", "observer.batches")
def test_bytes_are_looked_at_after_they_were_sent() -> None:
    many = b": x\n\n" * (FOLD_AT // 5 + 1)
    _, actions = loom.step(KEY, streaming().state, came(many))
    assert actions == (SendChunk(many), Tell(KEY, ObservationDue(came(many).at)))
    waiting = streaming() >> came(many[: FOLD_AT - 1])
    assert waiting.done[-1] == SendChunk(many[: FOLD_AT - 1])
    assert isinstance(waiting.state, Streaming)
    assert waiting.state.observed != fold(waiting.state.observed), "nothing was read yet"
    read = streaming() >> came(many) << SendChunk(many)
    assert isinstance(read.state, Streaming)
    assert read.state.observed == fold(read.state.observed), "it was read when it was told to"


@pytest.mark.parametrize(
    ("last", "actions"),
    [
        (UpstreamEnded(AT + 9), (EndResponse(),)),
        (failed(Cause.BROKEN, AT + 9), (AbortResponse(),)),
        (ClientGone(AT + 9), (AbortUpstream(),)),
        (ShutdownRequested(AT + 9), (AbortUpstream(), AbortResponse())),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.spec("exchange.observed-late", "exchange.record")
def test_the_end_goes_out_before_the_answer_is_read_and_logged(
    last: Event, actions: tuple[object, ...]
) -> None:
    state, first = loom.step(KEY, streaming().state, last)
    assert isinstance(state, Concluding)
    assert first == (*actions, Tell(KEY, ObservationDue(AT + 9)))
    over, then = loom.step(KEY, state, ObservationDue(AT + 9))
    assert isinstance(over, Finished)
    assert [type(action) for action in then] == [LogExchange]


# ------------------------------------------------------------------ bodies that stream up


@pytest.mark.spec("exchange.streamed", "exchange.request", "exchange.record-figures")
def test_an_upload_goes_up_as_it_comes() -> None:
    story = (
        Dialogue()
        >> UPLOAD
        << order(UPLOAD, 1, None)
        >> chunk(b"one")
        << SendUpstreamChunk(b"one")
        >> chunk(b"two")
        << SendUpstreamChunk(b"two")
        >> RequestEnded(AT)
        << EndUpstreamRequest()
        >> head(201, JSON_HEAD)
        << SendHead(201, JSON_HEAD)
        >> UpstreamEnded(AT)
        << EndResponse()
        << LogExchange
    )
    story.ends(Finished)
    assert (story.record.received, story.record.path) == (6, b"/v1/files")


@pytest.mark.spec("exchange.early")
def test_an_answer_comes_while_the_upload_goes_on() -> None:
    story = uploading() >> head(200) << SendHead(200, SSE_HEAD) >> chunk(b"two") << SendUpstreamChunk(b"two")
    story = story >> came(b"a") << SendChunk(b"a") >> RequestEnded(AT) << EndUpstreamRequest()
    (story >> UpstreamEnded(AT) << EndResponse() << LogExchange).ends(Finished)
    assert story.record.received == 6


@pytest.mark.spec("exchange.early", "exchange.over")
def test_a_413_of_upstreams_in_the_middle_of_an_upload_reaches_the_client_at_once() -> None:
    story = uploading() >> head(413, JSON_HEAD) << SendHead(413, JSON_HEAD) >> came(b"{}") << SendChunk(b"{}")
    story = story >> UpstreamEnded(AT) << EndResponse() << LogExchange
    (story >> chunk(b"two") >> RequestEnded(AT) >> ClientGone(AT)).ends(Finished)
    assert (story.record.status, story.record.received) == (413, 3)


# ------------------------------------------------------------------ going away


@pytest.mark.parametrize(
    "opening",
    [lambda: Dialogue() >> asked() >> chunk(b"{"), awaiting, uploading, backing_off],
    ids=["receiving", "before the head", "uploading", "in back-off"],
)
@pytest.mark.spec("exchange.client-gone", "exchange.over", "exchange.record")
def test_a_client_gone_before_the_head_aborts_upstream_and_nothing_more(
    opening: Callable[[], Dialogue],
) -> None:
    story = opening() >> ClientGone(AT + 7 * MS) << AbortUpstream() << LogExchange
    (story >> fired(AT) >> head() >> came(b"late") >> failed(Cause.RESET) >> UpstreamEnded(AT)).ends(Finished)
    assert (story.record.status, story.record.to_head, story.record.relayed) == (None, None, 0)
    assert (story.record.outcome, story.record.total) == ("client gone", 7 * MS)


@pytest.mark.spec("exchange.client-gone", "exchange.over", "exchange.record")
def test_a_client_gone_in_the_middle_of_an_answer_aborts_upstream_and_nothing_more() -> None:
    story = streaming() >> came(FRAMES[0]) << SendChunk(FRAMES[0]) >> ClientGone(AT + 7) << AbortUpstream()
    (story << LogExchange >> came(FRAMES[1]) >> UpstreamEnded(AT) >> ObservationDue(AT)).ends(Finished)
    assert (story.record.status, story.record.outcome, story.record.total) == (200, "client gone", 7)
    assert story.record.seen is not None
    assert story.record.seen.message_id == "msg_1"


@pytest.mark.parametrize(
    "opening",
    [lambda: Dialogue() >> asked() >> chunk(b"{"), awaiting, uploading, backing_off],
    ids=["receiving", "before the head", "uploading", "in back-off"],
)
@pytest.mark.spec("exchange.shutdown", "exchange.over", "exchange.record")
def test_a_shutdown_before_the_head_is_told_with_a_503(opening: Callable[[], Dialogue]) -> None:
    story = (
        answered_here(opening() >> ShutdownRequested(AT + MS) << AbortUpstream(), errors.SHUTTING_DOWN)
        << LogExchange
    )
    (story >> fired(AT) >> head() >> chunk(b"late") >> RequestEnded(AT)).ends(Finished)
    assert (story.record.status, story.record.outcome) == (503, "shut down")


@pytest.mark.spec("exchange.shutdown-answering", "exchange.record")
def test_a_shutdown_in_the_middle_of_an_answer_breaks_it_off() -> None:
    story = streaming() >> ShutdownRequested(AT) << AbortUpstream() << AbortResponse() << LogExchange
    assert story.ends(Finished).record.outcome == "shut down"


@pytest.mark.parametrize(
    "last", [ClientGone(AT), ShutdownRequested(AT)], ids=lambda event: type(event).__name__
)
@pytest.mark.spec("exchange.over", "exchange.record")
def test_an_exchange_that_never_began_ends_without_a_line(last: Event) -> None:
    (Dialogue() >> last >> asked() >> chunk(b"{}")).ends(Finished)


# ------------------------------------------------------------------ order


FROM_THE_CLIENT = {RequestChunkReceived, RequestEnded}
GOING = {ClientGone, ShutdownRequested}
FITS: dict[str, set[type[Event]]] = {
    "Idle": GOING | {RequestReceived},
    "Receiving": GOING | FROM_THE_CLIENT,
    "Composing (looking up)": GOING | {LookupsAnswered},
    "Composing (recalling)": GOING | {MemoriesRecalled},
    "Composing (deciding)": GOING | {DecisionsMade},
    "AwaitingHead": GOING | {UpstreamHeadReceived, UpstreamFailed},
    "AwaitingHead (body streams up)": GOING | FROM_THE_CLIENT | {UpstreamHeadReceived, UpstreamFailed},
    "BackingOff": GOING | {TimerFired},
    "Streaming": GOING | {UpstreamChunkReceived, UpstreamEnded, UpstreamFailed, ObservationDue},
}
STRANGE = [
    (name, label)
    for name, fitting in FITS.items()
    for label, event in samples.events().items()
    if type(event) not in fitting
]


@pytest.mark.parametrize(("name", "label"), STRANGE)
@pytest.mark.spec("exchange.bad-order")
def test_an_event_out_of_order_changes_nothing_and_is_noted(name: str, label: str) -> None:
    state, event = samples.states()[name], samples.events()[label]
    where = type(state).__name__
    if isinstance(state, Composing) and isinstance(event, Answered):
        where = f"Composing ({type(state.weaving).__name__})"
    assert loom.step(KEY, state, event) == (state, (Note(f"invalid transition: {label} in {where}"),))


@pytest.mark.parametrize("label", samples.events())
@pytest.mark.spec("exchange.over")
def test_what_trickles_in_after_the_end_changes_nothing(label: str) -> None:
    event = samples.events()[label]
    assert loom.step(KEY, Finished(), event) == (Finished(), ())
    if not isinstance(event, ObservationDue):
        concluding = samples.states()["Concluding"]
        assert loom.step(KEY, concluding, event) == (concluding, ())


@pytest.mark.spec("exchange.record-discreet", "exchange.record-path")
def test_the_record_of_no_ending_tells_a_secret() -> None:
    secret = b"s3cret"
    request = asked(
        "PUT", b"/v1/files?key=" + secret, ((b"x-api-key", secret), (b"transfer-encoding", b"chunked"))
    )
    answer = head(200, ((b"content-type", b"text/plain"), (b"set-cookie", secret)))
    begun = [request, chunk(secret)]
    endings: list[list[Event]] = [
        [ClientGone(AT)],
        [ShutdownRequested(AT)],
        [failed(Cause.TLS)],
        [answer, came(secret), UpstreamEnded(AT)],
        [answer, came(secret), failed(Cause.BROKEN)],
    ]
    for ending in endings:
        state: loom.State = Idle()
        for event in [*begun, *ending, ObservationDue(AT)]:
            state, actions = loom.step(KEY, state, event)
            lines = [action for action in actions if isinstance(action, LogExchange)]
            assert all("s3cret" not in repr(line) for line in lines)
        assert isinstance(state, Finished)


# ------------------------------------------------------------------ weaving


@pytest.mark.parametrize("answers", [0, 1, 2], ids=["looking up", "recalling", "deciding"])
@pytest.mark.spec("weave.gone", "exchange.client-gone", "exchange.shutdown")
def test_what_ends_while_it_is_woven_never_reaches_upstream(answers: int) -> None:
    def composing() -> Dialogue:
        story, sources = begun(told_by_client()), Sources()
        for _ in range(answers):
            story = story << type(asks(story)) >> sources.answer(asks(story))
        return story << type(asks(story))

    gone = composing() >> ClientGone(AT + MS) << AbortUpstream() << LogExchange
    late = [samples.events()[it] for it in ("LookupsAnswered", "MemoriesRecalled", "DecisionsMade")]
    for event in late:
        gone = gone >> event
    assert gone.ends(Finished).record.outcome == "client gone"
    down = answered_here(composing() >> ShutdownRequested(AT) << AbortUpstream(), errors.SHUTTING_DOWN)
    assert (down << LogExchange).ends(Finished).record.attempts == 0
    assert not [*gone.of(SendUpstream), *down.of(SendUpstream)]


@pytest.mark.spec("weave.told", "weave.owed", "weave.length")
def test_a_woven_request_has_its_own_length_and_its_answer_says_what_was_woven() -> None:
    lengths = ((b"content-length", b"%d" % len(told_by_client())),)
    story = through(Sources(), told_by_client(), request((*WHOSE, *lengths)))
    (order_,) = story.of(SendUpstream)
    assert order_.headers[-1] == (b"content-length", b"%d" % len(up(story)))
    assert [name for name, _ in order_.headers].count(b"content-length") == 1
    assert isinstance(story.state, AwaitingHead)
    taken = story.state.taken
    assert taken.woven is not None
    told = ((b"x-loom-exchange", KEY.id.encode()), (b"x-loom-woven", taken.woven.told.encode()))
    story = story >> head(200, JSON_HEAD) << SendHead(200, (*JSON_HEAD, *told))
    story = story >> UpstreamEnded(AT) << EndResponse() << Remember << LogExchange
    assert story.ends(Finished).of(Remember) == [taken.owed]
    assert story.record.woven == taken.woven


@pytest.mark.spec("weave.length", "retry.attempts")
def test_a_second_attempt_sends_the_same_woven_bytes_and_notes_nothing_again() -> None:
    away = Sources(is_read=False, trouble="the store: slow")
    for sources in (Sources(), away):
        story = through(sources, told_by_client(), request())
        story = story >> failed(Cause.STALE) << SetTimer >> fired(AT) << SendUpstream
        first, second = story.of(SendUpstream)
        assert evolve(second, attempt=1) == first


@pytest.mark.spec("weave.told")
def test_the_client_is_told_nothing_where_headers_are_switched_off() -> None:
    quiet = through(Sources(), told_by_client(), request(of=rules(tells=False)))
    (quiet >> head(200, JSON_HEAD) << SendHead(200, JSON_HEAD)).ends(Streaming)


def test_a_body_is_received_before_an_attempt_is_made() -> None:
    (Dialogue() >> asked() >> chunk(b"{}")).ends(Receiving)


@pytest.mark.spec("errors.shape", "errors.close")
def test_the_looms_own_answer_can_be_read_as_json_of_the_api() -> None:
    story = Dialogue() >> asked(admission=Admission.REFUSED)
    (sent,) = story.of(SendHead)
    (body,) = (action.data for action in story.of(SendChunk))
    assert dict(sent.headers)[b"content-length"] == b"%d" % len(body)
    assert msgspec.json.decode(body)["error"]["type"] == "authentication_error"
