"""The client with a profile: what goes upstream is woven, and each request extends the one before."""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen

from loom_core.cutting import find
from loom_core.wire import apply
from loom_core.wrapper import is_reminder
from loom_shell.memory import Cortex, NewMemory
from loom_shell.simulator import SCENARIOS
from tests.e2e.checks import ended_well
from tests.e2e.client import Installed, running
from tests.e2e.hooked import installed_hooks, session_of
from tests.e2e.stage import Stage, Wrong, stage
from tests.e2e.tee import Exchange

NOTES = (
    "The two echo commands of the release check print loom and weave.",
    "What they print is compared with the words on the wall, by Kim, once more each Friday.",
)
PROFILE = "alpha"
COMMAND_SECONDS = 30
WOVEN = b"x-loom-woven"

Json = dict[str, Any]
Block = tuple[str, str]
"""Role, and the block without its marker as JSON."""


@frozen
class Woven:
    """Three prompts of one session of a profile: anew, with `--continue`, with `--resume`."""

    name: str
    prompts: tuple[str, str, str]

    async def run(self, client: Installed, say: Callable[[str], None]) -> None:
        with tempfile.TemporaryDirectory(prefix="loom-e2e-") as folder:
            loom_home, home = Path(folder) / "loom", Path(folder) / "home"
            await _furnished(loom_home)
            async with stage(SCENARIOS["ok"], loom_home) as it:
                await installed_hooks(client, home, it.front.port, "--source", PROFILE)
                session = ""
                for number, prompt in enumerate(self.prompts):
                    further = ((), ("--continue",), ("--resume", session))[number]
                    async with running(client.program, prompt, it.front.port, home, *further) as process:
                        ended_well(await process.finished())
                    session = session or session_of(it.front.exchanges)
                await it.close_loom()
                pairs = _pairs(it)
                say(_all_woven(pairs, len(self.prompts)))
                say(_nothing_else(pairs))
                say(_extends(pairs))
                say(_cached(pairs))


async def _furnished(home: Path) -> None:
    """A profile out of the template, and a memory."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loom_shell", "profile", "new", PROFILE, "--home", str(home)),
        env={"HOME": str(home), "TERM": "dumb"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    if await asyncio.wait_for(process.wait(), COMMAND_SECONDS):
        raise Wrong("`loom profile new` failed")
    cortex = Cortex(home)
    for note in NOTES:
        await cortex.put(NewMemory(note, time.time_ns()))
    await cortex.aclose()


def _pairs(it: Stage) -> list[tuple[Exchange, Exchange]]:
    """Each call of the client with what became of it upstream, of those that were woven."""
    # By their answers: calls on several connections may pass in another order.
    back = {one.answer.body: one for one in it.back.exchanges if one.answer and one.answer.body}
    front = [one for one in it.front.exchanges if one.request.path == b"/v1/messages" and one.answer]
    woven = [(mine, back[mine.answer.body]) for mine in front if mine.answer and _header(mine)]
    if not woven:
        raise Wrong(f"none of {len(front)} answers says x-loom-woven")
    return woven


def _header(exchange: Exchange) -> str:
    lines = exchange.answer.beyond_the_hop() if exchange.answer else ()
    return next((value.decode() for name, value in lines if name.lower() == WOVEN), "")


def _asked(body: bytes) -> Json:
    asked: Json = json.loads(body)
    return asked


def _cut(exchange: Exchange) -> Json:
    """What the client asked, its metadata blocks cut out."""
    body = exchange.request.body
    return _asked(apply(body, find(body).edits))


def _listed(content: object) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])  # type: ignore[call-overload]


def _plain(block: Json) -> str:
    return json.dumps(
        {name: value for name, value in block.items() if name != "cache_control"}, sort_keys=True
    )


def _flat(asked: Json) -> list[Block]:
    return [
        (message["role"], _plain(block))
        for message in asked["messages"]
        for block in _listed(message["content"])
    ]


def _is_ours(block: Json) -> bool:
    return block.get("type") == "text" and is_reminder(block["text"]) and "Recalled from" in block["text"]


def _all_woven(pairs: list[tuple[Exchange, Exchange]], prompts: int) -> str:
    """The identity is the last system block, always the same, without a marker; and there are notes."""
    identities = [_listed(_asked(its.request.body)["system"])[-1] for _, its in pairs]
    if any("cache_control" in it or not it["text"].startswith("You are Alpha") for it in identities):
        raise Wrong(f"the last system block is not the identity: {[it['text'][:40] for it in identities]}")
    if len({it["text"] for it in identities}) != 1:
        raise Wrong("the identity changed within the session")
    notes = [
        sum(
            _is_ours(block)
            for message in _asked(its.request.body)["messages"]
            for block in _listed(message["content"])
        )
        for _, its in pairs
    ]
    if len(pairs) < prompts or not max(notes):
        raise Wrong(f"{len(pairs)} woven calls for {prompts} prompts, with {notes} blocks of notes")
    return (
        f"{len(pairs)} calls woven; blocks of notes in them: {notes}; the identity last and the same in all"
    )


def _nothing_else(pairs: list[tuple[Exchange, Exchange]]) -> str:
    """With our blocks taken out it is what the client asked, its metadata blocks aside."""
    for mine, its in pairs:
        ours, theirs = _asked(its.request.body), _cut(mine)
        ours["system"] = _listed(ours["system"])[:-1]
        theirs["system"] = _listed(theirs["system"])
        for message in (*ours["messages"], *theirs["messages"]):
            message["content"] = [block for block in _listed(message["content"]) if not _is_ours(block)]
        if ours != theirs:
            raise Wrong("a woven request differs from the client's in more than the woven blocks")
    return "without the woven blocks each is what the client asked"


def _extends(pairs: list[tuple[Exchange, Exchange]]) -> str:
    """weaving.md, "The invariant": against every earlier request, not only the last."""
    asked = [(_flat(_cut(mine)), _flat(_asked(its.request.body))) for mine, its in pairs]
    held = 0
    for number, (later, woven_later) in enumerate(asked):
        for before, woven_before in asked[:number]:
            if later[: len(before)] == before:
                if woven_later[: len(woven_before)] != woven_before:
                    raise Wrong("a request extends an earlier one, and its woven form does not")
                held += 1
    if not held:
        raise Wrong("no request extends another: there is nothing to see")
    return f"{held} times a request extends an earlier one, and so does its woven form"


def _cached(pairs: list[tuple[Exchange, Exchange]]) -> str:
    """After the first call each reads from upstream's cache."""
    read = [_read(its) for _, its in pairs]
    if not all(read[1:]):
        raise Wrong(f"tokens read from the cache, call by call: {read}")
    return f"tokens read from upstream's cache, call by call: {read}"


def _read(exchange: Exchange) -> int:
    body = exchange.answer.body if exchange.answer else b""
    found = body.partition(b'"cache_read_input_tokens":')[2].lstrip()
    digits = found[: len(found) - len(found.lstrip(b"0123456789"))]
    return int(digits or b"0")
