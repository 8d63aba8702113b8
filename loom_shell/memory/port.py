"""What a memory can be asked, whoever keeps it."""

from typing import Protocol

from msgspec import Struct

from loom_core.lookup import Memory, Provenance, Question, Recalled

TIMED_OUT = "timed out"
"""The trouble of a search that took longer than its deadline."""


class MemoryTroubleError(Exception):
    """Why a memory did not do what it was asked: one sentence, without a secret in it."""


class TextRefusedError(MemoryTroubleError):
    """What was to be stored cannot be: the sentence says what about it is wrong."""


class NewMemory(Struct, frozen=True):
    """What is to be stored. `at`: nanoseconds since the epoch, when it was said.

    `scope` says whose it is, "" everybody's. Memories of one scope and one `session`, unless that is
    "", are neighbours in the order of `at`. `tags`: whatever else its caller says of it.
    """

    text: str
    at: int
    provenance: Provenance = Provenance.USER
    scope: str = ""
    session: str = ""
    tags: tuple[str, ...] = ()


class MemoryPort(Protocol):
    """A memory. What fails raises MemoryTroubleError, but for `search` and `health`, which tell it."""

    async def search(self, question: Question) -> Recalled:
        """What is nearest to the question, best first; whole memories within limit and budget.

        A scope finds its own memories and everybody's; without one all are looked at. Never raises.
        """
        ...

    async def put(self, new: NewMemory) -> Memory:
        """Store a text, its secrets taken out; the memory as it is now. TextRefusedError for a wrong one."""
        ...

    async def forget(self, memory_id: str) -> bool:
        """Never find it again, however often this is said. False: there never was such a memory."""
        ...

    async def get(self, memory_id: str) -> Memory | None:
        """One memory by its id; None if there is none, or it is forgotten."""
        ...

    async def recent(self, limit: int, since: int = 0) -> tuple[Memory, ...]:
        """The newest memories, newest first, none older than `since` (nanoseconds since the epoch)."""
        ...

    async def health(self) -> str:
        """Whether it can be read and written: "" if so, else what is wrong, in one sentence."""
        ...

    async def aclose(self) -> None:
        """Let go of files, threads and connections; may be called twice."""
        ...
