"""The picture of `loom turns` in the README, from a fixed sample: `python -m tests.support.turns_picture`."""

import io
from datetime import UTC
from pathlib import Path

from rich.console import Console, Group

from loom_core.trace import Attributes, SpanRecord
from loom_shell.recent import RecentTurns, Trace
from loom_shell.turn_tree import shown

PICTURE = Path(__file__).parents[2] / "docs" / "turns.svg"
COMMAND = "uv run python -m tests.support.turns_picture"
SESSION = "5e551071-0000-4000-8000-000000000001"
START = 1_767_261_600_000_000_000
"""2026-01-01 10:00:00 UTC, in nanoseconds."""
SECOND = 1_000_000_000


def span(
    name: str,
    number: int,
    parent: int,
    times: tuple[float, float],
    attributes: Attributes = (),
    *,
    error: str = "",
    trace: int = 1,
) -> SpanRecord:
    """A span with ids made of numbers (parent 0: none); `times` are seconds from the sample's start."""
    start, end = (START + round(seconds * SECOND) for seconds in times)
    session = (("session.id", SESSION),)
    above = f"{parent:016x}" if parent else ""
    return SpanRecord(
        f"{trace:032x}", f"{number:016x}", above, name, "internal", start, end, session + attributes, error
    )


def call(
    number: int,
    parent: int,
    times: tuple[float, float],
    tokens: tuple[int, int, int, int],
    *,
    model: str = "claude-opus-4-5",
    first: float = 0.4,
    prompt: str = "",
    kind: str = "main",
    trace: int = 1,
) -> list[SpanRecord]:
    """A request and its answer. `tokens`: the whole prompt, read from and written to the cache, output."""
    whole, read, written, output = tokens
    of_call: Attributes = (("loom.call.kind", kind), ("loom.turn.call_index", 1))
    usage: Attributes = (
        ("loom.call.kind", kind),
        ("gen_ai.response.model", model),
        ("gen_ai.response.time_to_first_chunk", first),
        ("gen_ai.usage.input_tokens", whole),
        ("gen_ai.usage.output_tokens", output),
        ("gen_ai.usage.cache_read.input_tokens", read),
        ("gen_ai.usage.cache_creation.input_tokens", written),
        *((("input.value", prompt),) if prompt else ()),
    )
    return [
        span("loom: POST /v1/messages", number, parent, times, of_call, trace=trace),
        span(f"chat {model}", number + 1, number, times, usage, trace=trace),
    ]


def finished() -> list[SpanRecord]:
    """A turn with tools, one of which failed, a subagent and an auxiliary call."""
    prompt: Attributes = (("input.value", "Why is the warp test red? Mend it, please."),)
    return [
        span("hook:collect-metadata", 2, 1, (0.0, 0.041)),
        *call(3, 1, (0.1, 2.9), (18_204, 0, 18_192, 212), first=0.82),
        *call(5, 1, (0.2, 0.7), (310, 0, 0, 9), model="claude-haiku-4-5", kind="auxiliary"),
        span("execute_tool Bash", 7, 1, (2.9, 6.2), error="exit code 1"),
        span("execute_tool Read", 8, 1, (2.9, 2.94)),
        *call(20, 9, (6.5, 9.1), (9_420, 7_900, 1_500, 188), model="claude-haiku-4-5", kind="subagent"),
        span("agent:a1", 9, 1, (6.4, 9.2), (("agent.name", "Explore"),)),
        *call(10, 1, (9.3, 13.8), (19_377, 18_192, 1_180, 640), first=0.51),
        span("user-turn:5e551071", 1, 0, (0.0, 13.8), (*prompt, ("loom.turn.outcome", "complete"))),
    ]


def running() -> list[SpanRecord]:
    """A turn whose own span is still to come."""
    return [
        *call(3, 1, (20.0, 21.6), (20_230, 19_372, 850, 71), prompt="Now the weft, too.", trace=2),
        span("execute_tool Edit", 5, 1, (21.6, 21.7), trace=2),
    ]


def traces(spans: list[SpanRecord]) -> list[Trace]:
    recent = RecentTurns()
    for one in spans:
        recent.keep(one)
    return recent.turns()


def drawn(spans: list[SpanRecord], width: int = 80) -> str:
    """Spans as `loom turns` prints them into a file."""
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False, _environ={})
    console.print(Group(*(one.tree for trace in traces(spans) for one in shown(trace, UTC))))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def picture() -> str:
    console = Console(
        record=True,
        file=io.StringIO(),
        width=80,
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
        _environ={},
    )
    for trace in traces(finished() + running()):
        for one in shown(trace, UTC):
            console.print(one.tree)
    svg = console.export_svg(title="loom turns", unique_id="loom-turns")
    # Fonts come from the reader's machine: a picture in a repository asks no other host for them.
    before, _, rest = svg.partition("@font-face")
    _, _, after = rest.rpartition("@font-face")
    return before.rstrip() + "\n" + after.partition("}")[2]


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture(), encoding="utf-8")
