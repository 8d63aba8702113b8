from pathlib import Path

import pytest

from loom_shell.memory import Cortex, MemoryPort, MemoryTroubleError, RemoteMemory, TextRefusedError
from loom_shell.secret import Secret


@pytest.mark.anyio
@pytest.mark.spec("memory.close")
async def test_both_memories_are_memories_and_can_be_closed_twice(tmp_path: Path) -> None:
    memories: tuple[MemoryPort, ...] = (
        Cortex(tmp_path),
        RemoteMemory("http://127.0.0.1:1", Secret("k"), lambda: 0),
    )
    for memory in memories:
        await memory.aclose()
        await memory.aclose()
        assert await memory.health() == "the memory is closed"


def test_a_text_that_is_refused_is_a_trouble_too() -> None:
    assert issubclass(TextRefusedError, MemoryTroubleError)
