"""A turn as a tree for a terminal: what was asked, each call, each tool, and what it took and cost."""

from collections.abc import Iterable, Iterator
from datetime import tzinfo

from attrs import frozen
from rich.text import Text
from rich.tree import Tree

from loom_core import attributes as names
from loom_core.rules import SECOND
from loom_shell.prices import Figures, cost
from loom_shell.printable import printable
from loom_shell.recent import KeptSpan, Trace
from loom_shell.span_words import line, model, text, texts, whole
from loom_shell.units import clock, count, dollars, duration

PROMPT_LENGTH = 68
"""Characters of a prompt: with the mark before it, one line of a terminal with 80 columns."""
NAME_LENGTH = 48
ERROR_LENGTH = 120
TURN, AGENT, CALL, CHAT, TOOL = "user-turn:", "agent:", "loom: ", "chat ", "execute_tool"
BESIDE = frozenset({"auxiliary", "count_tokens"})
"""Kinds of calls that the client makes for itself: they are no part of a turn's totals."""


@frozen
class Shown:
    """One turn, or a call outside of any. `id` is the same each time it is drawn."""

    id: str
    is_running: bool
    tree: Tree


@frozen
class Sum:
    """Totals. `is_least`: of some token the price is not known exactly, so that it cost this or more."""

    calls: int = 0
    prompt: int = 0
    cached: int = 0
    output: int = 0
    dollars: float = 0.0
    is_least: bool = False

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(
            self.calls + other.calls,
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.output + other.output,
            self.dollars + other.dollars,
            self.is_least or other.is_least,
        )


def shown(trace: Trace, zone: tzinfo | None = None) -> list[Shown]:
    """What a trace holds, oldest first: turns, and what is there of a turn that is not over.

    `zone` is that of the times, None for this machine's.
    """
    family = _Family(trace.spans)
    tops = family.tops()
    over = [span for span in tops if _is_turn(span) or not _is_in_turn(span)]
    running = [span for span in tops if span not in over]
    found = [
        Shown(_id(trace, span), is_running=False, tree=_turn(family, span, trace, zone)) for span in over
    ]
    if running:
        tree = _running(family, running, trace, zone)
        found.append(Shown(_id(trace, running[0]), is_running=True, tree=tree))
    return found


def _id(trace: Trace, span: KeptSpan) -> str:
    return f"{trace.trace_id}:{span.span_id}"


class _Family:
    """The spans of a trace by their parents."""

    def __init__(self, spans: Iterable[KeptSpan]) -> None:
        self._known = {span.span_id: span for span in spans}
        self._below: dict[str, list[KeptSpan]] = {}
        for span in sorted(self._known.values(), key=lambda span: (span.start, span.end)):
            self._below.setdefault(span.parent_id, []).append(span)

    def tops(self) -> list[KeptSpan]:
        """Those without a parent here, by start."""
        found = [span for parent, spans in self._below.items() if parent not in self._known for span in spans]
        return sorted(found, key=lambda span: (span.start, span.end))

    def below(self, span: KeptSpan) -> list[KeptSpan]:
        return self._below.get(span.span_id, [])

    def all_below(self, span: KeptSpan) -> Iterator[KeptSpan]:
        # Ids are the client's to choose: a circle of parents must not be walked forever.
        seen, waiting = {span.span_id}, [span]
        while waiting:
            for child in self.below(waiting.pop()):
                if child.span_id not in seen:
                    seen.add(child.span_id)
                    waiting.append(child)
                    yield child


# A turn


def _turn(family: _Family, span: KeptSpan, trace: Trace, zone: tzinfo | None) -> Tree:
    if not _is_turn(span):
        beside = _heading("○", "dim", _prompt_of(family, [span]))
        tree = Tree(beside.append(f"\n{_of(trace)}{clock(span.start, zone)} · outside of a turn", "dim"))
        _grow(tree, family, [span])
        return tree
    outcome = text(span, "loom.turn.outcome")
    mark, style = ("✗", "bold red") if span.error else ("●", "bold green")
    label = _heading(mark, style, text(span, names.INPUT_VALUE))
    what = [clock(span.start, zone), duration(span.end - span.start)]
    if outcome and outcome != "complete":
        what.append(printable(outcome, ERROR_LENGTH))
    label.append(f"\n{_of(trace)}{' · '.join(what)}", "dim")
    _add_totals(label, family.all_below(span))
    tree = Tree(label)
    _grow(tree, family, family.below(span))
    return tree


def _running(family: _Family, spans: list[KeptSpan], trace: Trace, zone: tzinfo | None) -> Tree:
    label = _heading("◌", "bold yellow", _prompt_of(family, spans))
    label.append(f"\n{_of(trace)}{clock(spans[0].start, zone)} · ", "dim").append("running", "yellow")
    _add_totals(label, [below for span in spans for below in (span, *family.all_below(span))])
    tree = Tree(label)
    _grow(tree, family, spans)
    return tree


def _heading(mark: str, style: str, prompt: str) -> Text:
    label = Text(overflow="fold").append(f"{mark} ", style)
    return label.append(line(prompt, PROMPT_LENGTH) or "(prompt not kept)", "bold" if prompt else "dim")


def _of(trace: Trace) -> str:
    session = trace.sessions[0] if trace.sessions else ""
    return f"session {printable(session[:8], 8)} · " if session else ""


def _add_totals(label: Text, spans: Iterable[KeptSpan]) -> None:
    """The second line's figures of all the calls, if there is one."""
    chats = (span for span in spans if span.name.startswith(CHAT))
    counting = (_sum(chat) for chat in chats if text(chat, "loom.call.kind") not in BESIDE)
    total = sum(counting, Sum())
    if not total.calls:
        return
    calls = "1 call" if total.calls == 1 else f"{total.calls} calls"
    label.append(f"\n{calls} · {_tokens(total)}", "cyan")


# Its parts


def _grow(tree: Tree, family: _Family, spans: Iterable[KeptSpan], depth: int = 0) -> None:
    for span in spans:
        chats = [below for below in family.below(span) if below.name.startswith(CHAT)]
        is_call = span.name.startswith(CALL)
        branch = tree.add(_call(span, chats[-1] if chats else None) if is_call else _part(family, span))
        if depth < 16:
            rest = [below for below in family.below(span) if not (is_call and below in chats[-1:])]
            _grow(branch, family, rest, depth + 1)


def _call(span: KeptSpan, chat: KeptSpan | None) -> Text:
    """A request and the model's answer to it as one."""
    kind = text(span, "loom.call.kind")
    label = Text(overflow="fold")
    if chat is None:
        status = whole(span, names.HTTP_STATUS)
        what = kind if kind == "count_tokens" else span.name.removeprefix(CALL)
        label.append(line(what, NAME_LENGTH))
        if status and status >= 400:
            label.append(f" {status}", "red")
    else:
        label.append(line(model(chat), NAME_LENGTH) or "chat", "bold")
    if kind and kind not in {"main", "subagent", "count_tokens"}:
        label.append(f" ({line(kind, NAME_LENGTH)})")
    label.append(f" · {duration(span.end - span.start)}")
    first = chat.attributes.get(names.RESPONSE_TIME_TO_FIRST_CHUNK) if chat else None
    if isinstance(first, int | float):
        label.append(f", first byte {duration(round(first * SECOND))}")
    counted = whole(span, "loom.counted_tokens")
    if counted is not None:
        label.append(f" · {count(counted)} tokens")
    if chat is not None and (total := _sum(chat)) != Sum(calls=1):
        label.append(f"\n{_tokens(total)}", "cyan")
    if chat is not None and (why := text(chat, "loom.cache.miss")):
        missed = count(whole(chat, "loom.cache.miss_tokens") or 0)
        label.append(f"\ncache missed {missed}: {line(why, ERROR_LENGTH)}", "yellow")
    if chat is not None:
        _add_compaction(label, chat)
    _add_error(label, chat.error if chat and chat.error else span.error)
    return label


def _add_compaction(label: Text, chat: KeptSpan) -> None:
    """What became of the client's words around a compaction, and what its summary lost."""
    if text(chat, "loom.call.kind") == "compaction" and texts(chat, "loom.compaction.reworded"):
        what = line(f"{text(chat, 'loom.compaction.trigger')} compaction".strip(), NAME_LENGTH)
        label.append(f"\n{what}, in the profile's words", "cyan")
    if drift := text(chat, "loom.compaction.drift"):
        unknown = line(drift, ERROR_LENGTH)
        label.append(f"\nunknown words of a compaction, left as they are: {unknown}", "yellow")
    if lost := texts(chat, "loom.compaction.missing"):
        label.append(f"\nnot in the summary: {line(', '.join(lost), ERROR_LENGTH)}", "yellow")


def _part(family: _Family, span: KeptSpan) -> Text:
    """A tool, a subagent, a hook, or whatever else."""
    label = Text(overflow="fold")
    name, style = span.name, "dim"
    if name.startswith(TOOL):
        name, style = name.removeprefix(TOOL).strip() or "tool", "red" if span.error else "magenta"
        label.append("✗ " if span.error else "⚙ ", style)
    elif _is_turn(span):
        agent = text(span, names.AGENT_NAME)
        name, style = f"{agent} {name}" if agent and name.startswith(AGENT) else name, "bold"
    label.append(line(name, NAME_LENGTH), style).append(f" · {duration(span.end - span.start)}")
    if _is_turn(span):
        _add_totals(label, family.all_below(span))
    _add_error(label, span.error)
    return label


def _add_error(label: Text, error: str) -> None:
    if error:
        label.append(f": {line(error, ERROR_LENGTH)}", "red")


# Figures


def _sum(chat: KeptSpan) -> Sum:
    """What one answer took. How long a write to the cache lasts is not told: the shorter costs less."""
    prompt, output = whole(chat, names.USAGE_INPUT_TOKENS), whole(chat, names.USAGE_OUTPUT_TOKENS)
    read = whole(chat, names.USAGE_CACHE_READ) or 0
    written = whole(chat, names.USAGE_CACHE_CREATION) or 0
    if prompt is None and output is None:
        return Sum(calls=1)
    prompt, output = prompt or 0, output or 0
    new = max(0, prompt - read - written)
    figures = Figures(input=new, output=output, cache_read=read, cache_write_5m=written)
    price = cost(model(chat), figures)
    return Sum(1, prompt, read, output, price or 0.0, is_least=price is None or written > 0)


def _tokens(total: Sum) -> str:
    share = f" ({100 * total.cached // total.prompt}% cached)" if total.prompt else ""
    told = f"{count(total.prompt)} in{share} · {count(total.output)} out"
    if not total.dollars:
        return told
    return f"{told} · {'≥ ' if total.is_least else ''}{dollars(total.dollars)}"


# What spans say


def _is_turn(span: KeptSpan) -> bool:
    return span.name.startswith((TURN, AGENT))


def _is_in_turn(span: KeptSpan) -> bool:
    """Whether a span without a parent here belongs to a turn whose own span comes later."""
    return not span.name.startswith(CALL) or "loom.turn.call_index" in span.attributes


def _prompt_of(family: _Family, spans: list[KeptSpan]) -> str:
    """The first question to a model: before a turn is over, it is all that tells the prompt."""
    for span in spans:
        for below in (span, *family.all_below(span)):
            if below.name.startswith((CHAT, CALL)) and (said := text(below, names.INPUT_VALUE)):
                return said
    return ""
