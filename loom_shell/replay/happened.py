"""One thing that happened, on its way from the driver to a line of a journal."""

from attrs import define

from loom_core.actions import Tell
from loom_core.events import Event, FileRead, RequestChunkReceived, UpstreamChunkReceived
from loom_core.values import Key

CHUNKS = (UpstreamChunkReceived, RequestChunkReceived, FileRead)
"""Events that bring bytes."""
What = Event | Tell | None
"""What a journal is told: an event from outside; a `Tell` of an exchange that is delivered now; None: a
machine of a transcript begins anew."""


@define(eq=False)
class Happened:
    """`is_held`: so long it waits.

    `clean`: the bytes of a chunk, or of a request's whole body with its first event, without their secrets;
    None until they are known.
    """

    key: Key
    what: What
    put_at: float = 0.0
    is_held: bool = False
    clean: bytes | None = None
    is_changed: bool = False
    """Whether its body is another than the one that was, by the secrets that went."""
    following: "Happened | None" = None
    """Of a position, the read that shows whether it is the file's."""

    @property
    def size(self) -> int:
        return len(self.what.data) if isinstance(self.what, CHUNKS) else 0
