import copy
import json
import pickle
import traceback
from collections.abc import Callable

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.secret import Secret

TEXT = "sk-ant-not-a-real-key"


@attrs.frozen
class Holder:
    name: str
    key: Secret


@pytest.mark.spec("config.secret")
@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        ascii,
        lambda secret: f"{secret} {secret!s} {secret!r} {secret:>40} {[secret]} { ({'k': secret}) }",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - one of the ways to be checked
        lambda secret: repr(Holder("n", secret)),
        lambda secret: repr(attrs.asdict(Holder("n", secret))),
        lambda secret: repr(attrs.astuple(Holder("n", secret))),
        lambda secret: json.dumps({"key": secret}, default=str),
        lambda secret: msgspec.json.encode({"key": secret}, enc_hook=str).decode(),
        lambda secret: repr(KeyError(secret)),
    ],
)
def test_no_way_of_showing_it_shows_the_text(show: Callable[[Secret], str]) -> None:
    assert TEXT not in show(Secret(TEXT))
    assert "Secret(…)" in show(Secret(TEXT)) or "\\u2026" in show(Secret(TEXT))


@pytest.mark.spec("config.secret")
def test_a_traceback_with_local_values_does_not_show_it() -> None:
    def fails(secret: Secret) -> None:
        raise ValueError(secret)

    try:
        fails(Secret(TEXT))
    except ValueError as error:
        told = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "secret = Secret(…)" in told
    assert TEXT not in told


@pytest.mark.spec("config.secret")
@pytest.mark.parametrize(
    "dump",
    [
        pickle.dumps,
        json.dumps,
        msgspec.json.encode,
        msgspec.to_builtins,
        lambda secret: msgspec.json.encode(Holder("n", secret)),
        lambda secret: pickle.dumps(Holder("n", secret)),
        vars,
        bytes,
        iter,
        len,
    ],
)
def test_what_would_copy_the_text_out_is_refused(dump: Callable[[Secret], object]) -> None:
    with pytest.raises(TypeError) as refused:
        dump(Secret(TEXT))
    assert TEXT not in str(refused.value)


def test_expose_gives_the_text() -> None:
    assert Secret(TEXT).expose() == TEXT


def test_it_is_frozen_and_copies_are_itself() -> None:
    secret = Secret(TEXT)
    with pytest.raises(AttributeError):
        secret.text = "x"
    with pytest.raises(AttributeError):
        del secret._Secret__text
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


@given(st.text(), st.text())
def test_it_compares_and_hashes_as_its_text_does(one: str, other: str) -> None:
    assert (Secret(one) == Secret(other)) == (one == other)
    assert hash(Secret(one)) == hash(Secret(one))
    assert Secret(one) != one
