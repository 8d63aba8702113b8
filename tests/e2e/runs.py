"""The runs: a tool loop, upstream faults that the client gets over, a client that leaves."""

import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import frozen

from loom_shell.simulator import SCENARIOS, Scenario
from loom_shell.simulator.replies import Asked
from loom_shell.simulator.steps import Script
from tests.e2e.checks import ended_well, log_is_whole, same_on_both_sides, tools_ran, was_streamed
from tests.e2e.client import Installed, running
from tests.e2e.compacted import NEW_FORM, Compacted
from tests.e2e.hooked import Hooked, version_of
from tests.e2e.http1 import Message
from tests.e2e.remembered import Remembered
from tests.e2e.stage import Stage, Wrong, stage
from tests.e2e.tee import Recording, Tee
from tests.e2e.woven import Woven

PROMPT = "Run two echo commands, then say what holds."
PROMPTS = (PROMPT, "What did they print?", "Say it once more.")
OUTPUTS = {"loom", "weave"}
"""What the two commands print that the simulator asks for."""
CANCEL_SECONDS = 0.1
FRAMES = 3
"""Frames the client has before it leaves in mid-stream."""

Say = Callable[[str], None]


def once(fault: str) -> Scenario:
    """The first message asked for gets the fault; everything after it is well."""
    left = iter([fault])

    def script(asked: Asked) -> Script:
        is_message = asked.method == "POST" and asked.path == "/v1/messages"
        name = next(left, "ok") if is_message else "ok"
        return SCENARIOS[name].script(asked)

    return Scenario(f"once-{fault}", script)


@frozen
class ToolLoop:
    """A prompt, two tool calls in parallel, their results, the final text. Perhaps after a fault."""

    name: str
    fault: str = "ok"
    seen_by_client: bool = True
    """Whether the fault reaches the client; the Loom itself retries what no client can see."""

    since: tuple[int, ...] = ()
    """The first client version known to get over the fault."""

    async def run(self, client: Installed, say: Say) -> None:
        with tempfile.TemporaryDirectory(prefix="loom-e2e-") as folder:
            async with stage(once(self.fault), Path(folder) / "loom") as it:
                home = Path(folder) / "home"
                async with running(client.program, PROMPT, it.front.port, home) as process:
                    ran = await process.finished()
                ended_well(ran)
                say(f"exit code 0 and the final text after {ran.seconds:.1f} s")
                await it.close_loom()
                front, back = it.front.exchanges, it.back.exchanges
                say(tools_ran(front, OUTPUTS))
                say(same_on_both_sides(front, back))
                say(was_streamed(front))
                say(log_is_whole(front, it.loom))
                if self.fault != "ok":
                    say(self._fault_happened(it))

    def _fault_happened(self, it: Stage) -> str:
        """The fault passed upstream, and reached the client or did not, as it must."""
        faults = [
            sum(not _is_well(exchange.answer) for exchange in tee.exchanges) for tee in (it.back, it.front)
        ]
        if faults != [1, int(self.seen_by_client)]:
            raise Wrong(f"{self.fault}: {faults[0]} times upstream, {faults[1]} times at the client")
        if self.seen_by_client:
            again = it.front.exchanges[1].answer
            form = "an event stream" if again and again.is_stream else "one JSON message"
            return f"{self.fault} reached the client, which asked again and got {form}"
        attempts = [line["attempts"] for line in it.loom.exchanges]
        if 2 not in attempts:
            raise Wrong(f"{self.fault}: no log line tells of a second attempt: {attempts}")
        return f"{self.fault} never reached the client: the Loom tried again"


def _is_well(answer: Message | None) -> bool:
    return bool(answer and answer.status == 200 and answer.complete and b"event: error\n" not in answer.body)


@frozen
class Leaving:
    """The client is ended by a signal while an answer is wanted; upstream is cancelled at once."""

    name: str
    scenario: str
    signal: signal.Signals
    after_head: bool

    async def run(self, client: Installed, say: Say) -> None:
        with tempfile.TemporaryDirectory(prefix="loom-e2e-") as folder:
            async with stage(self.scenario, Path(folder) / "loom") as it:
                home = Path(folder) / "home"
                async with running(client.program, PROMPT, it.front.port, home) as process:
                    await it.until(lambda: self._is_waiting(it))
                    at = process.signal(self.signal)
                    await it.until(lambda: all(_unfinished(tee).client_end for tee in (it.front, it.back)))
                    await process.finished()
                left, cancelled = _unfinished(it.front).client_end, _unfinished(it.back).client_end
                assert left
                assert cancelled
                late = cancelled.at - left.at
                if late >= CANCEL_SECONDS:
                    raise Wrong(f"upstream was cancelled {late * 1e3:.0f} ms after the client had gone")
                say(
                    f"{self.signal.name}: the client's {left.how} came {(left.at - at) * 1e3:.1f} ms later, "
                    f"the Loom's {cancelled.how} to upstream {late * 1e3:.1f} ms after that"
                )
                await it.simulator.quiet()
                await it.close_loom()
                say(same_on_both_sides(it.front.exchanges, it.back.exchanges))
                say(log_is_whole(it.front.exchanges, it.loom, left=True))

    def _is_waiting(self, it: Stage) -> bool:
        """Whether upstream has the whole request, and the client all there is of the answer so far."""
        front, back = it.front.exchanges, it.back.exchanges
        if not back or not back[-1].request.complete:
            return False
        sent, got = back[-1].answer, front[-1].answer
        if not self.after_head:
            return sent is None
        return bool(sent and got and sent.body.count(b"\n\n") >= FRAMES and got.body == sent.body)


def _unfinished(tee: Tee) -> Recording:
    """The connection whose last answer is not whole."""
    for recording in tee.recordings:
        for exchange in recording.exchanges:
            if exchange.answer is None or not exchange.answer.complete:
                return recording
    raise Wrong("every answer was whole: nothing was left to be cancelled")


Run = ToolLoop | Leaving | Hooked | Woven | Compacted | Remembered


def runs_for(client: Installed) -> Iterator[Run]:
    """Every run this client's version can pass by its own doing."""
    version = version_of(client)
    return (
        run
        for run in _runs()
        if version >= (run.since if isinstance(run, ToolLoop | Compacted | Remembered) else ())
    )


def _runs() -> Iterator[Run]:
    yield ToolLoop("a tool loop")
    yield ToolLoop("a tool loop after 529 Overloaded", "error-529")
    yield ToolLoop("a tool loop after a reset in mid-stream", "rst-mid-stream")
    yield ToolLoop("a tool loop after an error frame in mid-stream", "error-frame", since=(2, 1))
    yield ToolLoop("a tool loop after an upstream that hangs up", "fin-before-head", seen_by_client=False)
    yield Hooked("a session with the hooks installed, continued and resumed", PROMPTS, OUTPUTS)
    yield Remembered("a session with a subagent and a compaction, as it is remembered", PROMPTS)
    yield Woven("a session of a profile, continued and resumed", PROMPTS)
    yield Compacted("a session of a profile that is told to compact", PROMPTS)
    # Older clients send neither hint headers nor system messages: for them it would be the same again.
    yield Compacted(
        "the same without hint headers, a system message behind the instruction",
        PROMPTS,
        hints=False,
        model="claude-sonnet-5",
        since=NEW_FORM,
    )
    yield Compacted(
        "a session of a profile that compacts by itself", PROMPTS, typed=False, scenario="nearly-full"
    )
    # Older clients take a summary without tags as it is.
    yield Compacted(
        "a summary that comes without tags first",
        PROMPTS,
        scenario="summary-without-tags",
        summaries=2,
        since=NEW_FORM,
    )
    yield Leaving("the client is killed in mid-stream", "stall-mid-stream", signal.SIGKILL, after_head=True)
    yield Leaving(
        "the client is interrupted in mid-stream", "stall-mid-stream", signal.SIGINT, after_head=True
    )
    yield Leaving(
        "the client is interrupted before a head", "stall-before-head", signal.SIGINT, after_head=False
    )
