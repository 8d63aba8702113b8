from pathlib import Path

import pytest

from tests.support.reading_kills import LINES, SESSIONS, kill_rounds

pytestmark = pytest.mark.anyio
ROUNDS = 3


@pytest.mark.spec("readers.kills")
async def test_whoever_is_killed_each_line_is_in_the_database_once_and_in_order(tmp_path: Path) -> None:
    told: list[str] = []
    assert await kill_rounds(tmp_path, ROUNDS, 11, told.append) == ROUNDS * LINES * len(SESSIONS)
    assert len(told) == ROUNDS
