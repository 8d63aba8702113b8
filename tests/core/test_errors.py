import msgspec
import pytest

from loom_core import errors
from loom_core.errors import Refusal, reason, too_large, upstream_failed
from loom_core.events import UpstreamFailed
from loom_core.values import Cause

OWN = [
    errors.UNAUTHORISED,
    errors.TWO_FRAMINGS,
    errors.NOT_FOR_A_REVERSE_PROXY,
    errors.SHUTTING_DOWN,
    too_large(9),
]
FAILED = [upstream_failed(cause, attempts) for cause in Cause for attempts in (1, 3)]
CAUSES = pytest.mark.parametrize("cause", Cause)


@pytest.mark.parametrize("refusal", OWN + FAILED, ids=lambda refusal: refusal.message[:40])
@pytest.mark.spec("errors.shape")
def test_an_error_is_json_in_the_shape_of_the_api(refusal: Refusal) -> None:
    body = refusal.body
    assert msgspec.json.decode(body) == {
        "type": "error",
        "error": {"type": refusal.kind, "message": refusal.message},
    }
    assert refusal.headers(body)[:2] == (
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    )


@pytest.mark.parametrize("refusal", OWN, ids=lambda refusal: refusal.message[:40])
@pytest.mark.spec("errors.close")
def test_an_error_that_may_leave_a_body_unread_closes_the_connection(refusal: Refusal) -> None:
    assert refusal.headers(b"")[2:] == ((b"connection", b"close"),)


@pytest.mark.parametrize("refusal", FAILED, ids=lambda refusal: refusal.message[:60])
@pytest.mark.spec("errors.close")
def test_an_error_after_the_request_was_read_keeps_the_connection(refusal: Refusal) -> None:
    assert refusal.headers(b"")[2:] == ()


@CAUSES
@pytest.mark.spec("errors.gateway", "errors.timeout")
def test_a_failure_is_502_and_a_wait_too_long_is_504(cause: Cause) -> None:
    refusal = upstream_failed(cause, 1)
    late = cause in {Cause.CONNECT_TIMEOUT, Cause.SILENT}
    assert (refusal.status, refusal.kind) == ((504, "timeout_error") if late else (502, "api_error"))


@CAUSES
@pytest.mark.spec("errors.cause")
def test_the_cause_and_the_attempts_are_named(cause: Cause) -> None:
    assert f": {cause.value}. " in upstream_failed(cause, 1).message
    assert f": {cause.value} (3 attempts). " in upstream_failed(cause, 3).message


@pytest.mark.parametrize(
    ("cause", "advice"),
    [
        (Cause.REFUSED, "is the Loom's `upstream` setting right?"),
        (Cause.UNREACHABLE, "`upstream` setting."),
        (Cause.TLS, "certificate"),
        (Cause.CONNECT_TIMEOUT, "`connect_timeout_seconds`"),
        (Cause.SILENT, "`silence_timeout_seconds`"),
        (Cause.RESET, "Sending the request again may help."),
        (Cause.PROTOCOL, "Sending the request again may help."),
    ],
)
@pytest.mark.spec("errors.advice")
def test_the_message_says_what_to_do(cause: Cause, advice: str) -> None:
    assert advice in upstream_failed(cause, 1).message


@pytest.mark.spec("errors.too-large")
def test_a_body_too_large_is_413_with_the_limit_and_its_setting() -> None:
    refusal = too_large(4096)
    assert (refusal.status, refusal.kind) == (413, "request_too_large")
    assert "4096 bytes" in refusal.message
    assert "max_body_bytes" in refusal.message


@pytest.mark.spec("errors.unauthorised", "errors.advice")
def test_a_missing_token_is_401_and_the_way_to_one_is_told() -> None:
    assert (errors.UNAUTHORISED.status, errors.UNAUTHORISED.kind) == (401, "authentication_error")
    assert "`loom token NAME`" in errors.UNAUTHORISED.message


@pytest.mark.spec("errors.advice")
def test_the_other_refusals_say_what_to_do() -> None:
    refused = [errors.TWO_FRAMINGS, errors.NOT_FOR_A_REVERSE_PROXY, errors.SHUTTING_DOWN]
    assert [(one.status, one.kind) for one in refused] == [
        (400, "invalid_request_error"),
        (400, "invalid_request_error"),
        (503, "api_error"),
    ]
    assert "send one of them" in errors.TWO_FRAMINGS.message
    assert "base URL" in errors.NOT_FOR_A_REVERSE_PROXY.message
    assert "again in a moment" in errors.SHUTTING_DOWN.message


@CAUSES
@pytest.mark.spec("errors.reason")
def test_the_log_gets_the_cause_and_the_detail_where_there_is_one(cause: Cause) -> None:
    failed = UpstreamFailed(0, cause, replayable=True, detail="[Errno 111] 10.0.0.7:443")
    assert reason(failed) == f"{cause.value}: [Errno 111] 10.0.0.7:443"
    assert reason(UpstreamFailed(0, cause, replayable=True, detail="")) == cause.value
