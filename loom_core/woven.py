"""What was woven into one request, told to its client, its span, the metrics and the log."""

from msgspec import Struct


class Compacted(Struct, frozen=True):
    """What is told of a request around a compaction: by which signals it is one, and why it came.

    `drift`: which of the client's words are not those that are known, and stay; `begins`: how they begin.
    `must_survive`: phrases the summary has to hold.
    """

    by: tuple[str, ...] = ()
    trigger: str = ""
    drift: str = ""
    begins: str = ""
    must_survive: tuple[str, ...] = ()


class WovenIn(Struct, frozen=True):
    """Counts are tokens unless they say otherwise, times nanoseconds.

    `replayed`: anchors decided before, of so many `anchors`, whose text was woven again. `decided`: "" if
    nothing was to be decided, else "woven" or "empty". `recall`: how the search of the memory went, "" for
    none. `trouble`: what the store or the memory could not do, "" if all went well. `missing`: for want of
    what it went up as it came: "store", where nobody could tell what belongs into it, or "placeholder".
    `reworded`: which of the client's words around a compaction made room for the profile's.
    """

    profile: str
    began_at: int
    ended_at: int
    identity: int = 0
    sticky: int = 0
    ephemeral: int = 0
    anchors: int = 0
    replayed: int = 0
    memories: int = 0
    decided: str = ""
    recall: str = ""
    trouble: str = ""
    missing: str = ""
    reworded: tuple[str, ...] = ()
    compaction: Compacted | None = None

    @property
    def is_whole(self) -> bool:
        return not self.missing

    @property
    def tokens(self) -> int:
        return self.identity + self.sticky + self.ephemeral

    @property
    def outcome(self) -> str:
        """One word of few: what became of it."""
        if not self.is_whole:
            return "unwoven"
        return self.decided or ("replayed" if self.tokens else "reworded" if self.reworded else "nothing")

    @property
    def told(self) -> str:
        """The value of `x-loom-woven`."""
        words = f"identity={self.identity},sticky={self.sticky},tokens={self.tokens}"
        words += f",reworded={'+'.join(self.reworded)}" if self.reworded else ""
        return words if self.is_whole else f"{words},missing={self.missing}"
