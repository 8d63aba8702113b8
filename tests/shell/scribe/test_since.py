from datetime import datetime

import pytest

from loom_core.rules import SECOND
from loom_shell.scribe.since import since

NOW = 1_800_000_000 * SECOND


@pytest.mark.spec("scribe.since")
@pytest.mark.parametrize(
    ("told", "seconds"), [("30m", 1_800), ("5 H", 18_000), ("2d", 172_800), ("1w", 604_800)]
)
def test_so_long_ago(told: str, seconds: int) -> None:
    assert since(told, NOW) == NOW - seconds * SECOND


@pytest.mark.spec("scribe.since")
def test_a_date_is_this_machines_and_a_zone_is_its_own() -> None:
    assert since("2026-01-31", NOW) == int(datetime(2026, 1, 31).astimezone().timestamp()) * SECOND
    assert since("2026-01-31T09:30:00Z", NOW) == 1_769_851_800 * SECOND
    assert since("2026-01-31T09:30:00+02:00", NOW) == 1_769_844_600 * SECOND


@pytest.mark.spec("scribe.since")
def test_nothing_is_before_the_epoch() -> None:
    assert since("999999999w", NOW) == 0
    assert since("1914-01-01", NOW) == 0


@pytest.mark.spec("scribe.since")
@pytest.mark.parametrize(
    "told", ["", "d", "2", "2y", "-2d", "yesterday", "2026-13-01", "\uff12d", "9999999999d"]
)
def test_anything_else_is_refused(told: str) -> None:
    with pytest.raises(ValueError):
        since(told, NOW)
