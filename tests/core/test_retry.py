from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as evolve

from loom_core.actions import (
    AbortResponse,
    AbortUpstream,
    EndResponse,
    EndUpstreamRequest,
    LogExchange,
    SendChunk,
    SendHead,
    SendUpstream,
    SendUpstreamChunk,
    SetTimer,
)
from loom_core.errors import upstream_failed
from loom_core.events import RequestEnded, UpstreamEnded
from loom_core.exchange import BACK_OFF, AwaitingHead, BackingOff, Finished, Streaming
from loom_core.outgoing import order
from loom_core.retry import RETRIED, jitter, retry_after, wait, wait_after_status
from loom_core.rules import SECOND, Retry, Rules
from loom_core.values import Cause
from tests.support.dialogue import (
    FRAMES,
    JSON_HEAD,
    MS,
    UPLOAD,
    Dialogue,
    answered_here,
    awaiting,
    came,
    chunk,
    failed,
    fired,
    head,
    streaming,
    uploading,
)
from tests.support.samples import AT, SSE_HEAD, asked

NOW = datetime.fromtimestamp(1_700_000_000, UTC)
seeds = st.integers(0, 2**64)
attempts = st.integers(1, 20)


def asking(value: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"x", b"1"), (b"Retry-After", value))


@pytest.mark.spec("retry.causes", "retry.final")
def test_the_causes_tried_again_are_those_before_any_head() -> None:
    assert {Cause.REFUSED, Cause.STALE, Cause.CLOSED, Cause.RESET} == RETRIED


@given(seeds, attempts)
@pytest.mark.spec("retry.back-off")
def test_the_wait_grows_by_the_factor(seed: int, attempt: int) -> None:
    retry = Retry(base=SECOND, factor=3.0, cap=10**30)
    assert wait(retry, attempt, seed) == pytest.approx(SECOND * 3 ** (attempt - 1) * jitter(seed, attempt))


@given(
    seeds,
    attempts,
    st.integers(0, 3600 * SECOND),
    st.floats(1, 1e6),
    st.integers(0, 3600 * SECOND),
)
@pytest.mark.spec("retry.cap", "retry.jitter")
def test_the_wait_is_never_longer_than_the_cap_with_its_jitter(
    seed: int, attempt: int, base: int, factor: float, cap: int
) -> None:
    pause = wait(Retry(base=base, factor=factor, cap=cap), attempt, seed)
    assert 0.5 * min(base, cap) - 1 <= pause <= 1.5 * cap


@pytest.mark.spec("retry.cap")
def test_a_base_over_the_cap_waits_the_cap_the_first_time_too() -> None:
    assert wait(Retry(base=60 * SECOND, cap=SECOND), 1, 7) == int(SECOND * jitter(7, 1))


@pytest.mark.spec("retry.cap")
def test_no_configuration_overflows_the_power() -> None:
    retry = Retry(base=SECOND, factor=1e300, cap=SECOND * 3600)
    assert wait(retry, 20, 7) == int(SECOND * 3600 * jitter(7, 20))


@given(seeds, attempts)
@pytest.mark.spec("retry.jitter", "retry.jitter-same")
def test_the_jitter_is_a_half_to_one_and_a_half_and_the_same_each_time(seed: int, attempt: int) -> None:
    assert 0.5 <= jitter(seed, attempt) < 1.5
    assert jitter(seed, attempt) == jitter(seed, attempt)


@pytest.mark.spec("retry.jitter")
def test_the_jitter_spreads_exchanges_and_attempts_over_its_range() -> None:
    drawn = sorted(jitter(seed, attempt) for seed in range(100) for attempt in range(1, 6))
    assert len(set(drawn)) == 500
    assert drawn[0] < 0.52
    assert drawn[-1] > 1.48
    assert sum(drawn) / 500 == pytest.approx(1, abs=0.05)


@pytest.mark.spec("retry.jitter-same")
def test_the_jitter_is_one_that_was_written_down() -> None:
    assert jitter(7, 1) == 0.5558742334559881


@given(st.integers(0, 10**9))
@pytest.mark.spec("retry.after-seconds")
def test_seconds_are_read(seconds: int) -> None:
    assert retry_after(asking(b"%d" % seconds), AT) == seconds * SECOND


@pytest.mark.spec("retry.after-seconds", "headers.numbers")
def test_seconds_of_thousands_of_digits_are_only_very_long() -> None:
    assert retry_after(asking(b"9" * 9_000), AT) == 10**18 * SECOND


@given(st.datetimes(datetime(1971, 1, 1), datetime(9999, 1, 1)), st.integers(0, SECOND - 1))  # noqa: DTZ001 set below
@pytest.mark.spec("retry.after-date")
def test_a_date_is_read_to_the_second_and_a_past_one_is_now(moment: datetime, fraction: int) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    value = format_datetime(moment, usegmt=True).encode()
    due = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    assert retry_after(asking(value), AT + fraction) == max(0, due * SECOND - AT - fraction)


@pytest.mark.spec("retry.after-date")
def test_the_date_of_the_standard_is_read_in_any_spelling() -> None:
    assert retry_after(asking(b"Sun, 06 Nov 1994 08:49:37 GMT"), 0) == 784_111_777 * SECOND
    assert retry_after(asking(b"sun, 06 nov 1994 08:49:37 gmt"), 0) == 784_111_777 * SECOND
    assert retry_after(asking(b"Thu, 29 Feb 2024 00:00:00 GMT"), 0) == 1_709_164_800 * SECOND


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"soon",
        b"-1",
        b"1.5",
        b"Sun, 06 Nov 1994 08:49:37 CET",
        b"Sun, 06 Nvm 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49 GMT",
        b"Sun, 06 Nov 1994 08:49:37:00 GMT",
        b"Sun, 06 Nov x 08:49:37 GMT",
        b"Sun, 06 Nov 19940 08:49:37 GMT",
        b"Sun, 06 Nov " + b"9" * 9_000 + b" 08:49:37 GMT",
        b"06 Nov 1994 08:49:37 GMT",
    ],
    ids=lambda value: value[:40].decode(),
)
@pytest.mark.spec("retry.after-odd")
def test_what_is_neither_is_as_if_absent(value: bytes) -> None:
    assert retry_after(asking(value), AT) is None
    assert retry_after(((b"x", b"1"),), AT) is None
    assert wait_after_status(Retry(), 1, 7, asking(value), AT) == wait(Retry(), 1, 7)


@given(st.binary(max_size=40))
@pytest.mark.spec("retry.after-odd", "exchange.total")
def test_any_value_can_be_read(value: bytes) -> None:
    found = retry_after(asking(value), AT)
    assert found is None or found >= 0


@pytest.mark.spec("retry.after-seconds", "retry.after-cap")
def test_upstreams_wait_is_kept_up_to_the_cap_and_no_further() -> None:
    retry = Retry(cap=8 * SECOND)
    assert wait_after_status(retry, 1, 7, asking(b"8"), AT) == 8 * SECOND
    assert wait_after_status(retry, 1, 7, asking(b"9"), AT) is None


@pytest.mark.spec("retry.after-date", "retry.after-cap")
def test_a_date_is_kept_up_to_the_cap_and_no_further() -> None:
    near, far = (format_datetime(NOW + timedelta(seconds=s), usegmt=True).encode() for s in (8, 9))
    assert wait_after_status(Retry(), 1, 7, asking(near), AT) == 8 * SECOND
    assert wait_after_status(Retry(), 1, 7, asking(far), AT) is None


@pytest.mark.spec("retry.after-floor")
def test_a_shorter_wait_than_our_own_does_not_shorten_ours() -> None:
    assert wait_after_status(Retry(), 2, 7, asking(b"0"), AT) == wait(Retry(), 2, 7) > 0


# ------------------------------------------------------------------ stories: what is tried again


@pytest.mark.spec("retry.causes", "retry.same", "retry.back-off", "exchange.record-figures")
def test_a_connection_refused_twice_is_tried_a_third_time_and_answered() -> None:
    first, second = AT + MS, AT + 900 * MS
    story = (
        awaiting()
        >> failed(Cause.REFUSED, first)
        << SetTimer(BACK_OFF, first + wait(Retry(), 1, 7))
        >> fired(AT + 800 * MS)
        << order(asked(), 2, b"{}")
        >> failed(Cause.REFUSED, second)
        << SetTimer(BACK_OFF, second + wait(Retry(), 2, 7))
        >> fired(AT + 2_000 * MS)
        << order(asked(), 3, b"{}")
        >> head(at=AT + 2_100 * MS)
        << SendHead(200, SSE_HEAD)
        >> UpstreamEnded(AT + 2_200 * MS)
        << EndResponse()
        << LogExchange
    )
    story.ends(Finished)
    assert (story.record.attempts, story.record.to_head, story.record.received) == (3, 2_100 * MS, 2)


@pytest.mark.spec("retry.attempts", "retry.last-error", "errors.gateway", "exchange.record-cause")
def test_refused_a_third_time_the_client_gets_the_last_error() -> None:
    story = awaiting() >> failed(Cause.RESET) << SetTimer >> fired(AT) << order(asked(), 2, b"{}")
    story = story >> failed(Cause.CLOSED) << SetTimer >> fired(AT) << order(asked(), 3, b"{}")
    story = (
        answered_here(story >> failed(Cause.REFUSED, AT + 5 * MS), upstream_failed(Cause.REFUSED, 3))
        << LogExchange
    )
    story.ends(Finished)
    assert story.record == LogExchange(
        method="POST",
        path=b"/v1/messages",
        status=502,
        attempts=3,
        received=2,
        relayed=len(upstream_failed(Cause.REFUSED, 3).body),
        to_head=5 * MS,
        total=5 * MS,
        outcome="no answer",
        detail="connection refused: errno 7",
        seen=None,
    )


@pytest.mark.parametrize("cause", [Cause.REFUSED, Cause.RESET, Cause.CLOSED, Cause.STALE])
@pytest.mark.spec("retry.causes", "retry.attempts")
def test_a_failure_no_client_can_see_is_tried_again_unless_only_one_attempt_is_allowed(cause: Cause) -> None:
    (awaiting() >> failed(cause) << SetTimer).ends(BackingOff)
    once = asked(rules=Rules(Retry(max_attempts=1)))
    (answered_here(awaiting(once) >> failed(cause), upstream_failed(cause, 1)) << LogExchange).ends(Finished)


@pytest.mark.parametrize(
    "cause", [cause for cause in Cause if cause not in RETRIED], ids=lambda cause: cause.name
)
@pytest.mark.spec("retry.final", "errors.gateway", "errors.timeout", "errors.discreet")
def test_any_other_failure_is_told_at_once_without_its_detail(cause: Cause) -> None:
    story = (
        answered_here(awaiting() >> failed(cause, detail="10.0.0.7:443 errno 7"), upstream_failed(cause, 1))
        << LogExchange
    )
    story.ends(Finished)
    body = b"".join(action.data for action in story.of(SendChunk))
    assert b"10.0.0.7" not in body
    assert b"errno" not in body
    assert "10.0.0.7" in story.record.detail


@pytest.mark.spec("retry.stale")
def test_a_stale_connection_is_left_for_a_new_one_without_a_wait() -> None:
    story = awaiting() >> failed(Cause.STALE, AT + MS) << SetTimer(BACK_OFF, AT + MS)
    (story >> fired(AT + MS) << order(asked(), 2, b"{}")).ends(AwaitingHead)


@pytest.mark.spec("retry.after-head", "exchange.broken", "exchange.record-cause")
def test_after_a_head_nothing_is_tried_again_and_the_break_is_passed_on() -> None:
    for cause in Cause:
        story = streaming() >> came(FRAMES[0]) << SendChunk(FRAMES[0]) >> failed(cause, AT + 500 * MS)
        (story << AbortResponse() << LogExchange).ends(Finished)
        assert story.record.outcome == "upstream broke"
        assert story.record.detail == f"{cause.value}: errno 7"
        assert story.record.seen is not None
        assert (story.record.status, story.record.seen.message_id) == (200, "msg_1")


@pytest.mark.spec("retry.streamed")
def test_an_upload_of_which_nothing_went_out_is_tried_again_with_all_of_it() -> None:
    story = uploading() >> failed(Cause.REFUSED, replayable=True) << SetTimer
    # What the client sends meanwhile goes to the shell, which keeps it for the next attempt.
    story = story >> chunk(b"two") << SendUpstreamChunk(b"two") >> RequestEnded(AT) << EndUpstreamRequest()
    story = story >> fired(AT) << order(UPLOAD, 2, None) >> head() << SendHead(200, SSE_HEAD)
    (story >> UpstreamEnded(AT) << EndResponse() << LogExchange).ends(Finished)
    assert (story.record.attempts, story.record.received) == (2, 6)


@pytest.mark.parametrize(
    "cause", [cause for cause in Cause if cause in RETRIED], ids=lambda cause: cause.name
)
@pytest.mark.spec("retry.streamed")
def test_an_upload_of_which_a_part_went_out_is_not_tried_again(cause: Cause) -> None:
    story = uploading() >> failed(cause, replayable=False)
    (answered_here(story, upstream_failed(cause, 1)) << LogExchange).ends(Finished)


@pytest.mark.spec("retry.causes")
def test_a_body_read_whole_is_tried_again_though_it_was_sent() -> None:
    (awaiting() >> failed(Cause.RESET, replayable=False) << SetTimer).ends(BackingOff)


BUSY = Rules(Retry(max_attempts=2, statuses=frozenset({429, 529})))


@pytest.mark.spec("retry.statuses", "retry.answer-closed", "retry.same", "retry.after-seconds")
def test_a_configured_status_is_tried_again_after_the_wait_upstream_asks_for() -> None:
    request = asked(rules=BUSY)
    story = awaiting(request) >> head(429, ((b"retry-after", b"3"),), at=AT + MS) << AbortUpstream()
    story = story << SetTimer(BACK_OFF, AT + MS + 3 * SECOND) >> fired(AT) << order(request, 2, b"{}")
    # The last attempt's answer goes to the client, whatever it is.
    (story >> head(429, JSON_HEAD) << SendHead(429, JSON_HEAD)).ends(Streaming)


@pytest.mark.spec("retry.back-off", "retry.statuses")
def test_a_configured_status_without_a_wish_waits_the_usual_time() -> None:
    story = awaiting(asked(rules=BUSY)) >> head(529, JSON_HEAD, at=AT + MS) << AbortUpstream()
    (story << SetTimer(BACK_OFF, AT + MS + wait(BUSY.retry, 1, 7))).ends(BackingOff)


@pytest.mark.spec("retry.after-cap")
def test_an_answer_that_asks_for_more_than_the_cap_goes_to_the_client() -> None:
    headers = ((b"retry-after", b"9"),)
    (awaiting(asked(rules=BUSY)) >> head(429, headers) << SendHead(429, headers)).ends(Streaming)


@pytest.mark.spec("retry.statuses")
def test_an_answer_to_an_upload_is_never_tried_again_for_its_status() -> None:
    request = evolve(UPLOAD, rules=BUSY)
    (Dialogue() >> request << SendUpstream >> head(429) << SendHead(429, SSE_HEAD)).ends(Streaming)
