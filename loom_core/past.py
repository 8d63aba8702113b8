"""What is known of an agent's conversation from the turns before."""

from msgspec import Struct
from msgspec.structs import replace as evolve

from loom_core.actions import Actions, Measure, Note
from loom_core.call import Call, CallKind
from loom_core.compaction import REQUEST
from loom_core.compaction_told import drift_figure
from loom_core.metadata import Metadata
from loom_core.miss import kept
from loom_core.shape import Shape

MAX_ROOTS = 64
MAX_SYSTEMS = 64
BEGINS, ENDS = "PreCompact", frozenset({"PostCompact", "SessionStart"})
"""Hooks around a compaction; of the starts of a session only the one after it is told."""


class Past(Struct, frozen=True):
    """What is known of an agent's conversation from before.

    `compacts`: a hook has told of a compaction of which no request was seen yet.

    `messages` and `systems` were shown in full by earlier spans; `roots` are the span ids of its
    turns; `told` is the last metadata of them; `since` when the last of them ended; `offers`: its calls
    offer tools; `shapes`: what its last requests were.
    """

    messages: int = 0
    systems: frozenset[str] = frozenset()
    roots: tuple[str, ...] = ()
    told: Metadata | None = None
    since: int = 0
    offers: bool = False
    shapes: tuple[Shape, ...] = ()
    compacts: bool = False

    def with_call(self, call: Call) -> "Past":
        room = call.system_hash and len(self.systems) < MAX_SYSTEMS
        systems = self.systems | {call.system_hash} if room else self.systems
        return evolve(
            self,
            messages=call.messages,
            systems=systems,
            told=call.metadata or self.told,
            offers=self.offers or call.offers,
            compacts=self.compacts and call.kind is not CallKind.COMPACTION,
        )

    def with_root(self, span_id: str) -> "Past":
        return evolve(self, roots=(*self.roots, span_id)[-MAX_ROOTS:])

    def with_shape(self, shape: Shape | None) -> "Past":
        return self if shape is None else evolve(self, shapes=kept(self.shapes, shape))


def with_hook(past: Past, hook: str) -> tuple[Past, Actions]:
    """What a hook tells of a compaction: one that is over, and of which no request was seen, has drifted."""
    if hook == BEGINS:
        return evolve(past, compacts=True), ()
    if hook not in ENDS or not past.compacts:
        return past, ()
    text = "compaction drift: the hooks told of a compaction, and no request was known as that"
    return evolve(past, compacts=False), (Note(text), Measure((drift_figure(REQUEST),)))
