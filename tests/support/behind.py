"""The first messages of a request as what is behind, when an earlier request had them too."""

from loom_core import prefix
from loom_core.asked import Behind


def first(request: bytes, count: int) -> Behind | None:
    """The first `count` messages of a request; None if it has not so many."""
    found = prefix.whole(request)
    if found is None or not 0 < count <= len(found.ranges):
        return None
    return Behind(found.top["messages"].start + 1, found.ranges[count - 1].end, count)
