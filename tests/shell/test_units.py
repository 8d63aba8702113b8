from datetime import UTC, timedelta, timezone

import pytest

from loom_shell.units import clock, count, dollars, duration

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("number", "told"),
    [(0, "0"), (9_999, "9,999"), (10_000, "10.0k"), (18_204, "18.2k"), (1_500_000, "1.50M")],
)
def test_counts_are_short(number: int, told: str) -> None:
    assert count(number) == told


@pytest.mark.parametrize(
    ("amount", "told"), [(0.00041, "$0.0004"), (0.1552, "$0.1552"), (1.0, "$1.00"), (12.345, "$12.35")]
)
def test_small_amounts_are_finer(amount: float, told: str) -> None:
    assert dollars(amount) == told


@pytest.mark.parametrize(
    ("seconds", "told"), [(-1, "0 ms"), (0.041, "41 ms"), (2.84, "2.8 s"), (65, "1 min 5 s")]
)
def test_durations_have_the_unit_that_fits(seconds: float, told: str) -> None:
    assert duration(round(seconds * SECOND)) == told


def test_a_moment_is_a_time_of_day_in_its_zone() -> None:
    assert clock(1_767_261_600 * SECOND, UTC) == "10:00:00"
    assert clock(1_767_261_600 * SECOND, timezone(timedelta(hours=2))) == "12:00:00"
    assert len(clock(0, None)) == 8
    assert clock(10**40, UTC) == "?"
