from pathlib import Path

import pytest

from tests.support.watch_kills import LINES, kill_rounds

pytestmark = pytest.mark.anyio
ROUNDS = 3


@pytest.mark.spec("watcher.restart", "bus.one-step", "bus.again")
async def test_whoever_is_killed_each_line_is_published_once_and_in_order(tmp_path: Path) -> None:
    told: list[str] = []
    assert await kill_rounds(tmp_path, ROUNDS, 7, told.append) == ROUNDS * LINES
    assert len(told) == ROUNDS
