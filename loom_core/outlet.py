"""What was read and is not published: a batch with the bus, and lines that wait behind it."""

from msgspec import Struct
from msgspec.structs import replace as evolve

from loom_core.actions import Actions, Publish
from loom_core.position import Position
from loom_core.publication import Unpublished, batch, has_room


class Free(Struct, frozen=True):
    """No batch is under way."""


class Publishing(Struct, frozen=True):
    """A batch is with the bus. `failures`: how often it was before."""

    lines: tuple[Unpublished, ...]
    failures: int = 0


class BackingOff(Struct, frozen=True):
    """The bus failed, and a timer runs."""

    lines: tuple[Unpublished, ...]
    failures: int


class Outlet(Struct, frozen=True):
    """`kept` is the position that the bus keeps; with a free outlet nothing waits."""

    kept: Position = Position()
    queue: tuple[Unpublished, ...] = ()
    phase: Free | Publishing | BackingOff = Free()

    @property
    def under_way(self) -> tuple[Unpublished, ...]:
        return () if isinstance(self.phase, Free) else self.phase.lines

    @property
    def has_room(self) -> bool:
        """Whether more may be read."""
        return has_room(self.queue, self.under_way)

    def joined(self, more: tuple[Unpublished, ...]) -> tuple["Outlet", Actions]:
        """With more lines behind the others; the next batch goes, if none is under way."""
        queue = (*self.queue, *more) if more else self.queue
        if not queue or not isinstance(self.phase, Free):
            return evolve(self, queue=queue), ()
        lines = batch(queue)
        after = Outlet(self.kept, queue[len(lines) :], Publishing(lines))
        return after, (after.order,)

    def published(self, position: Position) -> tuple["Outlet", Actions]:
        """The batch was taken; the next one goes."""
        return Outlet(position, self.queue).joined(())

    @property
    def order(self) -> Publish:
        """The order for the batch under way; the same however often it is given."""
        lines = self.under_way
        position = lines[-1].position if lines else self.kept
        return Publish(tuple(one.line for one in lines), self.kept, position)
