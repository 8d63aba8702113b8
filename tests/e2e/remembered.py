"""What the client writes into its transcripts is in the database, every line once, and is found again."""

import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from loom_shell.scribe import FILE_NAME
from loom_shell.simulator import SCENARIOS, Scenario
from loom_shell.simulator.answers import LAST_WORDS, name
from loom_shell.simulator.frames import message_frames, message_json
from loom_shell.simulator.replies import Asked, plain, stream
from loom_shell.simulator.steps import Script
from loom_shell.turn_block import CANARY
from tests.e2e.checks import ended_well
from tests.e2e.client import Installed, running
from tests.e2e.hooked import installed_hooks, session_of
from tests.e2e.stage import CLIENT_HOME, Stage, Wrong, stage

SUBAGENTS = ("Agent", "Task")
"""Names that the tool for subagents has had."""
ERRAND = "Run two echo commands and say that the errand is done."
STORED_SECONDS, COMMAND_SECONDS = 20, 30
PAUSE = 0.1
"""Seconds between two looks at the database: it tells nobody of new lines."""

Json = dict[str, Any]
Place = tuple[str, int]
"""File, and offset in it."""


def sends_out() -> Scenario:
    """The first answer that can sends a subagent out; every other is as usual."""
    left = [True]

    def script(asked: Asked) -> Script:
        tool = next((it for it in SUBAGENTS if it in _tools(asked)), None)
        answer = asked.answer()
        if tool is None or answer.stop_reason != "tool_use" or not left:
            return SCENARIOS["ok"].script(asked)
        left.clear()
        given = {"description": "Run an errand", "prompt": ERRAND, "subagent_type": "general-purpose"}
        use = {"type": "tool_use", "id": name("toolu", asked.number), "name": tool, "input": given}
        words = [block for block in answer.blocks if block["type"] != "tool_use"]
        answer = evolve(answer, blocks=(*words, use))
        if asked.streams:
            return stream(asked, message_frames(answer))
        return plain(asked, message_json(answer))

    return Scenario("sends-out", script)


def _tools(asked: Asked) -> set[object]:
    tools = asked.message.get("tools")
    return {tool.get("name") for tool in tools} if isinstance(tools, list) else set()


@frozen
class Remembered:
    """Three prompts of one session: anew, with `--continue`, after a compaction with `--resume`."""

    name: str
    prompts: tuple[str, str, str]
    since: tuple[int, ...] = (2, 1, 9)
    """The first client seen to put the transcripts of subagents into a folder of their session."""

    async def run(self, client: Installed, say: Callable[[str], None]) -> None:
        with tempfile.TemporaryDirectory(prefix="loom-e2e-") as folder:
            loom_home, home = Path(folder) / "loom", Path(folder) / CLIENT_HOME
            async with stage(sends_out(), loom_home) as it:
                await installed_hooks(client, home, it.front.port)
                session = ""
                for prompt, *further in self._said():
                    options = [word or session for word in further]
                    async with running(client.program, prompt, it.front.port, home, *options) as process:
                        ended_well(await process.finished(), says=not prompt.startswith("/"))
                    session = session or session_of(it.front.exchanges)
                await _until_stored(loom_home, home)
                await it.close_loom()
                say(_every_line_once(loom_home, home))
                say(_no_canary(loom_home, it))
                say(await _found(loom_home, session, self.prompts))

    def _said(self) -> Iterator[tuple[str, ...]]:
        """Each prompt, and the options it comes with; "" stands for the session."""
        first, second, third = self.prompts
        yield first, *SUBAGENTS  # behind --allowedTools
        yield second, "--continue"
        yield "/compact", "--continue"
        yield third, "--resume", ""


def _written(home: Path) -> dict[Place, bytes]:
    """Every line of every transcript."""
    lines: dict[Place, bytes] = {}
    for path in (home / ".claude" / "projects").rglob("*.jsonl"):
        offset = 0
        for line in path.read_bytes().splitlines(keepends=True):
            lines[str(path.resolve()), offset] = line.rstrip(b"\n")
            offset += len(line)
    return lines


def _stored(loom_home: Path) -> list[tuple[Place, str, str]]:
    """Where each line came from, its type, and the line."""
    with closing(sqlite3.connect(f"file:{loom_home / FILE_NAME}?mode=ro", uri=True)) as database:
        asked = database.execute("SELECT file, place, type, raw FROM transcript_line")
        return [((file, place), kind, raw) for file, place, kind, raw in asked]


async def _until_stored(loom_home: Path, home: Path) -> None:
    """As many lines as there are; what there is when the time is up."""
    end = time.monotonic() + STORED_SECONDS
    while time.monotonic() < end:
        with suppress(sqlite3.Error):
            if len(_stored(loom_home)) >= len(_written(home)):
                return
        await asyncio.sleep(PAUSE)


def _every_line_once(loom_home: Path, home: Path) -> str:
    written, stored = _written(home), _stored(loom_home)
    agents = {file for file, _ in written if "/agent-" in file}
    if not agents:
        raise Wrong("the client wrote no transcript of a subagent: there is too little to see")
    times = Counter(place for place, _, _ in stored)
    missing = [place for place in written if not times[place]]
    if missing or any(count > 1 for count in times.values()) or len(times) != len(written):
        lost = Counter(_kind(written[place]) for place in missing)
        raise Wrong(f"of {len(written)} lines {len(stored)} are stored; missing, by type: {dict(lost)}")
    for place, _, raw in stored:
        line = written[place]
        is_same = raw.encode() == line
        if not is_same and CANARY.encode() not in line:
            raise Wrong(f"a line of type {_kind(line)} is stored otherwise than it was written")
        json.loads(raw)
    files = len({file for file, _ in written})
    kinds = ", ".join(
        f"{count} {kind}" for kind, count in Counter(kind for _, kind, _ in stored).most_common()
    )
    return f"{len(stored)} lines of {files} transcripts ({len(agents)} of subagents), each once: {kinds}"


def _kind(line: bytes) -> str:
    with suppress(ValueError):
        return str(json.loads(line).get("type"))
    return "none"


def _no_canary(loom_home: Path, it: Stage) -> str:
    """The hook's block is in what the client asked, and in no file of the Loom's."""
    canary = CANARY.encode()
    if not any(canary in one.request.body for one in it.front.exchanges):
        raise Wrong("no request of the client holds the canary: there is nothing to see")
    files = [path for path in loom_home.rglob("*") if path.is_file()]
    if held := [path.name for path in files if canary in path.read_bytes()]:
        raise Wrong(f"the canary is in {held}")
    return f"no canary in the {len(files)} files of the Loom's home, its store among them"


async def _found(loom_home: Path, session: str, prompts: tuple[str, ...]) -> str:
    for prompt in prompts:
        lines = (await _command(loom_home, "search", f'"{prompt}"', "--json", "--role", "user")).splitlines()
        found = [json.loads(line) for line in lines]
        if not any(one["text"].strip() == prompt for one in found):
            raise Wrong(f"`loom search` does not find {prompt!r}, but {[one['text'][:60] for one in found]}")
    # On a page lines are folded.
    shown = " ".join((await _command(loom_home, "show", session)).split())
    places = [shown.find(said) for said in (*prompts, LAST_WORDS)]
    if min(places) < 0 or places[:3] != sorted(places[:3]):
        raise Wrong(f"`loom show` does not show the prompts in their order: they are at {places}")
    return f"`loom search` finds each of {len(prompts)} prompts, and `loom show` the session in order"


async def _command(loom_home: Path, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loom_shell", *words, "--home", str(loom_home)),
        env={"HOME": str(loom_home), "TERM": "dumb", "COLUMNS": "200"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), COMMAND_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise Wrong(f"`loom {words[0]}` left with {process.returncode}: {err.decode()}")
    return out.decode()
