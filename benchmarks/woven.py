"""Servers of the cache benchmark, a process each: `python -m benchmarks.woven sim|loom …` prints its port.

`sim` is the simulator, whose usage figures are those of `loom_core.meter`; `loom ORIGIN HOME` is the Loom
as `loom serve` runs it, with the profile and the memory of that home, its own embedded store, and no spans.
"""

import asyncio
import random
import signal
import sys
from pathlib import Path

from benchmarks.sessions import words
from loom_core.meter import estimate
from loom_shell.config import load
from loom_shell.memory import Cortex, NewMemory
from loom_shell.server import listen, run
from loom_shell.simulator import Simulator

PROFILE = "bench"
NOTES = 1_200
"""Memories: more than any session uses up."""
NOTE_BYTES = 300
IDENTITY_BYTES = 2_000
"""As much as the template of `loom profile new` says."""
NEWS_KEY = "bench:news"
"""A sticky piece in the store, changed before each prompt."""
NEWS_BYTES = 300
WRAPPING = 40
"""Tokens of the reminder's own words, less what a last memory leaves free."""
MOST = 40_000
"""Tokens of memories that a profile can allow a session."""
_PROFILE = f"""
[memories]
most = 20
budget = {{budget}}
session_budget = {MOST}
deadline_ms = 1000

[memorables]
on = false

[[pieces]]
name = "identity"
file = "identity.md"
life = "identity"

[[pieces]]
name = "news"
key = "{NEWS_KEY}"
life = "sticky"
"""


def identity() -> str:
    """What the profile says of itself, whole, as it is woven."""
    return words(random.Random(1), IDENTITY_BYTES).strip()  # noqa: S311 - texts, no secrets


def identity_tokens() -> int:
    """What the meter counts for it."""
    return estimate({"type": "text", "text": identity()})


async def furnish(home: Path, tokens: int) -> None:
    """A profile that weaves some `tokens` at a prompt, and a memory with enough to say."""
    folder = home / "profiles" / PROFILE
    folder.mkdir(parents=True)
    budget = tokens - NEWS_BYTES // 4 - WRAPPING
    (folder / "profile.toml").write_text(_PROFILE.format(budget=budget), encoding="utf-8")
    (folder / "identity.md").write_text(identity(), encoding="utf-8")
    chance, memory = random.Random(2), Cortex(home)  # noqa: S311 - as above
    for number in range(NOTES):
        await memory.put(NewMemory(words(chance, NOTE_BYTES), (1_700_000_000 + number) * 1_000_000_000))
    await memory.aclose()


def news(chance: random.Random) -> str:
    return words(chance, NEWS_BYTES)


async def _simulate() -> None:
    async with Simulator() as simulator:
        simulator.keep = False
        _tell(simulator.port)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        await ended.wait()


def _serve(origin: str, home: str) -> None:
    flags = {"host": "127.0.0.1", "port": "0", "upstream": origin, "home": home, "log": "json"}
    config = load(flags, {"HOME": home, "LOOM_TRACE_TURNS": "false"})
    sock = listen(config)
    run(config, sock, lambda: _tell(sock.getsockname()[1]))


def _tell(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["sim"]:
            asyncio.run(_simulate())
        case ["loom", origin, home]:
            _serve(origin, home)
