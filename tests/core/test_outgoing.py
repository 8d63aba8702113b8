import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as evolve

from loom_core import errors
from loom_core.actions import (
    AbortResponse,
    AbortUpstream,
    EndResponse,
    LogExchange,
    SendHead,
    SendUpstream,
    SendUpstreamChunk,
    SetTimer,
)
from loom_core.errors import Refusal, too_large, upstream_failed
from loom_core.events import ClientGone, RequestEnded, RequestReceived
from loom_core.exchange import AwaitingHead, Finished
from loom_core.outgoing import order, path_of, refusal, streams_up, taken_whole, told_to_client
from loom_core.rules import Rules, WeaveRules
from loom_core.values import Admission, Cause, Headers, Request
from loom_core.woven import Compacted, WovenIn
from tests.support.dialogue import (
    MS,
    PROBE,
    UPLOAD,
    Dialogue,
    answered_here,
    awaiting,
    chunk,
    failed,
    head,
    uploading,
)
from tests.support.samples import AT, KEY, SSE_HEAD, asked

CHUNKED = ((b"Transfer-Encoding", b"chunked"),)


def sized(length: bytes) -> Headers:
    return ((b"Content-Length", length),)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/v1/messages?beta=true", b"/v1/messages"),
        (b"/v1/models", b"/v1/models"),
        (b"/a?key=secret?b", b"/a"),
        (b"?x", b""),
        (b"*", b"*"),
    ],
)
@pytest.mark.spec("exchange.record-path")
def test_the_path_is_the_target_without_its_query(target: bytes, path: bytes) -> None:
    assert path_of(Request("GET", target, ())) == path


@pytest.mark.parametrize("framing", [CHUNKED, sized(b"2"), sized(b"0"), ()])
@pytest.mark.parametrize(
    "target", [b"/v1/messages", b"/v1/messages?beta=true", b"/v1/messages/count_tokens?a"]
)
@pytest.mark.spec("exchange.whole")
def test_what_may_be_woven_into_is_read_whole(target: bytes, framing: Headers) -> None:
    assert not streams_up(Request("POST", target, framing))


@pytest.mark.parametrize("framing", [CHUNKED, sized(b"2"), sized(b"9" * 5_000)])
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", b"/v1/messages/batches"),
        ("POST", b"/v1/messages/"),
        ("POST", b"/V1/messages"),
        ("POST", b"/v1/files?beta=/v1/messages"),
        ("PUT", b"/v1/messages"),
        ("GET", b"/v1/messages"),
    ],
)
@pytest.mark.spec("exchange.streamed")
def test_every_other_body_streams_up(method: str, target: bytes, framing: Headers) -> None:
    assert streams_up(Request(method, target, framing))


@pytest.mark.parametrize("framing", [(), sized(b"0"), sized(b"none")])
@pytest.mark.spec("exchange.bodiless")
def test_without_a_framing_field_there_is_no_body_to_stream(framing: Headers) -> None:
    assert not streams_up(Request("PUT", b"/v1/files", framing))
    assert not streams_up(Request("GET", b"/v1/models", framing))


@pytest.mark.spec("exchange.refused")
def test_an_ordinary_request_is_not_refused() -> None:
    assert refusal(asked()) is None
    assert refusal(asked("GET", headers=())) is None
    assert refusal(asked(headers=CHUNKED)) is None


@pytest.mark.spec("exchange.connect")
def test_connect_is_refused() -> None:
    assert refusal(asked("CONNECT", b"example.org:443", ())) is errors.NOT_FOR_A_REVERSE_PROXY


@pytest.mark.parametrize("headers", [CHUNKED + sized(b"2"), sized(b"0") + CHUNKED, sized(b"") + CHUNKED])
@pytest.mark.spec("exchange.framing")
def test_two_framings_are_refused_in_either_order(headers: Headers) -> None:
    assert refusal(asked("PUT", b"/", headers)) is errors.TWO_FRAMINGS


@pytest.mark.spec("exchange.unauthorised")
def test_a_caller_without_a_token_is_refused_in_gateway_mode() -> None:
    assert refusal(asked(admission=Admission.REFUSED)) is errors.UNAUTHORISED
    assert refusal(asked(admission=Admission.TOKEN)) is None


@pytest.mark.spec("exchange.limit-declared", "exchange.limit")
def test_a_declared_length_is_held_against_the_limit() -> None:
    rules = Rules(max_body=100)
    assert refusal(asked(headers=sized(b"100"), rules=rules)) is None
    assert refusal(asked(headers=sized(b"101"), rules=rules)) == errors.too_large(100)
    assert refusal(asked(headers=sized(b"9" * 5_000), rules=rules)) == errors.too_large(100)
    assert refusal(asked(headers=CHUNKED, rules=rules)) is None
    assert refusal(asked(headers=sized(b"9" * 5_000))) is None
    assert refusal(asked("GET", headers=(), rules=Rules(max_body=0))) is None


@pytest.mark.spec("exchange.request", "exchange.own-credential", "headers.nothing-added", "headers.kept")
def test_the_order_is_the_clients_request_as_it_came() -> None:
    headers = (
        (b"Anthropic-Beta", b"a,b"),
        (b"x-api-key", b"k"),
        (b"Authorization", b"Bearer t"),
        (b"anthropic-beta", b"c"),
        (b"content-length", b"2"),
    )
    target = b"/v1/messages?beta=true&a=1&a=2&empty=&%2f=%20"
    assert order(asked("POST", target, headers), 2, b"{}") == SendUpstream(
        attempt=2, method="POST", target=target, headers=headers, body=b"{}", replace_credential=False
    )


@pytest.mark.spec("headers.hop-by-hop", "headers.host", "headers.expect")
def test_the_order_is_without_the_lines_of_the_hop() -> None:
    headers = ((b"Host", b"a"), (b"Expect", b"100-continue"), (b"Connection", b"x-a"), (b"X-A", b"1"))
    assert order(asked("GET", headers=headers), 1, b"").headers == ()


@pytest.mark.spec("exchange.one-credential")
def test_an_accepted_token_stays_here_and_the_looms_key_is_asked_for() -> None:
    headers = ((b"X-Api-Key", b"loom-token"), (b"x", b"1"), (b"authorization", b"Bearer other"))
    sent = order(asked("GET", headers=headers, admission=Admission.TOKEN), 1, b"")
    assert (sent.headers, sent.replace_credential) == (((b"x", b"1"),), True)


@pytest.mark.parametrize("body", [b"{}", b""])
@pytest.mark.spec("exchange.length", "headers.nothing-added")
def test_a_body_that_came_in_chunks_and_was_read_whole_goes_up_with_its_length(body: bytes) -> None:
    sent = order(asked(headers=(*CHUNKED, (b"x", b"1"))), 1, body)
    assert sent.headers == ((b"x", b"1"), (b"content-length", b"%d" % len(body)))


@pytest.mark.spec("exchange.length")
def test_a_body_whose_framing_left_no_field_goes_up_with_its_length() -> None:
    assert order(asked(headers=()), 1, b"{}").headers == ((b"content-length", b"2"),)


@pytest.mark.spec("exchange.bodiless", "headers.nothing-added")
def test_a_request_without_a_body_is_given_no_length() -> None:
    assert order(asked("GET", headers=()), 1, b"").headers == ()
    assert order(asked("POST", headers=sized(b"0")), 1, b"").headers == sized(b"0")


@pytest.mark.spec("exchange.streamed", "headers.nothing-added")
def test_a_body_that_streams_up_keeps_the_length_it_declared_and_gets_none() -> None:
    assert order(asked("PUT", headers=sized(b"9")), 1, None).headers == sized(b"9")
    assert order(asked("PUT", headers=CHUNKED), 1, None).headers == ()


@given(
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ-", min_size=1),
    st.binary(),
    st.lists(st.tuples(st.binary(min_size=1), st.binary())),
    st.sampled_from(Admission),
    st.none() | st.binary(),
)
@pytest.mark.spec("exchange.total", "exchange.request")
def test_any_request_is_refused_or_ordered_as_it_came(
    method: str, target: bytes, headers: list[tuple[bytes, bytes]], admission: Admission, body: bytes | None
) -> None:
    request = asked(method, target, tuple(headers), Rules(max_body=10), admission)
    streams_up(request.request)
    refused = refusal(request)
    assert refused is None or refused.status in {400, 401, 413}
    sent = order(request, 1, body)
    assert (sent.method, sent.target, sent.body) == (method, target, body)


# ------------------------------------------------------------------ what was woven in


@pytest.mark.parametrize(
    "headers", [sized(b"9"), CHUNKED, (), (*sized(b"9"), (b"content-length", b"9"))], ids=repr
)
@pytest.mark.spec("weave.length")
def test_an_edited_body_goes_up_with_exactly_its_own_length(headers: Headers) -> None:
    sent = order(asked(headers=(*headers, (b"x", b"1"))), 1, b"{}", edited=True)
    assert sent.headers == ((b"x", b"1"), (b"content-length", b"2"))


@pytest.mark.spec("weave.told", "weave.unwoven")
def test_only_a_woven_request_is_told_of_and_one_that_could_not_be_is_noted_too() -> None:
    taken = taken_whole(asked(), b"{}")
    assert (told_to_client(KEY, taken), taken.notes, taken.is_edited) == ((), (), False)
    woven = evolve(taken, woven=WovenIn("ann", AT, AT, identity=3))
    exchange = (b"x-loom-exchange", b"x-sample")
    assert told_to_client(KEY, woven) == (exchange, (b"x-loom-woven", b"identity=3,sticky=0,tokens=3"))
    assert woven.notes == ()
    away = evolve(taken, woven=WovenIn("ann", AT, AT, trouble="the store: slow", missing="store"))
    value = b"identity=0,sticky=0,tokens=0,missing=store"
    assert told_to_client(KEY, away) == (exchange, (b"x-loom-woven", value))
    assert away.notes == ("nothing was woven in for profile ann: the store: slow",)
    quiet = evolve(woven, asked=asked(rules=Rules(weaving=WeaveRules(tells=False))))
    assert told_to_client(KEY, quiet) == ()


@pytest.mark.spec("compact.drift-told")
def test_a_drift_is_noted_beside_all_else() -> None:
    headers = ((b"user-agent", b"claude-cli/2.1.400 (external)"),)
    drift = Compacted(("request class",), drift="instruction", begins="Sum it up.")
    woven = WovenIn("ann", AT, AT, trouble="the store: slow", missing="store", compaction=drift)
    said = (
        "compaction drift: the words of the instruction are not those known of claude-cli/2.1.400 (told by: "
        "request class), and stay as they are; they begin 'Sum it up.'"
    )
    taken = evolve(taken_whole(asked(headers=headers), b"{}"), woven=woven)
    assert taken.notes == (said, "nothing was woven in for profile ann: the store: slow")
    assert evolve(taken, woven=evolve(woven, missing="", trouble="")).notes == (said,)


# ------------------------------------------------------------------ stories: what the Loom refuses


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        (asked(admission=Admission.REFUSED), errors.UNAUTHORISED),
        (asked("CONNECT", b"a:443", ()), errors.NOT_FOR_A_REVERSE_PROXY),
        (asked(headers=((b"content-length", b"2"), (b"transfer-encoding", b"chunked"))), errors.TWO_FRAMINGS),
        (asked(rules=Rules(max_body=1)), too_large(1)),
        (evolve(UPLOAD, admission=Admission.REFUSED), errors.UNAUTHORISED),
    ],
    ids=["no token", "connect", "two framings", "too large", "an upload without a token"],
)
@pytest.mark.spec(
    "exchange.refused",
    "exchange.unauthorised",
    "exchange.connect",
    "exchange.framing",
    "exchange.limit-declared",
    "exchange.over",
)
def test_a_request_refused_at_its_head_never_reaches_upstream(
    request_: RequestReceived, refusal: Refusal
) -> None:
    story = answered_here(Dialogue() >> request_, refusal) << LogExchange
    (story >> chunk(b"{}") >> RequestEnded(AT) >> ClientGone(AT)).ends(Finished)
    assert (story.record.status, story.record.attempts, story.record.outcome) == (
        refusal.status,
        0,
        "refused",
    )
    assert (story.record.detail, story.record.relayed) == (refusal.kind, len(refusal.body))


@pytest.mark.spec("exchange.unauthorised", "exchange.one-credential")
def test_a_caller_with_a_token_goes_upstream_without_it() -> None:
    request = asked(
        headers=((b"x-api-key", b"loom-token"), (b"content-length", b"2")), admission=Admission.TOKEN
    )
    story = Dialogue() >> request >> chunk(b"{}") >> RequestEnded(AT)
    length = ((b"content-length", b"2"),)
    (
        story << SendUpstream(1, "POST", b"/v1/messages?beta=true", length, b"{}", replace_credential=True)
    ).ends(AwaitingHead)


@pytest.mark.spec("exchange.limit-gathered", "exchange.limit")
def test_a_body_read_whole_is_refused_when_it_passes_the_limit() -> None:
    request = asked(headers=((b"transfer-encoding", b"chunked"),), rules=Rules(max_body=4))
    story = Dialogue() >> request >> chunk(b"1234")
    (answered_here(story >> chunk(b"5", AT + MS), too_large(4)) << LogExchange).ends(Finished)
    assert (story.record.received, story.record.total, story.record.attempts) == (4, MS, 0)
    (Dialogue() >> request >> chunk(b"1234") >> RequestEnded(AT) << SendUpstream).ends(AwaitingHead)


LIMITED = evolve(UPLOAD, rules=Rules(max_body=4))


@pytest.mark.spec("exchange.limit-streamed", "exchange.limit", "exchange.record-figures")
def test_an_upload_is_refused_when_it_passes_the_limit() -> None:
    story = Dialogue() >> LIMITED << SendUpstream >> chunk(b"1234") << SendUpstreamChunk(b"1234")
    (answered_here(story >> chunk(b"5") << AbortUpstream(), too_large(4)) << LogExchange).ends(Finished)
    assert (story.record.received, story.record.attempts) == (4, 1)


@pytest.mark.spec("exchange.limit-streamed")
def test_an_upload_is_refused_between_two_attempts_too() -> None:
    story = Dialogue() >> LIMITED << SendUpstream >> failed(Cause.REFUSED) << SetTimer
    (answered_here(story >> chunk(b"12345") << AbortUpstream(), too_large(4)) << LogExchange).ends(Finished)


@pytest.mark.spec("exchange.limit-answering")
def test_an_upload_that_passes_the_limit_under_its_answer_ends_on_both_sides() -> None:
    story = Dialogue() >> LIMITED << SendUpstream >> head() << SendHead(200, SSE_HEAD)
    (story >> chunk(b"12345") << AbortUpstream() << AbortResponse() << LogExchange).ends(Finished)
    assert (story.record.status, story.record.outcome, story.record.detail) == (
        200,
        "refused",
        "body too large",
    )


@pytest.mark.spec("exchange.limit")
def test_without_a_limit_a_body_of_any_size_goes_up() -> None:
    many = bytes(64 * 1024 * 1024)
    awaiting(body=many).ends(AwaitingHead)
    (uploading() >> chunk(many) << SendUpstreamChunk(many)).ends(AwaitingHead)


@pytest.mark.spec("exchange.head-refused")
def test_the_looms_own_answer_to_head_is_a_head_alone() -> None:
    refusal = upstream_failed(Cause.TLS, 1)
    story = Dialogue() >> PROBE >> RequestEnded(AT) << SendUpstream >> failed(Cause.TLS)
    story = story << SendHead(502, refusal.headers(refusal.body)) << EndResponse() << LogExchange
    assert story.ends(Finished).record.relayed == 0
