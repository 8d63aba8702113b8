from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.headers import first, framing, to_client, to_upstream, tokens, whole_number, without
from loom_core.values import Headers

OF_THE_HOP = [
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
]
Way = Callable[[Headers], Headers]
Spelling = Callable[[bytes], bytes]

WAYS = pytest.mark.parametrize("way", [to_upstream, to_client])

names = st.from_regex(rb"\A[A-Za-z][A-Za-z0-9-]{0,12}\Z") | st.sampled_from(
    [*OF_THE_HOP, b"Te", b"X-A", b"Host"]
)
lines = st.tuples(names, st.binary(max_size=12))


@pytest.mark.parametrize("spelling", [bytes.lower, bytes.upper, bytes.title])
@pytest.mark.parametrize("name", OF_THE_HOP)
@WAYS
@pytest.mark.spec("headers.hop-by-hop")
def test_a_field_of_the_hop_falls_away_in_any_spelling(way: Way, name: bytes, spelling: Spelling) -> None:
    assert way(((spelling(name), b"x"), (b"x-kept", b"1"))) == ((b"x-kept", b"1"),)


@WAYS
@pytest.mark.spec("headers.kept")
def test_other_lines_keep_order_spelling_value_and_repetition(way: Way) -> None:
    kept = (
        (b"X-Stainless-OS", b"Linux"),
        (b"anthropic-beta", b"a,b"),
        (b"Anthropic-Beta", b"c"),
        (b"x-odd", b"\xff \x80"),
        (b"anthropic-beta", b"a,b"),
        (b"x-empty", b""),
        (b"request-id", b"req_1"),
    )
    assert way(kept) == kept


@given(st.lists(lines), st.sampled_from([to_upstream, to_client]))
@pytest.mark.spec("headers.kept", "headers.nothing-added")
def test_what_goes_on_is_what_came_less_whole_lines(headers: list[tuple[bytes, bytes]], way: Way) -> None:
    after = list(way(tuple(headers)))
    rest = iter(headers)
    assert all(line in rest for line in after), "not a part of the lines in their order"
    stay = {name for name, _ in headers if name.lower() not in {*OF_THE_HOP, b"host", b"expect"}}
    if not any(name.lower() == b"connection" for name, _ in headers):
        assert stay <= {name for name, _ in after}


@WAYS
@pytest.mark.spec("headers.named")
def test_fields_named_in_any_connection_line_fall_away(way: Way) -> None:
    headers = (
        (b"Connection", b"close, X-One ,,"),
        (b"x-one", b"1"),
        (b"X-Two", b"2"),
        (b"x-three", b"3"),
        (b"connection", b"x-TWO"),
    )
    assert way(headers) == ((b"x-three", b"3"),)


@WAYS
@pytest.mark.spec("headers.never-named")
def test_no_one_strips_length_type_coding_or_credential_by_naming_them(way: Way) -> None:
    kept: Headers = (
        (b"Content-Length", b"2"),
        (b"content-type", b"application/json"),
        (b"content-encoding", b"gzip"),
        (b"authorization", b"Bearer t"),
        (b"x-api-key", b"k"),
        (b"close", b"not the option"),
    )
    named = b", ".join(name for name, _ in kept)
    assert way((*kept, (b"connection", named))) == kept


@pytest.mark.spec("headers.host")
def test_host_ends_at_the_loom_on_the_way_up_and_only_there() -> None:
    headers = ((b"Host", b"127.0.0.1:8080"), (b"x", b"1"))
    assert to_upstream(headers) == ((b"x", b"1"),)
    assert to_client(headers) == headers


@pytest.mark.spec("headers.expect")
def test_an_expectation_ends_at_the_loom_on_the_way_up_and_only_there() -> None:
    headers = ((b"Expect", b"100-continue"), (b"x", b"1"))
    assert to_upstream(headers) == ((b"x", b"1"),)
    assert to_client(headers) == headers


@WAYS
@pytest.mark.spec("headers.coding")
def test_codings_asked_for_and_applied_go_on_untouched(way: Way) -> None:
    headers = ((b"accept-encoding", b"gzip, br;q=0.5, zstd"), (b"content-encoding", b"GZIP, br"))
    assert way(headers) == headers


def test_lines_with_given_names_can_be_left_out() -> None:
    headers = ((b"X-Api-Key", b"k"), (b"x", b"1"), (b"AUTHORIZATION", b"t"))
    assert without(headers, frozenset({b"x-api-key", b"authorization"})) == ((b"x", b"1"),)


def test_the_first_of_repeated_lines_is_found_in_any_spelling() -> None:
    headers = ((b"X-One", b"a"), (b"x-one", b"b"))
    assert first(headers, b"x-one") == b"a"
    assert first(headers, b"x-two") is None


@pytest.mark.spec("headers.lists")
def test_a_list_is_read_over_all_its_lines() -> None:
    headers = ((b"Content-Encoding", b" GZIP ,,\tbr"), (b"x", b"no"), (b"content-encoding", b"zstd,"))
    assert tokens(headers, b"content-encoding") == ("gzip", "br", "zstd")
    assert tokens(headers, b"connection") == ()


@pytest.mark.spec("headers.lists")
def test_a_list_of_any_bytes_can_be_read() -> None:
    assert tokens(((b"connection", b"\xff, x"),), b"connection") == ("\xff", "x")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (b"0", 0),
        (b"000", 0),
        (b"42", 42),
        (b"0042", 42),
        (b"9" * 18, 10**18 - 1),
        (b"9" * 19, 10**18),
        (b"9" * 9_000, 10**18),
        (b"0" * 9_000 + b"7", 7),
        (b"", None),
        (b"-1", None),
        (b"+1", None),
        (b"1.0", None),
        (b"0x10", None),
        (b"1, 1", None),
        ("٣".encode(), None),
        (None, None),
    ],
)
@pytest.mark.spec("headers.numbers")
def test_a_number_is_digits_and_any_count_of_them(value: bytes | None, number: int | None) -> None:
    assert whole_number(value) == number


@pytest.mark.spec("headers.numbers")
def test_the_declared_length_is_read_or_absent() -> None:
    assert framing(((b"Content-Length", b"12"), (b"content-length", b"13"))) == (b"12", False)
    assert framing(((b"x", b"12"), (b"Transfer-Encoding", b"chunked"))) == (None, True)
    assert framing(((b"x", b"12"),)) == (None, False)
