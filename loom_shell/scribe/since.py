"""Since when, as a user says it: so long ago, or a date."""

import re
from datetime import UTC, datetime

from loom_core.rules import SECOND

ALLOWED = "a number with m, h, d or w (30m, 2d), or a date such as 2026-01-31 or 2026-01-31T09:30"

_AGO = re.compile(r"([0-9]{1,9}) ?([mhdw])")
_SECONDS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def since(told: str, now: int) -> int:
    """Nanoseconds since the epoch; a date without a zone is this machine's. ValueError for anything else."""
    if ago := _AGO.fullmatch(told.strip().lower()):
        return max(0, now - int(ago[1]) * _SECONDS[ago[2]] * SECOND)
    moment = datetime.fromisoformat(told.strip())
    try:
        # Without a zone it counts as local time, and with one as said.
        seconds = (moment.astimezone() - datetime.fromtimestamp(0, UTC)).total_seconds()
    except OverflowError:
        raise ValueError from None
    return max(0, int(seconds)) * SECOND
