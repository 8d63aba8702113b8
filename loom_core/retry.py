"""When an attempt is made again, and after how long."""

from hashlib import blake2b

from loom_core.headers import first, whole_number
from loom_core.rules import SECOND, Retry
from loom_core.values import Cause, Headers

RETRIED = frozenset({Cause.REFUSED, Cause.STALE, Cause.CLOSED, Cause.RESET})
"""Failures before any head: the client has seen nothing of them."""

_MONTHS = b"jan feb mar apr may jun jul aug sep oct nov dec".split()


def wait(retry: Retry, attempt: int, seed: int) -> int:
    """Nanoseconds between attempt number `attempt` (from 1) and the next."""
    # The power is bounded before it is taken, so that no configuration can overflow a float.
    grown = float(retry.base)
    for _ in range(attempt - 1):
        grown = min(grown * retry.factor, float(retry.cap))
    return int(min(grown, float(retry.cap)) * jitter(seed, attempt))


def jitter(seed: int, attempt: int) -> float:
    """A factor in 0.5..1.5, the same for the same seed and attempt."""
    digest = blake2b(b"%d:%d" % (seed, attempt), digest_size=6).digest()
    return 0.5 + int.from_bytes(digest, "big") / 2**48


def wait_after_status(retry: Retry, attempt: int, seed: int, headers: Headers, at: int) -> int | None:
    """The wait before an answered request is sent again; None when upstream asks for more than `cap`.

    Then its answer goes to the client, which can wait longer than a proxy should.
    """
    asked = retry_after(headers, at)
    if asked is None:
        return wait(retry, attempt, seed)
    return max(asked, wait(retry, attempt, seed)) if asked <= retry.cap else None


def retry_after(headers: Headers, at: int) -> int | None:
    """`retry-after` in nanoseconds from `at`: seconds or an HTTP date (RFC 9110 section 10.2.3)."""
    value = first(headers, b"retry-after")
    if value is None:
        return None
    seconds = whole_number(value)
    if seconds is not None:
        return seconds * SECOND
    due = _http_date(value)
    return None if due is None else max(0, due * SECOND - at)


def _http_date(value: bytes) -> int | None:
    """Seconds since the epoch of an IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT` (section 5.6.7)."""
    match value.lower().split():
        case [_, day, month, year, clock, b"gmt"] if month in _MONTHS:
            numbers = [day, year, *clock.split(b":")]
        case _:
            return None
    if len(numbers) != 5 or not all(number.isdigit() and len(number) <= 4 for number in numbers):
        return None
    d, y, hours, minutes, seconds = (int(number) for number in numbers)
    return _days(y, _MONTHS.index(month) + 1, d) * 86_400 + hours * 3_600 + minutes * 60 + seconds


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 in the Gregorian calendar, counting years from March."""
    shifted = year - (month < 3)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return shifted * 365 + shifted // 4 - shifted // 100 + shifted // 400 + of_year - 719_468
