"""The client with a profile: what goes upstream is woven, and each request extends the one before."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from loom_shell.simulator import SCENARIOS
from tests.e2e.checks import ended_well
from tests.e2e.client import Installed, running
from tests.e2e.hooked import installed_hooks, session_of
from tests.e2e.profiled import (
    PROFILE,
    Pair,
    asked,
    cut,
    extends,
    furnished,
    is_note,
    listed,
    pairs_of,
    read_from_cache,
    same_identity,
    woven_of,
)
from tests.e2e.stage import Wrong, stage


@frozen
class Woven:
    """Three prompts of one session of a profile: anew, with `--continue`, with `--resume`."""

    name: str
    prompts: tuple[str, str, str]

    async def run(self, client: Installed, say: Callable[[str], None]) -> None:
        with tempfile.TemporaryDirectory(prefix="loom-e2e-") as folder:
            loom_home, home = Path(folder) / "loom", Path(folder) / "home"
            await furnished(loom_home)
            async with stage(SCENARIOS["ok"], loom_home) as it:
                await installed_hooks(client, home, it.front.port, "--source", PROFILE)
                session = ""
                for number, prompt in enumerate(self.prompts):
                    further = ((), ("--continue",), ("--resume", session))[number]
                    async with running(client.program, prompt, it.front.port, home, *further) as process:
                        ended_well(await process.finished())
                    session = session or session_of(it.front.exchanges)
                await it.close_loom()
                pairs = woven_of(pairs_of(it))
                say(_noted(pairs, len(self.prompts)))
                say(same_identity(pairs))
                say(_nothing_else(pairs))
                say(extends(pairs))
                say(_cached(pairs))


def _noted(pairs: list[Pair], prompts: int) -> str:
    """Each prompt made a woven call, and there are notes."""
    notes = [
        sum(is_note(block) for message in asked(its)["messages"] for block in listed(message["content"]))
        for _, its in pairs
    ]
    if len(pairs) < prompts or not max(notes):
        raise Wrong(f"{len(pairs)} woven calls for {prompts} prompts, with {notes} blocks of notes")
    return f"{len(pairs)} calls woven; blocks of notes in them: {notes}"


def _nothing_else(pairs: list[Pair]) -> str:
    """With our blocks taken out it is what the client asked, its metadata blocks aside."""
    for mine, its in pairs:
        ours, theirs = asked(its), cut(mine)
        ours["system"] = listed(ours["system"])[:-1]
        theirs["system"] = listed(theirs["system"])
        for message in (*ours["messages"], *theirs["messages"]):
            message["content"] = [block for block in listed(message["content"]) if not is_note(block)]
        if ours != theirs:
            raise Wrong("a woven request differs from the client's in more than the woven blocks")
    return "without the woven blocks each is what the client asked"


def _cached(pairs: list[Pair]) -> str:
    """After the first call each reads from upstream's cache."""
    read = [read_from_cache(its) for _, its in pairs]
    if not all(read[1:]):
        raise Wrong(f"tokens read from the cache, call by call: {read}")
    return f"tokens read from upstream's cache, call by call: {read}"
