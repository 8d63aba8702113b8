"""`python -m benchmarks.growth`: what a call costs while its conversation grows to a megabyte.

The same bodies go, turn by turn, through the Loom with all on and through `stock`, and through both again
with an allocator that keeps what it has (`STEADY`). The Loom's cost per call must be linear in the body's
size. Exit code 1: it is not, or the Loom adds too much to the first byte.
"""

import argparse
import asyncio
import http.client
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from statistics import fmean, linear_regression, median

from attrs import define, field
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import load, wire
from benchmarks.load import WrongAnswer
from benchmarks.processes import NotStarted, Server, started
from benchmarks.rounds import ALL_ON, DIRECT, of_calls

STOCK = "stock"
STEADY_STOCK, STEADY_ALL_ON = f"{STOCK}, steady", f"{ALL_ON}, steady"
STEADY = {
    "MALLOC_MMAP_THRESHOLD_": f"{64 << 20}",
    "MALLOC_TRIM_THRESHOLD_": f"{256 << 20}",
    "MALLOC_TOP_PAD_": f"{16 << 20}",
}
"""mallopt(3): nothing is given back. Else glibc takes the pages of long bodies anew for each call, from a
size on that depends on what went before: `stock` above all then has a bend that is not its own."""
GROWING = {STOCK: STOCK, ALL_ON: ALL_ON, STEADY_STOCK: STOCK, STEADY_ALL_ON: ALL_ON}
"""Who has the conversation, and which proxy that is."""
FIRST = (DIRECT, STOCK, ALL_ON)
"""Whose first byte is measured."""

TURNS, CALLS = 60, 5
SIZE = 1_050_000
POINTS = (250_000, 500_000, 750_000, 1_000_000)
"""Bytes of a body: the cost there is the mean of the turns that are `NEAR`."""
NEAR = 50_000
KILOBYTE = 1_000
FIRST_SESSION = 1_000
"""Lower numbers are those of the callers in `wire`."""
ROUNDS, GROWING_SECONDS = 8, 36.0
"""Conversations each has, and the time for them: none is begun that would probably last longer."""
FIRST_BYTE_ROUNDS, FIRST_BYTE_SECONDS = 6, 0.5

BENT = 1.5
"""So many times what a further kilobyte costs in the first half it may cost in the second, steady."""
ABOVE = 1.2
"""So many times what the line through the smaller bodies says a megabyte may cost."""
ADDED_MS = 1.5

Costs = dict[str, list[float]]
"""Microseconds of CPU time per call, by subject: the mean of each turn."""


@define
class Grown:
    """What was measured. `sizes`: bytes of a body, the mean of each turn; `firsts`: ms, of each round."""

    sizes: list[float] = field(factory=list)
    rounds: list[Costs] = field(factory=list)
    firsts: dict[str, list[float]] = field(factory=dict)
    woven: int = 0

    def costs(self, name: str) -> list[float]:
        """Of each turn, the median over the rounds."""
        return [median(turn) for turn in zip(*(costs[name] for costs in self.rounds), strict=True)]

    def at(self, name: str, point: int) -> float:
        """Microseconds of a call of this size."""
        pairs = zip(self.sizes, self.costs(name), strict=True)
        return fmean(cost for size, cost in pairs if abs(size - point) <= NEAR)

    def above(self, name: str) -> float:
        """The cost at the largest point beside what the line through all turns before it says."""
        *_, before, point = POINTS
        count = sum(size <= before + NEAR for size in self.sizes)
        slope, begins = linear_regression(self.sizes[:count], self.costs(name)[:count])
        return self.at(name, point) / (begins + slope * point)

    def slopes(self, name: str) -> tuple[float, float]:
        """Microseconds for a further kilobyte, in the first half of the conversation and in the second."""
        costs, half = self.costs(name), TURNS // 2
        first = linear_regression(self.sizes[:half], costs[:half]).slope
        second = linear_regression(self.sizes[half:], costs[half:]).slope
        return first * KILOBYTE, second * KILOBYTE

    def bent(self, name: str) -> float:
        """How many times the first slope the second is."""
        first, second = self.slopes(name)
        return second / first if first > 0 else float("inf")

    def added(self, name: str) -> float:
        """Milliseconds to the first byte beyond those of upstream itself: the median over the rounds."""
        pairs = zip(self.firsts[name], self.firsts[DIRECT], strict=True)
        return median(mine - direct for mine, direct in pairs)


@contextmanager
def subjects() -> Iterator[dict[str, Server]]:
    """Upstream and the proxies before it; upstream takes spans as well."""
    with ExitStack() as stack:
        upstream = stack.enter_context(started("benchmarks.upstream"))
        origin, servers = f"http://127.0.0.1:{upstream.port}", {DIRECT: upstream}
        for name, proxy in GROWING.items():
            environ = STEADY if name in {STEADY_STOCK, STEADY_ALL_ON} else {}
            one = started("benchmarks.proxies", proxy, origin, origin, environ=environ)
            servers[name] = stack.enter_context(one)
        yield servers


async def measure(servers: dict[str, Server]) -> Grown:
    grown = Grown()
    for server in servers.values():
        await load.calls(server, wire.callers(wire.SMALL, 4), 0.3)
    begun, longest = time.monotonic(), 0.0
    for number in range(ROUNDS):
        at = time.monotonic()
        if at - begun + longest > GROWING_SECONDS:
            break
        await _conversation(FIRST_SESSION + number, servers, grown)
        longest = max(longest, time.monotonic() - at)
    grown.woven = _woven(servers[ALL_ON])
    await load.each(servers[ALL_ON], wire.beginnings(1))
    for number in range(FIRST_BYTE_ROUNDS):
        for name in FIRST[:: -1 if number % 2 else 1]:
            callers = wire.callers(wire.LARGE, 1, told=name == ALL_ON)
            done = await load.calls(servers[name], callers, FIRST_BYTE_SECONDS)
            grown.firsts.setdefault(name, []).append(of_calls(done)["first_byte_p50_ms"])
    return grown


async def _conversation(session: int, servers: dict[str, Server], grown: Grown) -> None:
    """One conversation, each turn of it to all. What a turn leaves to be done afterwards is its cost too."""
    readings: dict[str, list[int]] = {name: [] for name in GROWING}
    sizes: list[float] = []
    for requests in wire.growing(session, TURNS, CALLS, SIZE):
        sizes.append(fmean(len(body) for _, body in requests))
        for name in list(GROWING)[:: -1 if len(sizes) % 2 else 1]:
            readings[name].append(servers[name].cpu)
            await load.each(servers[name], [requests])
    for name in GROWING:
        readings[name].append(servers[name].cpu)
    grown.sizes = sizes
    grown.rounds.append({name: _per_call(read) for name, read in readings.items()})


def _per_call(readings: Sequence[int]) -> list[float]:
    """Nanoseconds of a process before each turn, and at the end, as microseconds per call."""
    return [(after - before) / CALLS / 1_000 for before, after in pairwise(readings)]


def _woven(server: Server) -> int:
    """Tokens woven into the last request. Where there are none, it is not weaving that was measured."""
    asked = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        asked.request("GET", "/loom/woven")
        woven = json.loads(asked.getresponse().read())["last"]["woven"]
    finally:
        asked.close()
    if woven["anchors"] != TURNS or not woven["sticky"]:
        raise WrongAnswer(f"at the prompts of the last request nothing was woven in: {woven}")
    return int(woven["identity"] + woven["sticky"])


def missed(grown: Grown) -> list[str]:
    """A line for each target that does not hold."""
    found = (
        ("a further kilobyte, second half by first", grown.bent(STEADY_ALL_ON), BENT),
        ("a megabyte by the line through the smaller", grown.above(ALL_ON), ABOVE),
        ("added to the first byte, ms", grown.added(ALL_ON), ADDED_MS),
    )
    return [f"{what}: {value:.2f}; at most {most}" for what, value, most in found if value > most]


def rows(grown: Grown) -> Iterator[tuple[str, ...]]:
    for point in POINTS:
        costs = {name: grown.at(name, point) for name in GROWING}
        yield f"CPU µs per call, {point // KILOBYTE:,} KB", "", *_compared(costs, 0)
    above = (f"{grown.above(name):.2f}" for name in (STOCK, ALL_ON))
    yield "  the last by the line through the smaller", "", *above, "", f"{ABOVE}"
    for half in (0, 1):
        slopes = {name: grown.slopes(name)[half] for name in GROWING}
        yield f"µs for a further KB, {('first', 'second')[half]} half", "", *_compared(slopes, 2)
    bent = (f"{grown.bent(name):.2f}" for name in GROWING)
    stock, loom, *steady = bent
    yield "  second by first", "", stock, loom, "", "", *steady, "", f"{BENT}"
    yield "first byte p50, ms, 200 KB", *(f"{median(grown.firsts[name]):.2f}" for name in FIRST)
    added = (f"+{grown.added(name):.2f}" for name in (STOCK, ALL_ON))
    yield "  added by the proxy", "", *added, "", f"{ADDED_MS}"


def _compared(found: dict[str, float], digits: int) -> Iterator[str]:
    for stock, loom in ((STOCK, ALL_ON), (STEADY_STOCK, STEADY_ALL_ON)):
        yield from (f"{found[stock]:.{digits}f}", f"{found[loom]:.{digits}f}")
        yield f"{found[loom] / found[stock]:.2f}"
        yield ""


def table(grown: Grown) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("")
    for name in (DIRECT, STOCK, ALL_ON, "ratio", "≤", STEADY_STOCK, STEADY_ALL_ON, "ratio", "≤"):
        shown.add_column(name, justify="right")
    for row in rows(grown):
        shown.add_row(*row)
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--no-targets", action="store_true", help="only print; a missed target is no failure")
    asked, begun = parser.parse_args(), time.monotonic()
    out, progress = Console(highlight=False, width=140), Console(stderr=True, highlight=False)
    if sys.platform != "linux":
        progress.print(
            "benchmarks.growth reads the CPU clocks of other processes, and knows how on Linux only."
        )
        return 2
    try:
        with subjects() as servers:
            grown = asyncio.run(measure(servers))
    except (NotStarted, WrongAnswer) as error:
        progress.print(f"benchmarks.growth: {error}", markup=False, soft_wrap=True)
        return 2
    out.print(table(grown))
    took = f"{time.monotonic() - begun:.0f} s"
    out.print(
        f"{len(grown.rounds)} conversations of {TURNS} turns with {CALLS} calls each in {took}; medians."
    )
    out.print(
        f"{grown.woven:,} tokens are woven into the last request. Steady: its allocator keeps what it has."
    )
    lines = [] if asked.no_targets else missed(grown)
    for line in lines:
        out.print(f"missed: {line}")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
