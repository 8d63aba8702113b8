"""What redis-py raises, in words of our own: no text of an error is passed on.

For such a text may quote what was sent, a password or a value among it.
"""

import os
import re
from collections.abc import Sequence

from redis import exceptions as redis

_CODE = re.compile(r"[A-Z]{2,20}(?= |$)")

_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (redis.TimeoutError, "no answer in time"),
    (redis.AuthenticationError, "it refuses the user or the password"),
    (redis.AuthorizationError, "it refuses the user or the password"),
    (redis.BusyLoadingError, "it is still loading what it holds"),
    (redis.MaxConnectionsError, "too many connections"),
    (redis.OutOfMemoryError, "it has no memory left"),
    (redis.ReadOnlyError, "it is read-only"),
    (redis.NoPermissionError, "its user may not do this"),
    (redis.AskError, "another node of its cluster has this key"),  # MovedError too
    (redis.ClusterDownError, "its cluster is down"),  # MasterDownError too
    (redis.InvalidResponse, "it does not speak the protocol of Redis"),
)


MOST = 3
"""Troubles of one answer that are told; of the others only how many."""


def told(troubles: Sequence[str]) -> str:
    """One line of several troubles, or ""."""
    if not troubles:
        return ""
    each = [*dict.fromkeys(troubles)]
    more = [f"and {len(each) - MOST} more"] if len(each) > MOST else []
    return "; ".join([*each[:MOST], *more])


def words(error: Exception) -> str:
    """A few words of what is wrong with the store."""
    for kind, said in _WORDS:
        if isinstance(error, kind):
            return said
    if isinstance(error, redis.ResponseError):
        return f"it refuses ({_code(error)})"
    if isinstance(error, redis.ConnectionError | OSError):
        return _reason(error)
    # What redis-py's reader raises for bytes that are no answer: ValueError, IndexError, and so on.
    return "it does not speak the protocol of Redis"


def _code(error: redis.ResponseError) -> str:
    found = _CODE.match(getattr(error, "status_code", None) or str(error))
    return found[0] if found else "ERR"


def _reason(error: BaseException) -> str:
    """The system's own words for what is beneath a connection's error."""
    beneath: BaseException | None = error
    while beneath is not None:
        if isinstance(beneath, OSError) and beneath.strerror:
            # asyncio puts the address before the system's words: "Connect call failed ('h', 1)".
            return _system(beneath)
        beneath = beneath.__cause__ or beneath.__context__
    return "the connection was closed"


def _system(error: OSError) -> str:
    match error:
        case ConnectionRefusedError():
            return "connection refused"
        case FileNotFoundError():
            return "there is no such socket"
        case PermissionError():
            return "its socket may not be used"
        case ConnectionError():
            return "the connection was closed"
        case _ if error.errno and error.errno > 0:
            return os.strerror(error.errno).lower()
        case _:
            return "it cannot be reached"
