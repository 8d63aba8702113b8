"""The recorded sessions of tests/recordings, made anew: `just recordings`.

Each is a story that the real driver lives through, with answers of the simulator and texts of our own,
written by the journal's own writer.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loom_core.events import (
    HookReported,
    MemoriesRecalled,
    RequestChunkReceived,
    RequestEnded,
    ShutdownRequested,
    TimerFired,
    UpstreamFailed,
)
from loom_core.lookup import Recalled
from loom_core.turn import END, FORGOTTEN, SILENCE
from loom_core.values import Cause, TurnKey
from loom_core.weaving import Answered
from loom_shell.replay.reading import BLOBS, LINES
from tests.support import recorded_transcripts
from tests.support.compactions import CASES, NEW_CLIENT, OLD_CLIENTS, Case, continued
from tests.support.conversations import MARKER, Message, Sent, answer, body, prompt, text
from tests.support.journalled import Live
from tests.support.journals import writing
from tests.support.weaving import AGENT, MAIN, MS, SESSION, SIDE, WHOSE, Sources

Story = Callable[[Live], None]
FOLDER = Path(__file__).parents[1] / "recordings"
TOOLS = [{"name": "Read", "description": "Reads.", "input_schema": {"type": "object"}}]
FACTS = text("<system-reminder>\nToday is Monday.\n</system-reminder>")


def asked(*messages: Message, tools: bool = False) -> bytes:
    told: dict[str, Any] = json.loads(body(messages, Sent(system=[text("Be brief."), _marked("Mind.")])))
    return json.dumps({**told, "stream": True, **({"tools": TOOLS} if tools else {})}).encode()


def _marked(words: str) -> dict[str, Any]:
    return {**text(words), "cache_control": MARKER}


def tool_loop(live: Live) -> None:
    """Two tools in parallel, their hooks, a side call while they run, and the final answer."""
    first = (prompt("Which files are here?"),)
    key = live.asks(asked(*first, tools=True), (*WHOSE, MAIN), cut=100)
    frames = live.frames(key)
    live.heads(key)
    live.says(key, *frames[:3])
    live.says(key, *frames[3:], waits=True)
    side = live.asks(asked(prompt("A title?")), (*WHOSE, SIDE))
    live.answered(side)
    live.ends(key)
    turn = TurnKey(SESSION, "")
    uses = [
        {"type": "tool_use", "id": frame_id, "name": "Read", "input": {"file": "a"}}
        for frame_id in _tool_ids(frames)
    ]
    for use in uses:
        live.dispatch(turn, HookReported(live.at(), "PostToolUse", "", use["id"]))
    results = [
        {"type": "tool_result", "tool_use_id": use["id"], "content": [text("Three files.")]} for use in uses
    ]
    loop = (*first, {"role": "assistant", "content": uses}, {"role": "user", "content": results})
    live.answered(live.asks(asked(*loop, tools=True), (*WHOSE, MAIN)))
    live.dispatch(turn, HookReported(live.at(), "Stop", "", ""))
    live.answered(live.asks(asked(*loop, answer("Three."), prompt("Their names?")), (*WHOSE, MAIN)))
    live.timers.rotate(-1)
    live.fires()
    live.stops()


def _tool_ids(frames: list[bytes]) -> list[str]:
    starts = (
        json.loads(frame.partition(b"data: ")[2]) for frame in frames if b"content_block_start" in frame
    )
    return [it["content_block"]["id"] for it in starts if it["content_block"]["type"] == "tool_use"]


def subagents(live: Live) -> None:
    """Two subagents at a time, whose answers come between each other's."""
    main = live.asks(asked(prompt("Look around."), tools=True), (*WHOSE, MAIN))
    live.answered(main)
    other = ((b"x-claude-code-request-class", b"subagent"), (b"x-claude-code-agent-id", b"a-2"))
    one = live.asks(asked(prompt("Look left.")), (*WHOSE, *AGENT))
    two = live.asks(asked(prompt("Look right.")), (*WHOSE, *other))
    for key in (one, two):
        live.heads(key)
    for pair in zip(live.frames(one), live.frames(two), strict=True):
        live.says(one, pair[0])
        live.says(two, pair[1], waits=True)
    live.ends(two)
    live.ends(one)
    live.stops()


def overloaded(live: Live) -> None:
    """A 529 that is tried again, a connection that was refused, and an answer."""
    key = live.asks(asked(prompt("Tea?")), (*WHOSE, MAIN))
    live.heads(key, 529, ((b"content-type", b"application/json"),))
    live.fires()
    live.dispatch(key, UpstreamFailed(live.at(), Cause.REFUSED, replayable=True, detail="errno 111"))
    live.flush(key)
    while not isinstance(live.timers[0][0], type(key)):
        live.timers.rotate(-1)
    live.fires()
    live.answered(key)
    live.stops()


def disconnect(live: Live) -> None:
    """The client leaves in the middle of an answer, and asks again."""
    key = live.asks(asked(prompt("Tea?")), (*WHOSE, MAIN))
    live.heads(key)
    live.says(key, *live.frames(key)[:4])
    live.leaves(key)
    live.answered(live.asks(asked(prompt("Tea?"), prompt("Milk?")), (*WHOSE, MAIN)))
    broken = live.asks(asked(prompt("Tea?"), answer("Yes."), prompt("Sugar?")), (*WHOSE, MAIN))
    live.heads(broken)
    live.says(broken, *live.frames(broken)[:5])
    live.dispatch(broken, UpstreamFailed(live.at(), Cause.BROKEN, replayable=False, detail="eof"))
    live.flush(broken)
    live.end(broken)
    live.stops()


def compaction(case: Case) -> Story:
    """A conversation that is compacted, and goes on."""

    def story(live: Live) -> None:
        how = Sent(system=case.main_system)
        live.answered(live.asks(body(case.before, how), (*WHOSE, MAIN, *case.headers[:1])))
        live.answered(live.asks(case.body(), (*WHOSE, *case.headers)))
        goes_on = [prompt(continued(case.client)), answer("Yes."), prompt("And now?")]
        for messages in (goes_on[:1], goes_on):
            live.answered(live.asks(body(messages, how), (*WHOSE, MAIN, *case.headers[:1])))
        live.stops()

    return story


def layouts(live: Live) -> None:
    """Where clients put what they add to a prompt: behind it, in a message of the system, before it."""
    typed: tuple[list[Message], ...] = (
        [prompt("Tea?"), {"role": "system", "content": [text("Today is Monday.")]}],
        [prompt("Tea?"), {"role": "system", "content": [FACTS]}],
        [{"role": "user", "content": [FACTS, text("Tea?")]}],
    )
    for number, messages in enumerate(typed):
        whose = ((b"x-claude-code-session-id", b"layout-%d" % number), (b"x-loom-source", b"ann"), MAIN)
        for more in ([], [answer("Yes."), prompt("Milk?")]):
            live.answered(live.asks(asked(*messages, *more), whose))
    live.stops()


def begun(live: Live) -> None:
    """A conversation that begins."""
    live.answered(live.asks(asked(prompt("Tea?")), (*WHOSE, MAIN)))
    live.stops()


def resumed(live: Live) -> None:
    """The same conversation in another process, with what the store kept of it."""
    live.at(60_000)
    conversation = (prompt("Tea?"), answer("Yes."), prompt("Milk?"))
    live.answered(live.asks(asked(*conversation), (*WHOSE, MAIN)))
    live.stops()


def interrupted(live: Live) -> None:
    """A client leaves before there is an answer, one sends a body of any length, and the process ends."""
    live.leaves(live.asks(asked(prompt("Tea?")), (*WHOSE, MAIN)))
    raw = live.begins(((b"transfer-encoding", b"chunked"),), path=b"/v1/files")
    live.dispatch(raw, RequestChunkReceived(live.at(), b"tea"))
    live.dispatch(raw, RequestEnded(live.at()))
    live.heads(raw, headers=())
    live.ends(raw)
    streaming = live.asks(asked(prompt("Milk?")), (*WHOSE, MAIN))
    live.heads(streaming)
    live.says(streaming, *live.frames(streaming)[:3])
    for key in (streaming, live.asks(asked(prompt("Sugar?")), (*WHOSE, MAIN))):
        live.dispatch(key, ShutdownRequested(live.at()))
        live.flush(key)
        live.end(key)
    live.stops()
    live.stops()


def silence(live: Live) -> None:
    """Nothing is heard of a turn any more, until it is forgotten; then of another."""
    live.answered(live.asks(asked(prompt("Tea?"), tools=True), (*WHOSE, MAIN)))
    turn = TurnKey(SESSION, "")
    for _ in range(3):
        for timer in (END, SILENCE):
            live.dispatch(turn, TimerFired(live.at(FORGOTTEN // MS), timer))
    live.answered(live.asks(asked(prompt("Milk?")), (*WHOSE, MAIN)))
    live.stops()


class _Slow(Sources):
    """A memory that answers too late, and a store that decides without the other processes."""

    def answer(self, asked: object, at: int = 0) -> Answered:
        found = super().answer(asked, at)
        return (
            MemoriesRecalled(at, Recalled(trouble="slow")) if isinstance(found, MemoriesRecalled) else found
        )


def slow_memory(live: Live) -> None:
    """The memory does not answer in time; later it does."""
    live.sources = _Slow(trouble="the store: slow")
    live.answered(live.asks(asked(prompt("Tea?")), (*WHOSE, MAIN)))
    live.sources = Sources(live.sources.fields)
    live.answered(live.asks(asked(prompt("Tea?"), answer("Yes."), prompt("Milk?")), (*WHOSE, MAIN)))
    live.stops()


_COMPACTED = (*OLD_CLIENTS, NEW_CLIENT)
STORIES: dict[str, Story] = {
    "tool-loop": tool_loop,
    "subagents": subagents,
    "overloaded": overloaded,
    "disconnect": disconnect,
    **{
        f"compaction-{client}": compaction(
            next(it for it in CASES if it.client == client and it.place == "own")
        )
        for client in _COMPACTED
    },
    "interrupted": interrupted,
    "silence": silence,
    "layouts": layouts,
    "resume-1": begun,
    "resume-2": resumed,
    "slow-memory": slow_memory,
    **recorded_transcripts.STORIES,
}


def record(story: Story, path: Path, sources: Sources | None = None) -> Live:
    """Live through it; the journal is `path` with its endings."""
    with TemporaryDirectory() as folder:
        with writing(Path(folder, "journal")) as book:
            live = Live(book, sources)
            story(live)
        (lines,) = Path(folder, "journal").glob(f"*{LINES}")
        for ending in (LINES, BLOBS):
            shutil.copyfile(lines.with_suffix(ending), path.parent / f"{path.name}{ending}")
        return live


def record_all(folder: Path) -> None:
    """What one process has left in the store the next finds there, where a session is resumed."""
    sources = Sources()
    for name, story in STORIES.items():
        record(story, folder / name, sources if name.startswith("resume") else None)


if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    record_all(FOLDER)
