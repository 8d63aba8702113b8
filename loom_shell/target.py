"""The target of a request as its client sent it, out of what the server makes of it."""

from collections.abc import Mapping
from typing import Any


def target_of(scope: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Path, and path with query, exactly as sent; of an absolute target only what follows the authority.

    Hypercorn's `raw_path` is the whole request target without its query, also when that is absolute
    (RFC 9112 section 3.2.2): upstream's origin comes from the configuration only.
    """
    path: bytes = scope["raw_path"]
    if not path.startswith((b"/", b"*")):
        _, found, rest = path.partition(b"://")
        slash = rest.find(b"/")
        path = (rest[slash:] if slash >= 0 else b"/") if found else path
    query: bytes = scope["query_string"]
    return path, b"%s?%s" % (path, query) if query else path
