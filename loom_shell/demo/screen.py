"""What a person sees: plain lines that stay, and on a terminal a live view of what passes now."""

import json
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from attrs import frozen
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from loom_shell.demo.conversation import Call, Outcome, text_of, tool_calls
from loom_shell.demo.places import Part, Place, places
from loom_shell.demo.tap import Passed
from loom_shell.demo.woven import Woven

Row = tuple[str, str | Text]

LABEL = 16
"""Columns the labels take, their margin included."""
MIN_WIDTH = 20
CLIPPED = {"+ identity": 300, "+ memories": 900}
"""Characters that are shown of what was woven."""


@frozen
class Report:
    """One finished call: what was asked, what came, how it passed, and the Loom's own log line."""

    number: int
    call: Call
    outcome: Outcome
    passed: Passed
    line: Mapping[str, object]
    parts: Sequence[Part] = ()
    """What was woven into it."""


class Screen:
    """Writes to a console; `with screen.watching(...)` shows a call while it runs, on a terminal only."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def opened(self, version: str, loom: str, upstream: str) -> None:
        """The cast."""
        self._rows(
            ("client", f"the official anthropic SDK {version}"),
            ("Loom", f"{loom}  (loom serve, a process of its own)"),
            ("upstream", f"{upstream}  (simulated: no key, no network)"),
        )

    def watching(self, number: int, call: Call) -> "Watch":
        return Watch(self._console, _title(number, call))

    def finished(self, report: Report) -> None:
        self._console.print()
        self._console.print(_title(report.number, report.call))
        self._rows(*rows(report))

    def followed(self, trees: Sequence[Tree]) -> None:
        """The turns of the conversation."""
        self._console.print()
        self._console.print(Text("The turns the Loom followed", style="bold"))
        for tree in trees:
            self._console.print()
            with self._console.capture() as drawn:
                self._console.print(tree)
            for line in drawn.get().splitlines():
                plain = Text.from_ansi(line)
                plain.rstrip()
                self._console.print(plain, soft_wrap=True)

    def lacks(self, troubles: Iterable[str]) -> None:
        """What could not be had, and is done without."""
        self._rows(*(("without", Text(trouble, style="yellow")) for trouble in troubles))

    def headed(self, title: str) -> None:
        self._console.print()
        self._console.print(Text(title, style="bold"))

    def woven(self, requests: Sequence[Woven]) -> None:
        """The newest request before and after, and what upstream's cache had of each."""
        self.headed("What was woven, and where")
        last = requests[-1]
        self._rows(("before", f"request {last.number} as its client wrote it, {len(last.written):,} bytes"))
        self._places(places(last.written))
        self._console.print()
        more = f"{_blocks(last.parts)} more, the rest to the byte"
        self._rows(("after", f"as it went up, {len(last.up):,} bytes: {more}"))
        self._places(places(last.up, last.parts))
        self._console.print()
        self._rows(("the cache", "each request read all that the one before had left there:"))
        for one in requests:
            told = f"{one.cache.read:,} tokens read from cache, {one.cache.written:,} written to it"
            self._rows((f"request {one.number}", told))

    def _places(self, lines: Iterable[Place]) -> None:
        for place in lines:
            style = "magenta" if place.part else ""
            self._rows((place.name, Text(place.holds, style=style)), style=style or "dim")
            if place.part:
                self._rows(("", Text(_clipped(place.part))))

    def closed(self, passed: Iterable[Passed], woven: int, seconds: float) -> None:
        """`woven` of the requests were woven into."""
        every = list(passed)
        up, down = sum(len(it.up) for it in every), sum(len(it.down) for it in every)
        self._console.print()
        told = Text.assemble(
            ("All the same. ", "bold green"),
            f"{len(every)} requests ({up:,} bytes) and their answers ({down:,} bytes) passed the Loom in "
            f"{seconds:.1f} s, each equal to the byte to the same call made without it",
            f", {woven} of them but for the blocks that were woven in." if woven else ".",
        )
        for line in _wrapped(told, self._console, self._console.width - 1):
            self._console.print(line, soft_wrap=True)
        self._console.print()
        self._console.print("Now with your own client, in two terminals:")
        self._console.print()
        self._console.print("  loom serve", "  ANTHROPIC_BASE_URL=http://127.0.0.1:8080 claude", sep="\n")

    def _rows(self, *given: Row, style: str = "dim") -> None:
        for line in laid_out(self._console, given, style):
            self._console.print(line, soft_wrap=True)


class Watch:
    """A call while it runs: the text so far and the frames as they pass."""

    def __init__(self, console: Console, title: Text) -> None:
        self._console = console
        self._title, self._text = title, ""
        self._names: list[str] = []
        self._count = 0
        self._live = (
            Live(console=console, transient=True, refresh_per_second=15) if console.is_terminal else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def text(self, more: str) -> None:
        self._text += more

    def passing(self, passed: Passed) -> None:
        """A head or a chunk has come."""
        count = passed.frames.total()
        if count > self._count:
            self._count = count
            self._names = [*self._names, passed.newest][-3:]
        if self._live:
            self._live.update(self.view(passed))

    def view(self, passed: Passed) -> RenderableType:
        rows: list[Row] = [_asked(passed)]
        if self._text:
            rows.append(("says", self._text))
        rows.append(
            (
                "frames",
                f"{self._count}: {', '.join(['…'] * (self._count > len(self._names)) + self._names)}"
                if self._names
                else "none yet",
            )
        )
        rows.append(("bytes", f"{len(passed.up):,} up, {len(passed.down):,} down"))
        return Group(Text(), self._title, *laid_out(self._console, rows))


def rows(report: Report) -> Iterable[Row]:
    """Everything told of one call, label by label."""
    call, got, passed, line = report.call, report.outcome, report.passed, report.line
    yield _asked(passed)
    yield from _said(call, got)
    if passed.frames:
        yield "frames", f"{passed.frames.total()}: {_counted(passed.frames)}"
    if got.tokens is None and (tokens := line.get("tokens")):
        yield "tokens", _tokens(tokens)
    yield "time", _times(passed)
    if told := [value for name, value in passed.lines if name.lower() == b"x-loom-woven"]:
        yield "header", Text(f"x-loom-woven: {told[0].decode('ascii', 'replace')}", style="magenta")
    yield "bytes", _bytes(passed, report.parts)
    if line["outcome"] != "complete":
        yield "log", f"the Loom noted: {line['outcome']}"


def _title(number: int, call: Call) -> Text:
    return Text.assemble((f"{number}  ", "bold cyan"), (call.title, "bold"))


def laid_out(console: Console, given: Iterable[Row], style: str = "dim") -> Iterable[Text]:
    """Labels in `style`, and beside them what they say, wrapped to the console's width."""
    for name, value in given:
        text = Text(value) if isinstance(value, str) else value
        for place, line in enumerate(_wrapped(text, console, console.width - LABEL - 1)):
            yield Text.assemble((f"   {'' if place else name}".ljust(LABEL), style), line)


def _wrapped(text: Text, console: Console, width: int) -> Iterable[Text]:
    for line in text.wrap(console, max(MIN_WIDTH, width)):
        line.rstrip()
        yield line


def _asked(passed: Passed) -> Row:
    path = passed.target.decode("ascii", "replace")
    status = passed.status
    style = "yellow" if status is None else "green" if status < 400 else "red"
    form = "an event stream" if passed.is_stream else "one JSON answer" if status else ""
    return passed.method, Text.assemble(f"{path}  ", (f"{status or '…'}", style), f"  {form}")


def _said(call: Call, got: Outcome) -> Iterable[Row]:
    for block in call.newest["content"]:
        if block["type"] == "text" and not call.wanted.scenario:
            yield "user", block["text"]
        elif block["type"] == "tool_result":
            yield "result", block["content"]
    if text := text_of(got):
        yield "assistant", Text(text, style="cyan")
    for used in tool_calls(got):
        yield "calls", Text(f"{used.name} {json.dumps(used.input, separators=(',', ':'))}", style="cyan")
    if got.tokens is not None:
        yield "counted", f"{got.tokens:,} tokens in this conversation"
    if got.error:
        yield "error", Text(got.error, style="yellow")
    if got.retry_after:
        yield "header", f"retry-after: {got.retry_after}"


def _bytes(passed: Passed, woven: Sequence[Part]) -> Text:
    equal = "equal to a direct call's" + (f" but for {_blocks(woven, 'woven ')}" if woven else "")
    return Text.assemble(f"{len(passed.up):,} up, {len(passed.down):,} down, ", (equal, "green"))


def _blocks(woven: Sequence[Part], which: str = "") -> str:
    return f"{len(woven)} {which}block{'' if len(woven) == 1 else 's'}"


def _clipped(part: Part) -> str:
    """Its text up to the end of a word: of a reminder the lines that say something, prose as it flows."""
    lines = [line for line in part.text.splitlines() if line.strip()]
    text, most = ("\n" if part.name == "+ memories" else " ").join(lines), CLIPPED[part.name]
    return text if len(text) <= most else f"{text[:most].rsplit(maxsplit=1)[0]} …"


def _counted(frames: Mapping[str, int]) -> str:
    return ", ".join(name if count == 1 else f"{count}×{name}" for name, count in frames.items())


def _tokens(tokens: object) -> str:
    """As the Loom's observer read them from the answer."""
    names = {
        "input": "in",
        "cache_creation": "written to cache",
        "cache_read": "read from cache",
        "output": "out",
    }
    counts = tokens if isinstance(tokens, dict) else {}
    return ", ".join(f"{counts[name]:,} {said}" for name, said in names.items() if name in counts)


def _times(passed: Passed) -> str:
    first = (passed.first_byte or passed.began) - passed.began
    last = (passed.ended or passed.began) - passed.began
    return f"first byte after {first * 1e3:.1f} ms, last after {last * 1e3:.0f} ms"
