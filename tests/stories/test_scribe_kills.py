from pathlib import Path

import pytest

from tests.support.scribe_kills import killed

pytestmark = pytest.mark.anyio


@pytest.mark.spec("scribe.crash", "scribe.once")
async def test_a_scribe_that_is_killed_neither_loses_nor_doubles_a_line(tmp_path: Path) -> None:
    sent, found = await killed(3, tmp_path, seed=1)
    assert sent == found > 0
