"""Who broke the cache: a request that read less than the one before it had cached, and what differed.

The rules (public documentation, "Prompt caching"):

* What a request had cached up to its last marker is upstream's own count: read and written together. The
  next one of the conversation should read that much.
* A cache is of one model. An entry lives from its last use for 5 minutes or an hour, as its marker says.
* An entry is found if all blocks before its marker are the same, and some marker of the request stands at
  most `LOOK_BACK` positions behind it. Other thinking or another tool choice makes messages void.

So the cause is the first of these that does not hold; where all of them do, upstream knows better.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace as evolve

from loom_core.message import Seen
from loom_core.meter import LIVES, LOOK_BACK, MINUTE
from loom_core.shape import ASIDE, ASSISTANT, FIRST, HOUR, KEY, KIND, MARKED, OURS, SYSTEM, TOOL, USER, Shape
from loom_core.shape import read as shape_of
from loom_core.woven import WovenIn

MOST_SHAPES = 4
"""Shapes kept of one agent: clients make calls of other conversations under its name."""
LEAST = 512
"""Fewer tokens than that are no miss."""
PART = 20
"""Nor are fewer than one part in so many of what was cached."""
CAUSES = ("model", "tools", "system", "identity", "message", "settings", "idle", "upstream")
_ROLES = {USER: "user", ASSISTANT: "assistant", ASIDE: "system"}


class Miss(Struct, frozen=True):
    """`cause` is one of `CAUSES`; `words` say it to a person; `tokens` were cached and not read."""

    cause: str
    words: str
    tokens: int


def judged(
    body: bytes, woven: WovenIn | None, seen: Seen, before: Sequence[Shape], times: tuple[int, int]
) -> tuple[Shape | None, Miss | None]:
    """The shape of a request that was answered, and its miss. `times`: when it was sent, and its head came.

    None where upstream told nothing of its cache, or never had any of this agent's.
    """
    cached = (seen.cache_read or 0) + (seen.cache_creation or 0)
    shape = shape_of(body, woven, before) if cached or before else None
    if shape is None or (seen.cache_read is None and seen.cache_creation is None):
        return None, None
    shape = evolve(shape, sent_at=times[0], head_at=times[1], cached=cached)
    since = earlier(before, shape)
    return shape, blame(since, shape, seen.cache_read) if since else None


def kept(shapes: Sequence[Shape], new: Shape) -> tuple[Shape, ...]:
    """The shapes to compare the next request with: of a conversation with equal tools and system the last."""
    others = (it for it in shapes if not (_is_alike(it, new) and _is_kin(it, new)))
    return (*others, new)[-MOST_SHAPES:]


def earlier(shapes: Sequence[Shape], now: Shape) -> Shape | None:
    """The request that this one goes on from: of its conversation, and the same for as long as any."""
    found = [shape for shape in reversed(shapes) if _is_kin(shape, now)]
    return max(found, key=lambda it: (it.model == now.model, _common(it, now)), default=None)


def blame(before: Shape, now: Shape, read: int | None) -> Miss | None:
    """Why upstream read only so many tokens of a request from its cache; None if that is no miss."""
    if read is None or now.sent_at < before.head_at:
        return None
    lost, last = before.cached - read, before.last_marker
    if lost < LEAST or lost * PART < before.cached or last < 0:
        return None
    for rule in (_model, _idle, _difference, _markers):
        if (found := rule(before, now, last)) is not None:
            return Miss(*found, lost)
    return Miss("upstream", "nothing in the request differs: expired or dropped at upstream", lost)


# The rules: each a cause and its words, or None


_Found = tuple[str, str] | None


def _model(before: Shape, now: Shape, _last: int) -> _Found:
    if before.model == now.model:
        return None
    return "model", f"model changed from {before.model or 'none'} to {now.model or 'none'} (client)"


def _idle(before: Shape, now: Shape, last: int) -> _Found:
    life = LIVES["1h" if before.marks[last] & HOUR else "5m"]
    idle = now.sent_at - before.head_at
    if idle <= life:
        return None
    return "idle", f"idle {-(-idle // MINUTE)} min, longer than the cache lives ({life // MINUTE} min)"


def _difference(before: Shape, now: Shape, last: int) -> _Found:
    """The first block that differs, up to the last one that was cached."""
    same = _common(before, now)
    if same < before.front or same < now.front:
        return _in_front(before, now, same) if same <= last else None
    if before.settings != now.settings and last >= before.front:
        return "settings", "thinking or tool choice changed (client)"
    return _in_messages(before, now, same) if same <= last else None


def _in_front(before: Shape, now: Shape, at: int) -> _Found:
    was, is_now = _kind(before, at), _kind(now, at)
    if TOOL in {was, is_now}:
        return "tools", f"{_tool(before, now, at)} (client)"
    ours, theirs = (_is_ours(before, at), _is_ours(now, at)), (was == SYSTEM, is_now == SYSTEM)
    if ours == theirs:
        return "identity", f"the Loom's identity {_change(*theirs)}"
    # A block more or less moves what stands behind it: the Loom's, or the first message.
    plain = tuple(is_one and not is_ours for is_one, is_ours in zip(theirs, ours, strict=True))
    number = sum(mark & KIND == SYSTEM for mark in (now if plain[1] else before).marks[: at + 1])
    return "system", f"system block {number} {_change(*plain)} (client)"


def _change(was: bool, is_now: bool) -> str:  # noqa: FBT001, both are what they say
    if was and is_now:
        return "changed"
    return "removed" if was else "added"


def _tool(before: Shape, now: Shape, at: int) -> str:
    was, is_now = _name(before, at), _name(now, at)
    if was == is_now:
        return f"tool {was} changed"
    if was and was not in now.tools:
        return f"tool {was} removed"
    return f"tool {is_now} {'moved' if is_now in before.tools else 'added'}"


def _name(shape: Shape, at: int) -> str:
    return shape.tools[at] if at < len(shape.tools) else ""


def _in_messages(before: Shape, now: Shape, at: int) -> _Found:
    gone, come = _is_ours(before, at), _is_ours(now, at)
    # Its block stands last in a message: what comes or goes there alone moves the beginning of the next.
    by_loom = (gone and (come or _begins(now, at))) or (come and _begins(before, at))
    # What a message has lost at its end moves the beginning of the next, too.
    told = before if at >= len(now.marks) or (_begins(now, at) and not _begins(before, at)) else now
    number = sum(mark & FIRST > 0 for mark in told.marks[told.front : at + 1])
    change = "removed" if at >= len(now.marks) else "changed"
    role, who = _ROLES.get(_kind(told, at), "other"), "Loom" if by_loom else "client"
    return "message", f"message {number} ({role}) {change} ({who})"


def _markers(_before: Shape, now: Shape, last: int) -> _Found:
    """Whether some marker looks back as far as the last one of before, its own place being the first."""
    behind = [at - last for at in range(last, len(now.marks)) if now.marks[at] & MARKED]
    if not behind:
        return "settings", "no cache marker at or behind the last one (client)"
    if behind[0] < LOOK_BACK:
        return None
    return "settings", f"next cache marker {behind[0]} blocks on, upstream sees {LOOK_BACK} (client)"


# Shapes compared


def _kind(shape: Shape, at: int) -> int:
    return shape.marks[at] & KIND if at < len(shape.marks) else -1


def _is_ours(shape: Shape, at: int) -> bool:
    return at < len(shape.marks) and shape.marks[at] & OURS > 0


def _common(one: Shape, other: Shape) -> int:
    """How many blocks both begin with."""
    low, high = 0, min(len(one.marks), len(other.marks))
    while low < high:
        middle = (low + high + 1) // 2
        if one.keys[low * KEY : middle * KEY] == other.keys[low * KEY : middle * KEY]:
            low = middle
        else:
            high = middle - 1
    return low


def _begins(shape: Shape, at: int) -> bool:
    """Whether a message begins with this block, or there is none."""
    return at >= len(shape.marks) or shape.marks[at] & FIRST > 0


def _is_alike(one: Shape, other: Shape) -> bool:
    """Whether model, tools and system are the same."""
    return one.model == other.model and one.before_messages == other.before_messages


def _is_kin(before: Shape, now: Shape) -> bool:
    """Whether two requests are of one conversation: they share something the model said, or the first prompt.

    What a client puts before every prompt of a project makes no kin.
    """
    known = before.known
    if known is not None and known.blocks > before.front and _is_alike(before, now):
        end = known.blocks * KEY
        if before.keys[:end] == now.keys[:end]:
            return True
    theirs = {now.key(at) for at in range(now.front, len(now.marks))}
    said = [at for at in range(before.front, len(before.marks)) if not before.marks[at] & OURS]
    answers = [at for at in said if before.marks[at] & KIND == ASSISTANT]
    return any(before.key(at) in theirs for at in answers or said[-1:])
