"""A woven request drawn for a terminal: its blocks in order, the Loom's own in frames."""

from collections.abc import Iterator
from datetime import tzinfo

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from loom_core.profile import Life
from loom_core.woven import WovenIn
from loom_core.woven_blocks import WovenBlock
from loom_core.wrapper import is_reminder
from loom_shell.last_woven import Last
from loom_shell.printable import printable
from loom_shell.units import clock, count
from loom_shell.woven_view import Block, View

NAME_LENGTH = 60
"""Characters of a name somebody else chose: a session's id, a model, a role, a kind."""
ROWS = 6
"""Rows of a woven text that are shown of it, unless all is asked for."""
MOST_IDS = 5
KIND_WIDTH = 11
MARK = "◆"
"""Stands where the client set a cache marker."""
STYLES = {Life.IDENTITY: "magenta", Life.STICKY: "cyan", Life.EPHEMERAL: "yellow"}


def picture(
    console: Console, last: Last, seen: View, *, full: bool = False, zone: tzinfo | None = None
) -> Iterator[RenderableType]:
    """What is printed one below the other; without `full` texts are cut. `zone`: as in `units.clock`."""
    yield _heading(last, seen, zone)
    if seen.tools:
        yield Text()
        title = _title(f"{len(seen.tools)} tool{'' if len(seen.tools) == 1 else 's'}", seen.tools_marker)
        yield _line(console, title, ", ".join(seen.tools))
    if seen.system:
        yield from _message(console, "system prompt", seen.system, full=full)
    for number, message in enumerate(seen.messages, 1):
        role = _name(message.role) or "no role"
        yield from _message(console, f"{role} {number}", message.blocks, full=full)


def _message(
    console: Console, title: str, blocks: tuple[Block, ...], *, full: bool
) -> Iterator[RenderableType]:
    yield Text()
    yield _title(title)
    for block in blocks:
        yield from _block(console, block, full=full)


def _heading(last: Last, seen: View, zone: tzinfo | None) -> Text:
    told = last.woven
    said = Text(overflow="fold").append("● ", "bold green" if told.is_whole else "bold red")
    said.append(f"session {_name(last.session)}", "bold")
    messages = len(seen.messages)
    facts = [
        f"profile {_name(told.profile)}",
        clock(told.ended_at, zone),
        _name(seen.model) or "no model",
        f"{messages} message{'' if messages == 1 else 's'}",
        f"{count(last.size)} bytes",
    ]
    said.append(f"\n  {' · '.join(facts)}", "dim")
    said.append("\n  ").append_text(_sum(told, last.blocks))
    if told.is_whole:
        said.append(f"\n  {_decided(told)}", "dim")
    if told.is_whole and told.trouble:
        said.append(f"\n  trouble: {printable(told.trouble, 200)}", "red")
    if seen.marker:
        said.append("\n  ").append_text(_marker(seen.marker)).append(" on the request as a whole", "dim")
    return said


def _sum(told: WovenIn, blocks: tuple[WovenBlock, ...]) -> Text:
    """What was woven, in tokens."""
    if not told.is_whole:
        return Text(f"went up unwoven: {printable(told.trouble, 200)}", "red")
    if not blocks:
        return Text("nothing is woven in")
    said = Text(f"woven: {count(sum(block.tokens for block in blocks))} tokens = ")
    for life in Life:
        those = [block for block in blocks if block.life is life]
        if those:
            several = f" in {len(those)} blocks" if len(those) > 1 else ""
            said.append("" if said.plain.endswith("= ") else " + ")
            said.append(f"{life.value} {count(sum(block.tokens for block in those))}{several}", STYLES[life])
    return said


def _decided(told: WovenIn) -> str:
    """What was decided before this request, and with it."""
    prompts = f"{told.anchors} prompt{'' if told.anchors == 1 else 's'}"
    now = {"woven": "new text at the last one", "empty": "nothing new at the last one"}
    parts = [prompts, *([f"{told.replayed} woven again"] if told.replayed else [])]
    parts.append(now.get(told.decided, "nothing to be decided"))
    if told.recall:
        parts.append(f"memory: {printable(told.recall, 80)}")
    return ", ".join(parts)


def _block(console: Console, block: Block, *, full: bool) -> Iterator[RenderableType]:
    if block.woven:
        yield Padding(_frame(console, block.text, block.woven, full=full), (0, 0, 0, 2))
        return
    kind = _name(block.kind)
    title = Text("  ").append(kind if full else f"{kind:<{KIND_WIDTH}}", "dim")
    if block.marker:
        title.append(" ").append_text(_marker(block.marker))
    if not full:
        yield _line(console, title, block.text)
        return
    yield title
    yield from (Text("    ").append_text(row) for row in _lines(block.text).wrap(console, console.width - 4))


def _frame(console: Console, text: str, woven: WovenBlock, *, full: bool) -> Panel:
    """A block of the Loom's with its text; what is cut is said."""
    said = Text()
    if not full and is_reminder(text):
        # The words that introduce it are the same in all: what it says comes after.
        text = text.partition("\n\n")[2].rpartition("\n")[0]
        said.append("<system-reminder> …\n", "dim")
    # Two columns before the frame, and on either side its border and one of padding.
    rows = list(_lines(text).wrap(console, max(1, console.width - 6)))
    cut = 0 if full or len(rows) <= ROWS else len(rows) - ROWS + 1
    said.append_text(Text("\n").join(rows[: len(rows) - cut]))
    if cut:
        said.append(f"\n… {cut} more rows: --full shows all", "dim")
    style = STYLES[woven.life]
    held = _holds(woven)
    return Panel(
        said,
        title=Text(f"woven: {woven.life.value} · {count(woven.tokens)} tokens", f"bold {style}"),
        title_align="left",
        subtitle=Text(held, style) if held else None,
        subtitle_align="left",
        border_style=style,
    )


def _holds(woven: WovenBlock) -> str:
    """What is in a sticky block."""
    parts = [
        f"{number} {name}{'' if number == 1 else 's'}"
        for number, name in ((woven.pieces, "piece"), (woven.memorables, "memorable"))
        if number
    ]
    if woven.memories:
        ids = " ".join(f"#{_name(it)}" for it in woven.memories[:MOST_IDS])
        more = " …" if len(woven.memories) > MOST_IDS else ""
        parts.append(f"{'memory' if len(woven.memories) == 1 else 'memories'} {ids}{more}")
    return ", ".join(parts)


def _title(name: str, marker: str = "") -> Text:
    title = Text().append(name, "bold")
    return title.append(" ").append_text(_marker(marker)) if marker else title


def _marker(life: str) -> Text:
    return Text(f"{MARK} cache {_name(life)}", "bold yellow")


def _line(console: Console, title: Text, text: str) -> Text:
    """A title and the beginning of a text, on one row."""
    beginning = " ".join(text[: 4 * console.width].split())
    line = title.copy().append(" ").append(printable(beginning, len(beginning)))
    line.truncate(console.width, overflow="ellipsis")
    return line


def _lines(text: str) -> Text:
    """A text with its line breaks, and nothing else that a terminal obeys."""
    lines = text.replace("\r\n", "\n").expandtabs(4).split("\n")
    return Text("\n".join(printable(line, len(line)) for line in lines), overflow="fold")


def _name(word: str) -> str:
    return printable(word, NAME_LENGTH)
