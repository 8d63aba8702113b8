"""What was woven into one request, told to its client, its span, the metrics and the log."""

from msgspec import Struct


class WovenIn(Struct, frozen=True):
    """Counts are tokens unless they say otherwise, times nanoseconds.

    `replayed`: anchors decided before, of so many `anchors`, whose text was woven again. `decided`: "" if
    nothing was to be decided, else "woven" or "empty". `recall`: how the search of the memory went, "" for
    none. `trouble`: what the store or the memory could not do, "" if all went well. `missing`: for want of
    what it went up as it came: "store", where nobody could tell what belongs into it, or "placeholder".
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
        return self.decided or ("replayed" if self.tokens else "nothing")

    @property
    def told(self) -> str:
        """The value of `x-loom-woven`."""
        words = f"identity={self.identity},sticky={self.sticky},tokens={self.tokens}"
        return words if self.is_whole else f"{words},missing={self.missing}"
