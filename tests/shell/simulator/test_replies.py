import msgspec
import pytest

from loom_shell.simulator.replies import (
    ERRORS,
    closing,
    error,
    head,
    json_answer,
    paced,
    plain,
    stream,
    stream_answer,
    usual,
)
from loom_shell.simulator.steps import Finish, Send, Step, Wait
from tests.shell.simulator.raw import asked, heard


def test_a_head_has_a_status_line_the_usual_lines_and_its_own() -> None:
    lines = head(asked(), 529, [("x-own", "caf\xe9")]).split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 529 Site Overloaded"
    assert lines[-3:] == [b"x-own: caf\xe9", b"", b""]
    names = [name for name, _ in usual(asked())]
    assert {"request-id", "date", "anthropic-ratelimit-tokens-remaining"} <= set(names)


def test_a_plain_answer_has_its_length() -> None:
    said = heard(plain(asked(), b"four"))
    assert (said.status, said.rest, said.headers[b"content-length"]) == (200, b"four", b"4")


@pytest.mark.parametrize("make", [json_answer, stream_answer])
def test_a_head_request_gets_the_head_alone(make: object) -> None:
    with_body, without = heard(make(asked())), heard(make(asked(method="HEAD")))
    assert without.raw == with_body.head + b"\r\n\r\n"
    assert with_body.rest


@pytest.mark.parametrize("status", ERRORS)
def test_errors_have_anthropics_shape(status: int) -> None:
    said = heard(error(asked(), status))
    shape = msgspec.json.decode(said.rest)
    assert said.status == status
    assert (shape["type"], shape["error"]["type"]) == ("error", ERRORS[status][0])
    assert shape["request_id"].encode() == said.headers[b"request-id"]


def test_an_error_can_say_something_else() -> None:
    assert b"no such path" in heard(error(asked(), 404, "no such path")).rest


def test_a_stream_is_one_chunk_a_piece_and_ends() -> None:
    said = heard(stream(asked(), [b"one", b"three"], lines=[("x-own", "1")]))
    assert said.chunks == [b"one", b"three", b""]
    assert said.headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert said.headers[b"x-own"] == b"1"


def test_a_stream_for_http_10_ends_with_the_connection() -> None:
    steps = list(stream(asked(http10=True), [b"one", b"three"]))
    assert heard(steps).rest == b"onethree"
    assert b"transfer-encoding" not in heard(steps).headers
    assert steps[-1] == Finish()


def test_a_last_chunk_may_carry_trailers() -> None:
    assert list(closing(asked(), b"0\r\na: 1\r\n\r\n")) == [Send(b"0\r\na: 1\r\n\r\n")]
    assert list(closing(asked(method="HEAD"))) == []


def test_writes_are_paced_when_the_query_says_a_rate() -> None:
    steps: list[Step] = list(paced(asked(rate="20"), [b"a", b"b"]))
    assert steps == [Send(b"a"), Wait(0.05), Send(b"b"), Wait(0.05)]
    assert list(paced(asked(), [b"a"])) == [Send(b"a"), Wait(0.0)]


@pytest.mark.parametrize("given", ["", "x", "0", "-1", "nan", "inf"])
def test_an_odd_option_counts_as_the_default(given: str) -> None:
    assert asked(size=given).option("size", 7) == 7
    assert asked(size="8").option("size", 7) == 8
    assert asked().option("size", 7) == 7


def test_a_body_that_is_no_object_counts_as_an_empty_message() -> None:
    assert asked(["odd"]).message == {}
    assert not asked(["odd"]).streams
    assert asked({"stream": True}).streams
