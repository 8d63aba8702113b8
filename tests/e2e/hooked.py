"""The client with the hooks of `loom install`: each prompt is one trace, and no block reaches upstream."""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from attrs import frozen

from loom_shell.simulator import SCENARIOS
from loom_shell.simulator.answers import LAST_WORDS
from loom_shell.turn_block import CANARY
from tests.e2e.checks import ended_well, tools_ran
from tests.e2e.client import Installed, running
from tests.e2e.stage import Stage, Wrong, stage
from tests.e2e.tee import Exchange

INSTALL_SECONDS = 30
TOLD_SECONDS = 15
PAUSE = 0.1
"""Seconds between two questions for the turns: the Loom tells nobody when one has ended."""

KEEPS_SINCE = (2, 1, 328)
"""The first client seen to send what hooks said earlier again after a resume; 2.1.9 drops it."""

Json = dict[str, Any]


@frozen
class Hooked:
    """Three prompts of one session: anew, with `--continue`, with `--resume`."""

    name: str
    prompts: tuple[str, str, str]
    outputs: set[str]

    async def run(self, client: Installed, say: Callable[[str], None]) -> None:
        with tempfile.TemporaryDirectory(prefix="loom-e2e-") as folder:
            async with stage(SCENARIOS["ok"], Path(folder) / "loom") as it:
                home = Path(folder) / "home"
                say(await installed_hooks(client, home, it.front.port))
                session = ""
                for number, prompt in enumerate(self.prompts):
                    further = ((), ("--continue",), ("--resume", session))[number]
                    async with running(client.program, prompt, it.front.port, home, *further) as process:
                        ended_well(await process.finished())
                    session = session or session_of(it.front.exchanges)
                    if not number:
                        say(tools_ran(it.front.exchanges, self.outputs))
                turns = await _turns(it, len(self.prompts))
                await it.close_loom()
                say(_no_canary(it, len(self.prompts), keeps=version_of(client) >= KEEPS_SINCE))
                say(_one_trace_for_each(turns, self.prompts))
                say(_calls_within(turns))


def version_of(client: Installed) -> tuple[int, ...]:
    return tuple(int(part) for part in client.version.split("-")[0].split("."))


async def installed_hooks(client: Installed, home: Path, port: int, *more: str) -> str:
    """Run `loom install` as a user does; which hooks it wrote."""
    settings = home / ".claude"
    settings.mkdir(parents=True)
    path = f"{client.program.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loom_shell", "install"),
        *("--claude-dir", str(settings), "--url", f"http://127.0.0.1:{port}", *more),
        env={"HOME": str(home), "PATH": path, "TERM": "dumb"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), INSTALL_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise Wrong(f"`loom install` left with {process.returncode}: {out.decode()}")
    return out.decode().splitlines()[0].replace(str(home), "~")


def _messages(exchanges: list[Exchange]) -> list[Exchange]:
    return [it for it in exchanges if it.request.path == b"/v1/messages"]


def session_of(front: list[Exchange]) -> str:
    """The id of the session, as the client's hook put it into the conversation."""
    for exchange in front:
        before, found, after = exchange.request.body.partition(rb"\"session_id\":\"")
        if found and CANARY.encode() in before:
            return after.partition(rb"\"")[0].decode()
    raise Wrong("no request of the client carries the metadata block: its hook did not run")


def _no_canary(it: Stage, prompts: int, *, keeps: bool) -> str:
    """For every prompt a request came with blocks, in a resumed session also those before; none left."""
    canary = CANARY.encode()
    came = [exchange.request.body.count(canary) // 3 for exchange in _messages(it.front.exchanges)]
    if len([count for count in came if count]) < prompts or (keeps and max(came) < prompts):
        raise Wrong(f"the client's requests hold {came} blocks: too few to show anything")
    for received in it.simulator.requests:
        if canary in received.body or canary in received.target or canary in repr(received.lines).encode():
            raise Wrong(f"the canary is in request {received.number} upstream: {received.target.decode()}")
    count = len(it.simulator.requests)
    return f"blocks in the client's requests: {came}; no canary in any of the {count} upstream"


async def _turns(it: Stage, count: int) -> list[Json]:
    """`GET /loom/turns`, once that many turns have ended; what there is when the time is up."""
    end = time.monotonic() + TOLD_SECONDS
    async with httpx.AsyncClient(trust_env=False) as asking:
        while True:
            answer = await asking.get(f"http://127.0.0.1:{it.loom.port}/loom/turns")
            answer.raise_for_status()
            turns: list[Json] = answer.json()["turns"]
            if len(list(_roots(turns))) >= count or time.monotonic() > end:
                return turns
            await asyncio.sleep(PAUSE)


def _roots(turns: list[Json]) -> Iterator[tuple[str, Json]]:
    """Trace id and span of each root, in the order of their beginning."""
    found = [(trace["trace_id"], span) for trace in turns for span in trace["spans"]]
    found = [(trace, span) for trace, span in found if span["name"].startswith("user-turn:")]
    yield from sorted(found, key=lambda pair: int(pair[1]["start"]))


def _one_trace_for_each(turns: list[Json], prompts: tuple[str, ...]) -> str:
    roots = list(_roots(turns))
    told = [
        (root["attributes"].get("input.value"), root["attributes"].get("output.value")) for _, root in roots
    ]
    if told != [(prompt, LAST_WORDS) for prompt in prompts]:
        raise Wrong(f"input and output of the turns: {told}")
    if len({trace for trace, _ in roots}) != len(prompts) or len(turns) != len(prompts):
        raise Wrong(f"{len(prompts)} prompts made {len(turns)} traces")
    for _, root in roots:
        if root["parent_id"] or root["error"] or root["attributes"]["loom.turn.outcome"] != "complete":
            raise Wrong(f"a root is not one, or not complete: {root}")
    return f"{len(prompts)} prompts, {len(turns)} traces; each root has the prompt and the final text"


def _calls_within(turns: list[Json]) -> str:
    """The trace of the tool loop holds its calls and tools; every trace has the hook's span."""
    shapes = [sorted(str(span["name"]).split(" ")[0] for span in trace["spans"]) for trace in turns]
    tools = shapes[0].count("execute_tool")
    if not tools or shapes[0].count("chat") < 2 or not all("hook:collect-metadata" in it for it in shapes):
        raise Wrong(f"the traces hold {shapes}")
    for trace in turns:
        ids = {span["span_id"] for span in trace["spans"]}
        if lost := [span["name"] for span in trace["spans"] if span["parent_id"] not in {"", *ids}]:
            raise Wrong(f"the parents of {lost} are not in their trace")
    chats = [it.count("chat") for it in shapes]
    return f"calls in the traces: {chats}; {tools} tools in the first; the hook's span in each"
