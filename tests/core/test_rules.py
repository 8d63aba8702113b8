import pytest

from loom_core.rules import SECOND, Retry, Rules


@pytest.mark.spec("retry.attempts", "retry.statuses")
def test_by_default_three_attempts_are_made_and_no_status_is_tried_again() -> None:
    assert Retry() == Retry(
        max_attempts=3, base=500_000_000, factor=2.0, cap=8_000_000_000, statuses=frozenset()
    )


@pytest.mark.spec("exchange.limit")
def test_by_default_a_body_has_no_limit() -> None:
    assert Rules() == Rules(retry=Retry(), max_body=None)


def test_a_second_is_told_in_nanoseconds() -> None:
    assert SECOND == 10**9
