import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.replay.escapes import depths
from loom_shell.replay.scrubbing import Scrubber
from loom_shell.simulator.frames import block_frames
from tests.support import planted

KEY = "sk-ant-api03-AAAAbbbbCCCCddddEEEE"
SECRETS = (
    KEY,
    "ghp_abcdefghijklmnop1234",
    "AKIAABCDEFGHIJKLMNOP",
    "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSMeKKF2QT4",
)


def scrubber() -> Scrubber:
    return Scrubber(b"k" * 32)


@pytest.mark.spec("journal.tokens")
@pytest.mark.parametrize("secret", SECRETS)
def test_a_token_is_as_long_as_its_secret_and_the_same_wherever_it_stands(secret: str) -> None:
    scrub = scrubber()
    clean = scrub.content(f'{{"a":"{secret}","b":"so {secret}"}}'.encode())
    assert secret.encode() not in clean
    assert len(clean) == len(f'{{"a":"{secret}","b":"so {secret}"}}')
    assert clean.count(scrub.token(secret).encode()) == 2
    assert clean.startswith(b'{"a":"[redacted')


@pytest.mark.spec("journal.tokens")
def test_two_journals_have_different_tokens_for_one_secret() -> None:
    assert Scrubber().token(KEY) != Scrubber().token(KEY)


def test_different_secrets_have_different_tokens() -> None:
    scrub = scrubber()
    tokens = [scrub.token(f"secret-number-{number}") for number in range(100)]
    assert all(one != other for one, other in pairwise(sorted(tokens)))


@given(st.binary(max_size=200))
def test_whatever_it_is_keeps_its_length(content: bytes) -> None:
    assert len(scrubber().body(content)) == len(content)


@given(st.text(st.sampled_from('abcé \n{}":_=-PASSWORDKEY/@'), max_size=80))
def test_a_text_keeps_its_length_in_bytes_and_is_the_same_as_its_bytes(text: str) -> None:
    scrub = scrubber()
    assert scrub.text(text).encode() == scrub.content(text.encode())
    assert len(scrub.text(text).encode()) == len(text.encode())


@pytest.mark.spec("journal.secrets")
def test_credentials_of_headers_go_and_are_looked_for_everywhere() -> None:
    scrub = scrubber()
    lines = ((b"Authorization", b"Bearer plainwords"), (b"cookie", b"visit=1"), (b"accept", b"text/html"))
    clean = scrub.headers(lines)
    assert clean[0][1].startswith(b"Bearer ")
    assert b"plainwords" not in clean[0][1]
    assert clean[1][1] != b"visit=1"
    assert clean[2] == lines[2]
    assert b"plainwords" not in scrub.content(b"it is plainwords")


@pytest.mark.parametrize(
    "name", [b"anthropic-ratelimit-input-tokens-limit", b"www-authenticate", b"content-type", b"x-keyboard"]
)
def test_lines_that_only_look_like_credentials_stay(name: bytes) -> None:
    lines = ((name, b"nothing-to-hide"),)
    assert scrubber().headers(lines) == lines


@pytest.mark.parametrize(
    "name", [b"X-Api-Key", b"x-goog-api-key", b"Set-Cookie", b"x-amz-security-token", b"Proxy-Authorization"]
)
def test_lines_that_are_credentials_go(name: bytes) -> None:
    assert b"something-to-hide" not in scrubber().headers(((name, b"something-to-hide"),))[0][1]


@pytest.mark.spec("journal.secrets")
def test_a_credential_in_a_query_goes() -> None:
    target = b"/v1/files?beta=true&api_key=abc&token=xyz"
    clean = scrubber().target(target)
    assert clean.startswith(b"/v1/files?beta=true&api_key=")
    assert b"abc" not in clean
    assert b"xyz" not in clean
    assert len(clean) == len(target)


@pytest.mark.spec("journal.secrets")
def test_a_credential_of_a_query_is_looked_for_everywhere_and_a_word_of_one_is_not() -> None:
    scrub = scrubber()
    scrub.target(b"/v1/files?api_key=plain%2Fwords7&sort_key=created_at")
    clean = scrub.content(b'{"a":"plain%2Fwords7","b":"plain\\/words7","c":"created_at"}')
    assert b"words7" not in clean
    assert json.loads(clean)["c"] == "created_at"


@pytest.mark.spec("journal.secrets")
@pytest.mark.parametrize("step", [1, 5, 17, 25])
def test_a_secret_that_the_model_said_in_pieces_goes(step: int) -> None:
    said = f"The key is {KEY}, keep it."
    frames = block_frames(0, {"type": "text", "text": ""})
    pieces = [
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
        b'{"type":"text_delta","text":"%b"}}\n\n' % said[at : at + step].encode()
        for at in range(0, len(said), step)
    ]
    stream = b"".join([frames[0], *pieces, frames[-1]])
    clean = scrubber().body(stream)
    assert len(clean) == len(stream)
    told = b"".join(
        line.partition(b'"text":"')[2][:-3] for line in clean.splitlines() if b"text_delta" in line
    )
    assert told == said.encode().replace(KEY.encode(), scrubber().token(KEY).encode())


def test_what_looks_like_the_beginning_of_a_private_key_takes_no_more_than_its_string() -> None:
    body = b'{"a":"grep -----BEGIN RSA PRIVATE KEY----- x","b":[1]}'
    clean = scrubber().content(body)
    assert clean.endswith(b'","b":[1]}')
    assert b"PRIVATE" not in clean


@pytest.mark.spec("journal.secrets")
def test_of_a_text_that_is_no_json_all_that_follows_a_private_key_goes() -> None:
    lines = planted.PRIVATE.split("\n")
    quoted = f'See "{lines[0]}", "b": "{lines[1]}"'
    assert scrubber().text(quoted).startswith('See "[redacted')
    assert not planted.shows(planted.PRIVATE, scrubber().text(quoted))
    assert json.loads(scrubber().text(json.dumps({"a": lines[0], "b": 1})))["b"] == 1


def test_of_a_part_that_ends_in_a_secret_the_rest_goes_with_the_next() -> None:
    scrub, whole = scrubber(), f"x {KEY} y".encode()
    for cut in range(len(whole)):
        first = scrub.body(whole[:cut], is_whole=False)
        rest = scrub.body(whole[cut:], whole[:cut])
        assert KEY.encode() not in first + rest
        # Of what is left the beginning of the pattern alone may be to be seen.
        assert b"AAAA" not in first + rest


@pytest.mark.spec("journal.secrets")
def test_an_escape_of_an_escape_hides_no_half_of_a_secret_wherever_it_is_cut() -> None:
    secret = text = "AKIAIOSFODNN7EXAMPLE"
    for _ in range(3):
        text = "".join(f"\\u{ord(letter):04x}" for letter in text)
    for cut in range(1, len(text), 5):
        halves = text[:cut].encode(), text[cut:].encode()
        scrub = scrubber()
        clean = (scrub.body(halves[0], is_whole=False) + scrub.body(halves[1], halves[0])).decode()
        assert not any(planted.shows(secret, it.text) for it in depths(clean))


@given(st.sampled_from(SECRETS), st.integers(1, 40_000))
def test_a_secret_in_a_large_body_is_found_wherever_a_message_begins(secret: str, words: int) -> None:
    body = b'[{"role":"user","content":"' + b"tea " * words + secret.encode() + b'"},{"role":"user"}]'
    assert secret.encode() not in scrubber().content(body)


@pytest.mark.hypothesis
@pytest.mark.spec("journal.secrets", "journal.tokens")
@given(st.data(), planted.said(), st.integers(1, 3))
def test_a_secret_in_escapes_goes_and_the_json_stays(
    how: st.DataObject, said: tuple[str, str], depth: int
) -> None:
    secret, text = said
    body = how.draw(planted.nested(text, depth)).encode("utf-8", "surrogatepass")
    clean = scrubber().body(body)
    assert len(clean) == len(body)
    assert not planted.shows(secret, planted.read(clean.decode(), depth))


@pytest.mark.hypothesis
@pytest.mark.spec("journal.secrets")
@given(st.data(), planted.said(), st.integers(0, 2))
def test_a_secret_in_escapes_that_the_model_said_in_pieces_goes(
    how: st.DataObject, said: tuple[str, str], depth: int
) -> None:
    secret, text = said
    stream = how.draw(planted.streamed(how.draw(planted.nested(text, depth))))
    clean = scrubber().body(stream)
    assert len(clean) == len(stream)
    assert planted.heard(clean, 0) == planted.heard(stream, 0)
    assert not planted.shows(secret, planted.read(planted.heard(clean), depth))


@pytest.mark.hypothesis
@pytest.mark.spec("journal.secrets")
@given(
    st.data(),
    st.sampled_from(["a-credential/of+no_form", 'q"uo\\te\tto/ken;x=1', "sécret-é&<x>"]),
    st.integers(1, 3),
)
def test_a_credential_of_a_header_goes_in_escapes_too(how: st.DataObject, secret: str, depth: int) -> None:
    scrub = scrubber()
    scrub.headers(((b"x-api-key", secret.encode()),))
    body = how.draw(planted.nested(f"so {secret}", depth)).encode()
    assert not planted.shows(secret, planted.read(scrub.body(body).decode(), depth))


@pytest.mark.spec("journal.tokens")
def test_a_token_is_as_long_as_what_is_written_and_begins_alike_for_the_same_secret() -> None:
    written = KEY.replace("b", "\\u0062")
    clean = scrubber().content(f'{{"a":"{written}","b":"{KEY}"}}'.encode()).decode()
    long, short = clean[6 : 6 + len(written)], scrubber().token(KEY)
    assert clean == f'{{"a":"{long}","b":"{short}"}}'
    assert long.startswith(short)


@given(st.text(st.sampled_from('\\\\\\"u0061nrk-/:KEY=@ '), max_size=60))
def test_whatever_escapes_there_are_a_json_text_stays_one(words: str) -> None:
    body = json.dumps({"a": words, "b": json.dumps([words])}).encode()
    clean = json.loads(scrubber().body(body))
    assert clean.keys() == {"a", "b"}


def test_halves_of_surrogate_pairs_are_no_fault() -> None:
    text = "PASSWORD=\ud800\udc80 tea\udcff-tea"
    assert len(scrubber().text(text.replace(" ", ""))) > len(text)
    assert len(scrubber().content(b"PASSWORD=\xff\xfe-tea-tea")) == 19
