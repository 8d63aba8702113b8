"""The home that the demonstration's Loom lives in: a profile, a memory, and a store with a memorable.

What cannot be had costs itself only, and a line: the Loom goes on without it, and so does the demonstration.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from loom_shell.driver import Driver
from loom_shell.embedded import Embedded, EmbeddedError
from loom_shell.memory import Cortex, MemoryTroubleError, NewMemory

PROFILE = "alpha"
"""The profile that is woven, the template of that name."""
WOVEN_SESSION = "demonstration-woven"
"""Whose requests are woven: of a session that named a profile once, every request belongs to it."""
MEMORY = "The warp was changed in March. Before that, two threads broke every week."
MEMORABLE = "The cloth is for an exhibition in May, and has to be of one piece."
DAY = 86_400 * 1_000_000_000
AGE = 60 * DAY
"""How long ago the memory is from, in nanoseconds."""
IMPATIENT, PATIENT = "deadline_ms = 250", "deadline_ms = 1000"
"""A machine that is busy is to show what others show."""


@asynccontextmanager
async def furnished(home: Path) -> AsyncIterator[tuple[str, ...]]:
    """Make the home; gives what it lacks, a line for each. Its store ends with the block."""
    _write_profile(home / "profiles" / PROFILE)
    embedded = Embedded(home)
    try:
        troubles = (await _remember(home), await _note(embedded))
        yield tuple(filter(None, troubles))
    finally:
        await embedded.aclose()


def _write_profile(folder: Path) -> None:
    """The template as it is, but for its patience."""
    folder.mkdir(parents=True)
    for source in (resources.files("loom_shell") / "templates" / PROFILE).iterdir():
        text = source.read_text(encoding="utf-8").replace(IMPATIENT, PATIENT)
        (folder / source.name).write_text(text, encoding="utf-8")


async def _remember(home: Path) -> str:
    cortex = Cortex(home)
    try:
        await cortex.put(NewMemory(MEMORY, Driver.now() - AGE))
    except MemoryTroubleError as error:
        return f"no memory: {error}"
    finally:
        await cortex.aclose()
    return ""


async def _note(embedded: Embedded) -> str:
    try:
        path = await embedded.start()
        # As Any: redis-py leaves the method that takes any command without types.
        client: Any = Redis(unix_socket_path=str(path), retry=Retry(NoBackoff(), 0))
        async with client:
            await client.execute_command("RPUSH", f"intro:memorables:{WOVEN_SESSION}", MEMORABLE)
    except (EmbeddedError, RedisError, OSError) as error:
        return f"{error}; so there is no memorable, and nothing outlives the Loom"
    return ""
