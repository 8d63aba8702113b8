"""Counts, money and times as a person reads them."""

from datetime import datetime, tzinfo

from loom_core.rules import SECOND


def count(number: int) -> str:
    """`9,999`, `10.0k`, `1.50M`."""
    if number < 10_000:
        return f"{number:,}"
    return f"{number / 1_000:.1f}k" if number < 1_000_000 else f"{number / 1_000_000:.2f}M"


def dollars(amount: float) -> str:
    """Below a dollar to a hundredth of a cent, above to a cent."""
    return f"${amount:.2f}" if amount >= 1 else f"${amount:.4f}"


def duration(nanoseconds: int) -> str:
    """`41 ms`, `2.8 s`, `1 min 5 s`; a negative one is none."""
    seconds = max(0, nanoseconds) / SECOND
    if seconds < 1:
        return f"{seconds * 1_000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60} s"


def clock(nanoseconds: int, zone: tzinfo | None) -> str:
    """The time of day of a moment since the epoch; `zone` None: this machine's. `?` beyond the calendar."""
    try:
        return datetime.fromtimestamp(nanoseconds // SECOND, zone).strftime("%H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return "?"
