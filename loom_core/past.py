"""What is known of an agent's conversation from the turns before."""

from msgspec import Struct
from msgspec.structs import replace as evolve

from loom_core.call import Call
from loom_core.metadata import Metadata
from loom_core.miss import kept
from loom_core.shape import Shape

MAX_ROOTS = 64
MAX_SYSTEMS = 64


class Past(Struct, frozen=True):
    """What is known of an agent's conversation from before.

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

    def with_call(self, call: Call) -> "Past":
        room = call.system_hash and len(self.systems) < MAX_SYSTEMS
        systems = self.systems | {call.system_hash} if room else self.systems
        return evolve(
            self,
            messages=call.messages,
            systems=systems,
            told=call.metadata or self.told,
            offers=self.offers or call.offers,
        )

    def with_root(self, span_id: str) -> "Past":
        return evolve(self, roots=(*self.roots, span_id)[-MAX_ROOTS:])

    def with_shape(self, shape: Shape | None) -> "Past":
        return self if shape is None else evolve(self, shapes=kept(self.shapes, shape))
