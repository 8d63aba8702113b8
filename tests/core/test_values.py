"""What events and actions speak of."""

import pytest

from loom_core.values import Cause, ExchangeKey


@pytest.mark.spec("errors.cause")
def test_every_cause_is_words_a_person_reads() -> None:
    assert all(" " in cause.value and cause.value.isprintable() for cause in Cause)
    assert len({cause.value for cause in Cause}) == len(Cause)


def test_a_key_names_one_exchange() -> None:
    assert ExchangeKey("a") == ExchangeKey("a") != ExchangeKey("b")
