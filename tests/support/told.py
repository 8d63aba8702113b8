"""Conversations of a profile, through real Looms to the simulator: told, sent, and read as they came."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from attrs import define, field

from loom_core.meter import Figures, Meter, measure
from loom_shell.memory import Cortex, NewMemory
from loom_shell.simulator import Simulator
from tests.support.child import Served
from tests.support.proxy import RunningLoom, loom
from tests.support.wire import Answer, dial, request

PROFILE = "ann"
SELF = "I am Ann, and I like short answers."
NOTES = ("Green tea is for the morning.", "The tin stands beside the kettle.", "Coffee costs four euros.")
"""What is remembered; no two of them answer one question."""
AMPLE = {"LOOM_REDIS_DEADLINE_SECONDS": "2"}
"""For a store that is well, on a machine that is busy."""
MARKER = {"type": "ephemeral"}
MODEL = "claude-opus-4-8"
SYSTEM = [
    {"type": "text", "text": "You are a coder."},
    {"type": "text", "text": "Answer in few words. " * 400, "cache_control": MARKER},
]
"""Long enough to be cached."""
TOML = """
[memories]
deadline_ms = 1000

[memorables]
on = false

[[pieces]]
name = "self"
file = "self.md"
life = "identity"
"""


async def furnished(
    home: Path, memories: Sequence[str] = NOTES, says: str = SELF, profile: str = TOML
) -> Path:
    """A home with one profile, and a memory of these texts."""
    folder = home / "profiles" / PROFILE
    folder.mkdir(parents=True)
    (folder / "profile.toml").write_text(profile, encoding="utf-8")
    (folder / "self.md").write_text(says, encoding="utf-8")
    memory = Cortex(home)
    for at, text in enumerate(memories):
        await memory.put(NewMemory(text, 1_700_000_000_000_000_000 + at))
    await memory.aclose()
    return home


@asynccontextmanager
async def weaving(sim: Simulator, home: Path, url: str, **flags: str) -> AsyncIterator[RunningLoom]:
    """A Loom of this home on this Redis."""
    given = {"transcripts_watch": "false", **flags}
    async with loom(sim.origin, home=str(home), redis_url=url, **given) as running:
        yield running
        await running.idle()
        assert running.faults == []


@define
class Told:
    """One conversation, and how its client sends it: a marker on the last block, whole, over raw HTTP."""

    session: str
    messages: list[dict[str, Any]] = field(factory=list)

    def prompt(self, words: str) -> None:
        self.messages.append({"role": "user", "content": [{"type": "text", "text": words}]})

    def answered(self, words: str = "Well.") -> None:
        self.messages.append({"role": "assistant", "content": [{"type": "text", "text": words}]})

    def tool(self, number: int) -> None:
        """The assistant calls a tool, and its result comes back."""
        use = {"type": "tool_use", "id": f"t-{number}", "name": "Bash", "input": {"command": "ls"}}
        result = {"type": "tool_result", "tool_use_id": f"t-{number}", "content": f"file-{number}\n" * 40}
        self.messages += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]

    @property
    def body(self) -> bytes:
        *before, last = self.messages
        *blocks, newest = last["content"]
        marked = {**last, "content": [*blocks, {**newest, "cache_control": MARKER}]}
        asked = {"model": MODEL, "messages": [*before, marked], "system": SYSTEM, "max_tokens": 50}
        return json.dumps(asked).encode()

    async def ask(self, running: RunningLoom | Served, source: str = PROFILE) -> Answer:
        async with await dial(running.port) as caller:
            return await caller.ask(posted(self.body, session=self.session, source=source))


def posted(body: bytes, *, session: str = "", source: str = "", target: str = "/v1/messages") -> bytes:
    """A request whose headers name its session and its profile, or not."""
    lines = ["Content-Type: application/json", "x-api-key: a-key-that-opens-nothing"]
    lines += [f"x-claude-code-session-id: {session}"] if session else []
    lines += [f"x-loom-source: {source}"] if source else []
    return request("POST", target, body, tuple(lines))


def told_of(answer: Answer) -> str:
    """What the answer says was woven."""
    (value,) = answer.values(b"x-loom-woven")
    return value.decode()


async def figures(running: RunningLoom) -> dict[str, float]:
    """The Loom's own figures, by name and labels."""
    async with await running.dial() as caller:
        page = (await caller.ask(request("GET", "/loom/metrics"))).body.decode()
    lines = (line.rpartition(" ") for line in page.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


async def operations(running: RunningLoom, **labels: str) -> float:
    """How often the store was asked, in all or with these labels."""
    wanted = [f'{name}="{value}"' for name, value in labels.items()]
    return sum(
        value
        for name, value in (await figures(running)).items()
        if name.startswith("loom_store_operations_total") and all(it in name for it in wanted)
    )


# What upstream got


def flat(body: bytes) -> list[Any]:
    """System and messages as a list of (role, block without marker): what its cache knows them by."""
    asked = msgspec.json.decode(body)
    system = [("system", block) for block in asked["system"]]
    blocks = [(it["role"], block) for it in asked["messages"] for block in it["content"]]
    return [
        (role, {name: part for name, part in block.items() if name != "cache_control"})
        for role, block in (*system, *blocks)
    ]


def of_session(sim: Simulator, session: str) -> list[bytes]:
    """The bodies of a session that upstream got, in order."""
    return [it.body for it in sim.requests if it.values(b"x-claude-code-session-id") == [session.encode()]]


def extends(before: bytes, after: bytes) -> bool:
    """Whether what upstream has of the one is the beginning of the other."""
    begun = flat(before)
    return flat(after)[: len(begun)] == begun


def breaks(bodies: Sequence[bytes]) -> list[tuple[int, int]]:
    """The pairs of requests of which the later does not extend the earlier."""
    pairs = ((i, j) for j in range(len(bodies)) for i in range(j))
    return [(i, j) for i, j in pairs if not extends(bodies[i], bodies[j])]


def metered(bodies: Sequence[bytes]) -> list[Figures]:
    """What each request, one second after the other, reads from the cache and writes there."""
    meter, found = Meter(), []
    for second, body in enumerate(bodies):
        meter, figure = measure(meter, msgspec.json.decode(body), second * 1_000_000_000)
        found.append(figure)
    return found


def is_kept_warm(bodies: Sequence[bytes]) -> bool:
    """Whether each request reads all that the one before had read or written."""
    found = metered(bodies)
    cached = [it.cache_read_input_tokens + it.cache_creation_input_tokens for it in found]
    return all(now.cache_read_input_tokens >= before for before, now in zip(cached, found[1:], strict=False))
