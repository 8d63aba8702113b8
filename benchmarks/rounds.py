"""Rounds of measurements: in each, every case is put to every proxy, one right after the other."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import quantiles

from attrs import field, frozen

from benchmarks import load, wire
from benchmarks.processes import Server, started

RELAY, ALL_ON = "loom", "all on"
"""The Loom with turn following off, and as it comes."""
PROXIES = ("stock", RELAY, "bare", ALL_ON)
"""In the order they take their turns: those whose ratio has a target stand beside the bare one."""
DIRECT = "direct"
"""The load generator on the upstream itself; the CPU time is then upstream's."""

CALLS: dict[str, tuple[int, int]] = {
    "call-1k-c1": (wire.SMALL, 1),
    "call-1k-c16": (wire.SMALL, 16),
    "call-200k-c1": (wire.LARGE, 1),
    "call-200k-c16": (wire.LARGE, 16),
}
"""Bytes of the request's body, and connections."""
STREAMS = "events"
MILLION = 1_000_000

Figures = dict[str, dict[str, float]]
"""Of one subject (a proxy, or direct): case, and figure by name. See `of_calls`, `_of_events`."""


@frozen
class Plan:
    """How much is measured. The seconds are those of one window."""

    rounds: int
    call_seconds: float
    stream_seconds: float
    streams: int = 100
    rate: float = 50.0


FULL = Plan(rounds=6, call_seconds=0.6, stream_seconds=1.8)
QUICK = Plan(rounds=2, call_seconds=0.2, stream_seconds=0.5)


@frozen
class Result:
    """What came out: the figures of each round by subject, and the proxies' memory at the end (bytes)."""

    plan: Plan
    rounds: list[dict[str, Figures]] = field(factory=list)
    memory: dict[str, int] = field(factory=dict)


@contextmanager
def subjects() -> Iterator[dict[str, Server]]:
    """Upstream and the proxies before it, each a process of its own."""
    with ExitStack() as stack:
        upstream = stack.enter_context(started("benchmarks.upstream"))
        origin = f"http://127.0.0.1:{upstream.port}"
        # Upstream takes what is posted to it: spans as well.
        more = {ALL_ON: (origin,)}
        proxies = {
            name: stack.enter_context(started("benchmarks.proxies", name, origin, *more.get(name, ())))
            for name in PROXIES
        }
        yield {DIRECT: upstream, **proxies}


async def measure(plan: Plan, servers: dict[str, Server], tell: Callable[[str], None]) -> Result:
    """Run the plan. `tell` gets a word on how far it is."""
    result = Result(plan)
    for server in servers.values():
        await load.calls(server, wire.callers(wire.SMALL, 4), 0.3)
    # So that something was decided at every prompt.
    await load.each(servers[ALL_ON], wire.beginnings(max(connections for _, connections in CALLS.values())))
    for number in range(plan.rounds):
        tell(f"round {number + 1} of {plan.rounds}")
        # Every other round goes backwards, so that a drift of the machine favours nobody.
        names = list(servers)[:: -1 if number % 2 else 1]
        figures: dict[str, Figures] = {name: {} for name in servers}
        for case, (size, connections) in CALLS.items():
            for name in names:
                callers = wire.callers(size, connections, told=name == ALL_ON)
                done = await load.calls(servers[name], callers, plan.call_seconds)
                figures[name][case] = of_calls(done)
        for name in names:
            pace = load.Pace(plan.streams, plan.rate, told=name == ALL_ON)
            seen = await load.events(servers[name], pace, plan.stream_seconds)
            figures[name][STREAMS] = _of_events(seen)
        result.rounds.append(figures)
    result.memory.update({name: server.memory for name, server in servers.items()})
    return result


def run(plan: Plan, tell: Callable[[str], None]) -> tuple[Result, float]:
    """The result, and how many seconds it took."""
    begun = time.monotonic()
    with subjects() as servers:
        result = asyncio.run(measure(plan, servers, tell))
    return result, time.monotonic() - begun


def of_calls(calls: load.Calls) -> dict[str, float]:
    """The figures of one window of calls."""
    return {
        "cpu_us": calls.cpu / calls.count / 1_000,
        "calls_per_second": calls.count / calls.elapsed * 1e9,
        "first_byte_p50_ms": _percentile(calls.to_first_byte, 50) / MILLION,
    }


def _of_events(events: load.Events) -> dict[str, float]:
    return {
        "cpu_us": events.cpu / events.count / 1_000,
        "delay_p50_ms": _percentile(events.delays, 50) / MILLION,
        "delay_p99_ms": _percentile(events.delays, 99) / MILLION,
    }


def _percentile(values: list[int], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]
