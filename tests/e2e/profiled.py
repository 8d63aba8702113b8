"""A session of a profile: what of each request is the client's and what was woven into it."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from loom_core.cutting import find
from loom_core.wire import apply
from loom_core.wrapper import is_reminder
from loom_shell.memory import Cortex, NewMemory
from tests.e2e.stage import Stage, Wrong
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
Pair = tuple[Exchange, Exchange]
"""A call of the client, and what became of it upstream."""


async def furnished(home: Path) -> None:
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


def pairs_of(it: Stage) -> list[Pair]:
    """Each message the client asked for that was answered, in the order in which they came upstream."""
    # By their answers: calls on several connections may pass in another order.
    back = {one.answer.body: one for one in it.back.exchanges if one.answer and one.answer.body}
    front = [one for one in it.front.exchanges if one.request.path == b"/v1/messages"]
    pairs = [(one, back[one.answer.body]) for one in front if one.answer and one.answer.body in back]
    places = {one.body: place for place, one in enumerate(it.simulator.requests)}
    return sorted(pairs, key=lambda pair: places[pair[1].request.body])


def woven_of(pairs: list[Pair]) -> list[Pair]:
    """Those into which something was woven."""
    woven = [(mine, its) for mine, its in pairs if _is_woven(mine)]
    if not woven:
        raise Wrong(f"none of {len(pairs)} answers says x-loom-woven")
    return woven


def _is_woven(exchange: Exchange) -> bool:
    lines = exchange.answer.beyond_the_hop() if exchange.answer else ()
    return any(name.lower() == WOVEN for name, _ in lines)


def asked(exchange: Exchange) -> Json:
    body: Json = json.loads(exchange.request.body)
    return body


def cut(exchange: Exchange) -> Json:
    """What the client asked, its metadata blocks cut out."""
    body: Json = json.loads(apply(exchange.request.body, find(exchange.request.body).edits))
    return body


def listed(content: object) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])  # type: ignore[call-overload]


def flat(body: Json) -> list[Block]:
    return [
        (message["role"], _plain(block))
        for message in body["messages"]
        for block in listed(message["content"])
    ]


def _plain(block: Json) -> str:
    return json.dumps(
        {name: value for name, value in block.items() if name != "cache_control"}, sort_keys=True
    )


def is_note(block: Json) -> bool:
    """Whether a block is what the Loom recalled."""
    return block.get("type") == "text" and is_reminder(block["text"]) and "Recalled from" in block["text"]


def same_identity(pairs: list[Pair]) -> str:
    """The identity is the last system block, always the same, without a marker."""
    identities = [listed(asked(its)["system"])[-1] for _, its in pairs]
    if any("cache_control" in it or not it["text"].startswith("You are Alpha") for it in identities):
        raise Wrong(f"the last system block is not the identity: {[it['text'][:40] for it in identities]}")
    if len({it["text"] for it in identities}) != 1:
        raise Wrong("the identity changed within the session")
    return f"the identity last and the same in all {len(pairs)}"


def extends(pairs: list[Pair]) -> str:
    """weaving.md, "The invariant": against every earlier request, not only the last."""
    both = [(flat(cut(mine)), flat(asked(its))) for mine, its in pairs]
    held = 0
    for number, (later, woven_later) in enumerate(both):
        for before, woven_before in both[:number]:
            if later[: len(before)] == before:
                if woven_later[: len(woven_before)] != woven_before:
                    raise Wrong("a request extends an earlier one, and its woven form does not")
                held += 1
    if not held:
        raise Wrong("no request extends another: there is nothing to see")
    return f"{held} times a request extends an earlier one, and so does its woven form"


def read_from_cache(exchange: Exchange) -> int:
    """Tokens, as the answer tells them."""
    body = exchange.answer.body if exchange.answer else b""
    found = body.partition(b'"cache_read_input_tokens":')[2].lstrip()
    digits = found[: len(found) - len(found.lstrip(b"0123456789"))]
    return int(digits or b"0")
