"""What was found, as a table for people and as JSON: medians over the rounds, and ratios.

A ratio is taken within each round, where both were measured side by side, and then the median.
"""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from statistics import median

import attrs
from attrs import frozen
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.rounds import ALL_ON, CALLS, DIRECT, PROXIES, RELAY, STREAMS, Result

CASES = (*CALLS, STREAMS)
TARGETS = {
    RELAY: dict.fromkeys(CALLS, 1.3) | {STREAMS: 1.2},
    ALL_ON: {"call-200k-c1": 3.0, "call-200k-c16": 3.0, STREAMS: 1.5},
}
"""Its CPU time may be so many times that of what it is compared with."""
_COMPARED = {"stock": "bare", RELAY: "bare", ALL_ON: "stock"}
"""What each ratio is to: the least there could be, or, with all on, what a proxy is usually built on."""
PACKAGES = ("hypercorn", "httpx", "httpx-aiohttp", "aiohttp", "uvloop", "httptools", "msgspec")
_LABELS = {
    "call-1k-c1": "call, 1 KB up, 1 connection",
    "call-1k-c16": "call, 1 KB up, 16 connections",
    "call-200k-c1": "call, 200 KB up, 1 connection",
    "call-200k-c16": "call, 200 KB up, 16 connections",
}
_ONE_CONNECTION = ("call-1k-c1", "call-200k-c1")


@frozen
class Ratio:
    """A proxy's CPU time by another's: the median round, the lowest and the highest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def typical(result: Result, subject: str, case: str, figure: str) -> float:
    """The median of one figure over the rounds."""
    return median(one[subject][case][figure] for one in result.rounds)


def ratio(result: Result, proxy: str, case: str) -> Ratio:
    base = _COMPARED[proxy]
    found = [one[proxy][case]["cpu_us"] / one[base][case]["cpu_us"] for one in result.rounds]
    return Ratio(median(found), min(found), max(found))


def missed(result: Result) -> list[str]:
    """A line for each target that does not hold."""
    return [
        f"{case}, {name}: {found:.2f} times the CPU time of {_COMPARED[name]}; the target is {target}"
        for name, targets in TARGETS.items()
        for case, target in targets.items()
        if (found := ratio(result, name, case).median) > target
    ]


def table(result: Result) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("")
    for name in (DIRECT, *PROXIES):
        shown.add_column(name, justify="right")
    for name, base in _COMPARED.items():
        shown.add_column(f"{name} / {base}", justify="right")
        if name in TARGETS:
            shown.add_column("≤", justify="right")
    for row in _rows(result):
        shown.add_row(*row)
    return shown


def _rows(result: Result) -> Iterator[tuple[str, ...]]:
    plan = result.plan
    for case in CASES:
        what = _LABELS.get(case, f"event, {plan.streams} streams, {plan.rate:g}/s each")
        cpu = (f"{typical(result, name, case, 'cpu_us'):.1f}" for name in PROXIES)
        yield f"CPU µs per {what}", "", *cpu, *_compared(result, case)
    yield ("",)
    for part in ("p50", "p99"):
        delays = [typical(result, name, STREAMS, f"delay_{part}_ms") for name in (DIRECT, *PROXIES)]
        yield f"event delay {part}, ms", *(f"{delay:.2f}" for delay in delays)
    for case in _ONE_CONNECTION:
        first = [typical(result, name, case, "first_byte_p50_ms") for name in (DIRECT, *PROXIES)]
        yield f"first byte p50, ms: {_LABELS[case]}", *(f"{one:.2f}" for one in first)
        added = (f"+{one - first[0]:.2f}" for one in first[1:])
        yield "  added by the proxy", "", *added
    for case in CALLS:
        rates = (typical(result, name, case, "calls_per_second") for name in (DIRECT, *PROXIES))
        yield f"calls/s: {_LABELS[case].removeprefix('call, ')}", *(f"{rate:,.0f}" for rate in rates)
    yield "memory at the end, MB", *(f"{result.memory[name] / 1e6:.0f}" for name in (DIRECT, *PROXIES))


def _compared(result: Result, case: str) -> Iterator[str]:
    for name in _COMPARED:
        yield f"{ratio(result, name, case)}"
        if name in TARGETS:
            yield f"{TARGETS[name].get(case, '')}"


def show(result: Result, seconds: float, console: Console) -> None:
    console.print(table(result))
    console.print(
        f"{len(result.rounds)} rounds in {seconds:.0f} s; medians, and ratios with (lowest-highest) round.",
        f"Python {platform.python_version()}, {os.cpu_count()} CPUs.",
    )


def raw(result: Result) -> dict[str, object]:
    """Everything measured, for a file: microseconds, milliseconds and bytes, as the names say."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "packages": {name: version(name) for name in PACKAGES},
        "plan": attrs.asdict(result.plan),
        "rounds": result.rounds,
        "memory_bytes": result.memory,
        "ratios": {
            name: {case: attrs.asdict(ratio(result, name, case)) for case in CASES} for name in _COMPARED
        },
        "targets": TARGETS,
        "missed": missed(result),
    }
