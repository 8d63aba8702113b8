import re
from collections.abc import Callable
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.redaction import MAX_VALUE, PATTERNS, VERSION, exported, found, marks_in, redacted

KEY_BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" * 3
SECRETS = {
    "sk-ant-api03-Abcdefgh1234567890_-xyz": "anthropic key",
    "sk-proj-Abcdefgh1234567890abcd": "api key",
    "sk_live_Abcdefgh12345678": "stripe key",
    "loom_" + "Ab3-_" * 8 + "xyz": "loom token",
    "ghp_Abcdefgh1234567890Abcdefgh1234567890": "github token",
    "github_pat_Abcdefgh1234567890_Abcdefgh": "github token",
    "glpat-Abcdefgh1234567890": "gitlab token",
    "AKIAIOSFODNN7EXAMPLE": "aws key id",
    "xoxb-1234567890-abcdef": "slack token",
    "AIza" + "SyA1234567890abcdefghijklmnopqrstuv": "google key",
    "ya29.Abcdefgh1234567890": "google token",
    "hf_Abcdefgh1234567890Abcd": "hugging face token",
    "npm_Abcdefgh1234567890Abcdefgh1234567890": "npm token",
    "pypi-AgEIcHlwaS5vcmcCJDAwMDAwMDAwLTAwMDA": "pypi token",
    "pylf_v1_us_Abcdefgh1234567890": "logfire token",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlMTIz": "web token",
    f"-----BEGIN RSA PRIVATE KEY-----\n{KEY_BODY}\n-----END RSA PRIVATE KEY-----": "private key",
    f"-----BEGIN PRIVATE KEY-----\\n{KEY_BODY}": "private key",
}
NAMED = {
    "Authorization: Bearer Abcdef-1234567890.xyz": ("Authorization: Bearer ", "credential"),
    "authorization: Basic dXNlcjpwYXNzd29yZA==": ("authorization: Basic ", "credential"),
    '"x-api-key": "0123456789abcdef"': ('"x-api-key": "', "credential"),
    'aws_secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"': (
        'aws_secret_access_key = "',
        "aws secret",
    ),
    "export MY_API_KEY=0123456789abcdef": ("export MY_API_KEY=", "assigned secret"),
    "postgres://user:hunter2@db/x": ("postgres://user:", "password"),
}


@pytest.mark.spec("spans.redaction")
@pytest.mark.parametrize(("secret", "name"), SECRETS.items(), ids=SECRETS.values())
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("so: ", "\nand"),
        ('{"a":"', '"}'),
        ("'", "' é"),
        ("a\\n", "\\nb"),
        ("\\u0009", "\\t"),
        ("_", "."),
    ],
)
def test_a_secret_is_taken_out_and_named(secret: str, name: str, before: str, after: str) -> None:
    clean = redacted(f"{before}{secret}{after}")
    assert f"[redacted: {name}]" in clean
    assert clean.startswith(before)
    assert secret[12:] not in clean


@pytest.mark.spec("spans.redaction")
@pytest.mark.parametrize(("text", "told"), NAMED.items())
def test_a_secret_behind_its_name_goes_and_the_name_stays(text: str, told: tuple[str, str]) -> None:
    name, what = told
    assert redacted(text).startswith(f"{name}[redacted: {what}]")
    for coded in (text.replace('"', '\\"'), f"a\\n{text}", f'{{"a":"\\t{text}'):
        assert f"[redacted: {what}]" in redacted(coded)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the task-force met; sk-8 is a road",
        "a bearer of good news travels far",
        "token = tokenizer.next_token()",
        "https://example.org:8080/a?b=c",
        "import { AKIA } from 'x'",
        "-----BEGIN CERTIFICATE-----",
        "loom_core.redaction and loom_shell",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redacted(text) is text or redacted(text) == text


@pytest.mark.spec("spans.redaction")
@given(st.lists(st.one_of(st.sampled_from([*SECRETS, *NAMED]), st.text(max_size=30)), max_size=6))
def test_what_was_redacted_stays_as_it_is(parts: list[str]) -> None:
    once = redacted(" ".join(parts))
    assert redacted(once) == once


MARKS = [mark for pattern in PATTERNS for mark in pattern.marks]


@pytest.mark.spec("spans.redaction")
@given(
    st.lists(st.one_of(st.sampled_from([*SECRETS, *NAMED, *MARKS]), st.text(max_size=30)), max_size=6).map(
        " ".join
    )
)
def test_no_text_is_passed_over_that_a_pattern_matches(text: str) -> None:
    searched = text
    for pattern in PATTERNS:
        searched = pattern.expression.sub(rf"\1[redacted: {pattern.name}]", searched)
    assert redacted(text) == redacted(text) == searched
    assert exported(text) == exported(text) == searched.encode("utf-8", "replace").decode()


def test_a_match_of_a_pattern_always_holds_one_of_its_marks() -> None:
    for text in [*SECRETS, *NAMED]:
        for pattern in PATTERNS:
            for match in pattern.expression.finditer(text):
                assert any(mark in match.group() for mark in pattern.marks)
    assert VERSION >= 1


@pytest.mark.spec("spans.capped")
@pytest.mark.parametrize("unit", ["a", "é", "😀", "\ud800"])
@pytest.mark.parametrize("count", [8_191, 8_192, 16_384, 32_767, 32_768, 32_769, 50_000, 200_000])
def test_a_value_has_its_share_of_bytes_and_a_cut_is_seen(unit: str, count: int) -> None:
    text = unit * count
    told = exported(text)
    octets = told.encode()
    assert len(octets) <= MAX_VALUE
    if len(text.encode("utf-8", "replace")) <= MAX_VALUE:
        assert told == text.encode("utf-8", "replace").decode()
    else:
        assert told.endswith(f"… [cut: {count} characters in all]")
        assert len(octets) > MAX_VALUE - 12_000


@pytest.mark.spec("spans.redaction")
@pytest.mark.parametrize("secret", [*SECRETS])
def test_no_cut_lets_a_part_of_a_secret_out(secret: str) -> None:
    tail = re.escape(secret[12:24])
    for start in range(1_000 - len(secret) - 60, 1_010):
        assert not re.search(tail, exported(" " * start + secret + " " * 500, 1_000))
    for start in range(1_000 + 8_192 - len(secret) - 5, 1_000 + 8_195):
        assert not re.search(tail, exported(" " * start + secret + " " * 50_000, 1_000))


def places(text: str, ends: Callable[[int, int], int] = lambda _, end: end) -> list[str]:
    return [text[begin:end] for begin, end in found(text, marks_in(text), ends)]


def test_it_is_told_where_secrets_lie() -> None:
    assert places("my sk-ant-api03-AAAAbbbb, DB_PASSWORD=hunter2x") == ["sk-ant-api03-AAAAbbbb", "hunter2x"]
    assert places("tea") == []
    assert marks_in("a task-force, KEY=x") == {"sk-", "KEY="}
    assert marks_in("tea") == set()


def test_a_private_key_ends_where_it_says_or_where_its_text_does() -> None:
    keys = [secret for secret, name in SECRETS.items() if name == "private key"]
    assert places(f"{keys[0]} and {keys[0]}; {keys[1]}") == [keys[0], keys[0], keys[1]]
    text = f'"{keys[1]}","{keys[0]}"'
    assert places(text, lambda begin, end: min(end, text.find('"', begin) % 1_000)) == [keys[1], keys[0]]


def test_thousands_of_beginnings_of_keys_take_no_longer_than_their_text_is_long() -> None:
    """Eight times the text: the quadratic way takes 64 times as long."""
    assert seconds(20_000) < 24 * seconds(2_500)


def seconds(count: int) -> float:
    """CPU time, at best, for so many that do not end."""
    text, best = '"-----BEGIN PRIVATE KEY----- x",' * count, float("inf")
    for _ in range(3):
        began = process_time()
        assert len(places(text, lambda begin, _: text.index('"', begin))) == count
        best = min(best, process_time() - began)
    return best
