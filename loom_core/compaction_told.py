"""What is told of a compaction: in its span, in the log, in a metric, and what its summary has lost.

A request whose words are not those that are known stays as it is, and is told of: so that a client that words
things anew is noticed the first time, and not when somebody is no longer themselves.
"""

from collections.abc import Iterator

from loom_core.actions import Note
from loom_core.attributes import MAX_LABEL, Writer
from loom_core.headers import first
from loom_core.message import Seen
from loom_core.rules import Content
from loom_core.survival import missing, summary
from loom_core.values import Figure, Headers
from loom_core.woven import WovenIn

MOST_NAMED = 16
"""Lost phrases that are named."""


def drift_note(woven: WovenIn | None, headers: Headers) -> str:
    """The sentence for the log about words that are not known, "" if there are none."""
    told = woven.compaction if woven else None
    if told is None or not told.drift:
        return ""
    by = f" (told by: {', '.join(told.by)})" if told.by else ""
    begins = f"; they begin {told.begins!r}" if told.begins else ""
    return (
        f"compaction drift: the words of the {told.drift} are not those known of {_client(headers)}{by}, and"
        f" stay as they are{begins}"
    )


def drift_figure(phase: str) -> Figure:
    return Figure("loom.compaction.drift", 1, (("phase", phase),))


def figures(woven: WovenIn) -> Iterator[Figure]:
    if woven.compaction and woven.compaction.drift:
        yield drift_figure(woven.compaction.drift)
    if woven.reworded:
        yield Figure("loom.rewrites", 1, (("kind", "compaction"),))


def lost(woven: WovenIn | None, seen: Seen | None) -> tuple[str, ...]:
    """What a summary lacks of what must survive; nothing where no whole summary came."""
    must = woven.compaction.must_survive if woven and woven.compaction else ()
    if not must or seen is None or not seen.complete:
        return ()
    said = summary("".join(block.text for block in seen.blocks if block.kind == "text"))
    return missing(must, said)[:MOST_NAMED] if said else ()


def lost_notes(woven: WovenIn | None, seen: Seen | None) -> tuple[Note, ...]:
    names = lost(woven, seen)
    if woven is None or not names:
        return ()
    said = f"the summary of a compaction lacks what must survive for profile {woven.profile}"
    return (Note(f"{said}: {', '.join(names)}"),)


def write(out: Writer, woven: WovenIn | None, seen: Seen | None, headers: Headers, content: Content) -> None:
    """The attributes of a span that a compaction has; the words of the client only where content is full."""
    told = woven.compaction if woven else None
    if woven is None or (told is None and not woven.reworded):
        return
    out.texts("loom.compaction.reworded", woven.reworded)
    if told is None:
        return
    out.texts("loom.compaction.by", told.by)
    out.text("loom.compaction.trigger", told.trigger, MAX_LABEL)
    if told.drift:
        begins = f": {told.begins}" if told.begins and content is Content.FULL else ""
        out.text("loom.compaction.drift", f"{told.drift} of {_client(headers)}{begins}", MAX_LABEL)
    out.texts("loom.compaction.missing", lost(woven, seen))


def _client(headers: Headers) -> str:
    agent = (first(headers, b"user-agent") or b"").decode("latin-1").partition(" ")[0]
    return agent[:64] or "a client that names no version"
