import hmac
import stat
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.values import Admission, Headers
from loom_shell import gateway as gateway_module
from loom_shell.files import FileRefusedError
from loom_shell.gateway import ClientToken, Gateway, admit, new_token, read_tokens, write_tokens
from loom_shell.secret import Secret

KEY = Secret("sk-upstream")
ONE, TWO = b"loom_one", b"loom_two"
TOKENS = (ClientToken("one", sha256(ONE).digest()), ClientToken("two", sha256(TWO).digest()))
GUARDED = Gateway(KEY, TOKENS)


@pytest.mark.spec("gateway.own")
@pytest.mark.parametrize(
    "headers", [(), ((b"x-api-key", b"sk-ant"),), ((b"authorization", b"Bearer oauth"),)]
)
def test_without_a_key_the_clients_own_credential_stands(headers: Headers) -> None:
    assert admit(headers, Gateway()) is Admission.OWN


def test_with_a_key_and_no_tokens_everyone_is_let_in() -> None:
    assert admit((), Gateway(KEY)) is Admission.TOKEN
    assert admit(((b"x-api-key", b"anything"),), Gateway(KEY)) is Admission.TOKEN


@pytest.mark.spec("config.token-leak")
def test_tokens_without_a_key_let_nobody_in() -> None:
    assert admit(((b"x-api-key", ONE),), Gateway(None, TOKENS)) is Admission.REFUSED


@pytest.mark.spec("gateway.token")
@pytest.mark.parametrize(
    "headers",
    [
        ((b"x-api-key", ONE),),
        ((b"X-API-Key", b" " + TWO + b"\t"),),
        ((b"authorization", b"Bearer " + ONE),),
        ((b"AUTHORIZATION", b"bEARER   " + TWO),),
        ((b"accept", b"x"), (b"x-api-key", ONE), (b"authorization", b"Bearer " + ONE)),
        ((b"x-api-key", ONE), (b"x-api-key", TWO)),
    ],
)
def test_a_stored_token_is_admitted(headers: Headers) -> None:
    assert admit(headers, GUARDED) is Admission.TOKEN


@pytest.mark.spec("gateway.refused", "gateway.each")
@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"x-api-key", b""),),
        ((b"x-api-key", b"loom_three"),),
        ((b"x-api-key", ONE + b"x"),),
        ((b"x-api-key", ONE + b", " + ONE),),
        ((b"x-api-key", b"Bearer " + ONE),),
        ((b"authorization", ONE),),
        ((b"authorization", b"Bearer"),),
        ((b"authorization", b"Basic " + ONE),),
        ((b"cookie", ONE),),
        ((b"x-api-key", ONE), (b"x-api-key", b"other")),
        ((b"x-api-key", ONE), (b"authorization", b"Bearer other")),
        ((b"x-api-key", ONE), (b"authorization", b"Basic abc")),
        ((b"x-api-key", b"other"), (b"authorization", b"Bearer " + ONE)),
        ((b"x-api-key", TOKENS[0].digest.hex().encode()),),
        ((b"x-api-key", b"\xff\x00" * 100_000),),
    ],
)
def test_anything_else_is_refused(headers: Headers) -> None:
    assert admit(headers, GUARDED) is Admission.REFUSED


NAMES = st.one_of(st.sampled_from([b"x-api-key", b"authorization", b"Authorization"]), st.binary(max_size=20))
VALUES = st.one_of(st.binary(max_size=40), st.builds(b"Bearer ".__add__, st.binary(max_size=40)))


@pytest.mark.spec("gateway.any-bytes")
@given(st.lists(st.tuples(NAMES, VALUES), max_size=5))
def test_no_header_makes_it_raise_or_lets_a_stranger_in(headers: list[tuple[bytes, bytes]]) -> None:
    assert admit(tuple(headers), GUARDED) is Admission.REFUSED


@pytest.mark.spec("gateway.constant-time")
@pytest.mark.parametrize("token", [ONE, TWO, b"unknown"])
def test_every_stored_digest_is_compared_whichever_matches(
    token: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return hmac.compare_digest(one, other)

    class Watched:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(gateway_module, "hmac", Watched)
    admit(((b"x-api-key", token),), GUARDED)
    assert compared == [one.digest for one in TOKENS]


def test_a_new_token_is_random_and_fits_its_digest() -> None:
    token, digest = new_token()
    text = token.expose()
    assert text.startswith("loom_")
    assert len(text) == len("loom_") + 43
    assert sha256(text.encode()).digest() == digest
    assert new_token()[0] != token
    fresh = Gateway(KEY, (ClientToken("n", digest),))
    assert admit(((b"authorization", b"Bearer " + text.encode()),), fresh) is Admission.TOKEN


@pytest.mark.spec("gateway.hashed")
def test_tokens_are_written_hashed_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "client-tokens"
    write_tokens(path, TOKENS)
    assert read_tokens(path) == TOKENS
    assert path.read_text() == f"sha256:{sha256(ONE).hexdigest()} one\nsha256:{sha256(TWO).hexdigest()} two\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_comments_and_empty_lines_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text(f"# mine\n\n  sha256:{sha256(ONE).hexdigest()}   one  \r\n")
    assert read_tokens(path) == TOKENS[:1]


@pytest.mark.spec("gateway.file")
@pytest.mark.parametrize(
    "line",
    [
        b"loom_a-token-pasted-by-mistake",
        b"sha256:" + b"a" * 63 + b" one",
        b"sha256:" + b"A" * 64 + b" one",
        b"sha256:" + b"a" * 64,
        b"sha256:" + b"a" * 64 + b" two words",
        b"sha256:" + b"a" * 64 + b" \xff",
        b"\x00\x01\x02",
    ],
)
def test_a_malformed_line_is_refused_by_number_and_not_shown(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"# first\n" + line + b"\n")
    with pytest.raises(FileRefusedError) as refused:
        read_tokens(path)
    assert str(refused.value).startswith(f"line 2 of {path} must be")
    assert "\n" not in str(refused.value)
    assert "mistake" not in str(refused.value)


@pytest.mark.spec("gateway.file")
def test_a_name_used_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text(f"sha256:{'a' * 64} one\nsha256:{'b' * 64} one\n")
    with pytest.raises(FileRefusedError, match=r"line 2 of .* names one a second time"):
        read_tokens(path)
