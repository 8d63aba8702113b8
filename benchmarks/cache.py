"""`python -m benchmarks.cache`: what weaving costs in input tokens, beside the same sessions without it.

Sessions as the client holds them go through the Loom to the simulator: once without a profile, and with
some 400 and some 1,500 tokens woven in at each prompt. What upstream reads from its cache of the client's own
content must be no less, request by request. Exit code 1: a target is missed.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from attrs import define, field, frozen
from redis.asyncio import Redis
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.processes import NotStarted, started
from benchmarks.sessions import CALLS, Request, Session, words
from benchmarks.woven import NEWS_KEY, PROFILE, furnish, identity_tokens, news
from loom_core.meter import Figures, Meter, measure
from loom_shell.embedded import Embedded

SESSIONS, TURNS = 10, 30
TARGETS = {400: 1.05, 1_500: 1.12}
"""Tokens woven in at a prompt, and how many times the input cost they may make it."""
TOGETHER = 3
"""Sessions under way at once."""
NAIVE = 1_500
NAIVE_SESSIONS = 2


class WrongAnswer(Exception):  # noqa: N818 - it says what happened
    """An answer was not what it should be."""


@frozen
class Answered:
    """One request's figures: of upstream's usage, and what the Loom says it wove in."""

    is_prompt: bool
    figures: Figures
    told: str


@define
class Run:
    """All sessions once, with `calls` of tools a turn; `woven`: tokens at a prompt, 0 for without weaving."""

    woven: int
    calls: int
    sessions: list[list[Answered]] = field(factory=list)
    seconds: float = 0.0

    @property
    def cost(self) -> float:
        return sum(one.figures.cost for session in self.sessions for one in session)

    @property
    def requests(self) -> int:
        return sum(map(len, self.sessions))

    @property
    def growth(self) -> float:
        """Tokens of a turn, as the meter counts them, in the mean: what a session has more at its end."""
        return (
            sum(it[-1].figures.total - it[0].figures.total for it in self.sessions) / SESSIONS / (TURNS - 1)
        )

    @property
    def is_cached(self) -> float:
        """The part of all input that was read from the cache."""
        figures = [one.figures for session in self.sessions for one in session]
        return sum(it.cache_read_input_tokens for it in figures) / sum(it.total for it in figures)

    def added(self, plain: "Run") -> float:
        """Tokens woven in at a prompt, the identity apart, in the mean."""
        pairs = zip(self.sessions, plain.sessions, strict=True)
        more = sum(mine[-1].figures.total - its[-1].figures.total for mine, its in pairs)
        return (more / SESSIONS - identity_tokens()) / TURNS


class Caller:
    """One connection to the Loom."""

    def __init__(self, port: int, *, weaves: bool) -> None:
        self._port, self._weaves = port, weaves

    async def session(
        self, one: Session, found: list[Answered], store: Redis | None, first: asyncio.Event
    ) -> None:
        """Send a session's requests, one when the one before is answered."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        chance = random.Random(one.number)  # noqa: S311 - texts, no secrets
        try:
            for request in one.requests():
                if store and request.is_prompt:
                    await store.set(NEWS_KEY, news(chance))
                writer.write(self._head(one, request) + request.body)
                await writer.drain()
                found.append(await _answer(reader, request))
                first.set()
        finally:
            writer.close()

    def _head(self, one: Session, request: Request) -> bytes:
        lines = [
            "POST /v1/messages?beta=true HTTP/1.1",
            "Host: 127.0.0.1",
            "User-Agent: claude-cli/2.1.328 (external, cli)",
            "Content-Type: application/json",
            f"X-Claude-Code-Session-Id: {one.id}",
            f"Content-Length: {len(request.body)}",
            *([f"X-Loom-Source: {PROFILE}"] if self._weaves else []),
        ]
        return "\r\n".join([*lines, "", ""]).encode()


async def _answer(reader: asyncio.StreamReader, request: Request) -> Answered:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
    body = await reader.readexactly(int(lines["content-length"]))
    told = lines.get("x-loom-woven", "")
    if " 200 " not in head[:20] or "unavailable" in told:
        raise WrongAnswer(f"{head.partition(chr(13))[0]} {told}")
    usage = msgspec.json.decode(body)["usage"]
    written = usage["cache_creation"]
    figures = Figures(
        usage["input_tokens"],
        usage["cache_read_input_tokens"],
        written["ephemeral_5m_input_tokens"],
        written["ephemeral_1h_input_tokens"],
    )
    return Answered(request.is_prompt, figures, told)


async def run(woven: int, calls: int = CALLS) -> Run:
    """All sessions through a Loom and a simulator of their own."""
    began, result = time.perf_counter(), Run(woven, calls, [[] for _ in range(SESSIONS)])
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        if woven:
            await furnish(home, woven)
        with (
            started("benchmarks.woven", "sim") as upstream,
            started("benchmarks.woven", "loom", f"http://127.0.0.1:{upstream.port}", folder) as proxy,
        ):
            caller = Caller(proxy.port, weaves=bool(woven))
            store = Redis(unix_socket_path=str(Embedded(home).place)) if woven else None
            try:
                await _all(caller, result, store)
            finally:
                if store:
                    await store.aclose()
    result.seconds = time.perf_counter() - began
    return result


async def _all(caller: Caller, result: Run, store: Redis | None) -> None:
    """The first session begins alone: what all share is cached then, whoever comes next."""
    room, first = asyncio.Semaphore(TOGETHER), asyncio.Event()

    async def one(number: int) -> None:
        if number:
            await first.wait()
        async with room:
            await caller.session(Session(number, TURNS, result.calls), result.sessions[number], store, first)

    await asyncio.gather(*(one(number) for number in range(SESSIONS)))


def own_reads(session: list[Answered], plain: list[Answered], *, is_last: bool) -> list[int]:
    """Of each request, the tokens of the client's own content that were read from the cache.

    What was woven in is all that a request has more than without weaving. Of that is read what stood before
    the last marker of the request before: in layout C (`is_last`) the prompt bears it, and its text follows.
    """
    added = [mine.figures.total - its.figures.total for mine, its in zip(session, plain, strict=True)]
    reads = []
    for at, mine in enumerate(session):
        cached = 0
        if at:
            behind = session[at - 1].is_prompt and is_last
            cached = (added[at - 2] if at > 1 else identity_tokens()) if behind else added[at - 1]
        reads.append(mine.figures.cache_read_input_tokens - cached)
    return reads


def fewer_reads(woven: Run, plain: Run) -> int:
    """Requests that read less of the client's own content than without weaving."""
    return sum(
        own < its.figures.cache_read_input_tokens
        for number, (mine, others) in enumerate(zip(woven.sessions, plain.sessions, strict=True))
        for own, its in zip(own_reads(mine, others, is_last=number % 3 == 2), others, strict=True)
    )


def naive(calls: int) -> float:
    """The cost by the same text in the newest prompt only, and nowhere once it is not the newest any more."""
    costs = [0.0, 0.0]
    for number in range(NAIVE_SESSIONS):
        meters = [Meter(), Meter()]
        chance = random.Random(number)  # noqa: S311 - texts, no secrets
        said = ""
        for second, request in enumerate(Session(number, TURNS, calls).requests()):
            said = words(chance, NAIVE * 4) if request.is_prompt else said
            body = msgspec.json.decode(request.body)
            for which in (0, 1):
                if which:
                    _inject(body, said)
                meters[which], figures = measure(meters[which], body, second * 1_000_000_000)
                costs[which] += figures.cost
    return costs[1] / costs[0]


def _inject(body: dict[str, Any], said: str) -> None:
    for message in reversed(body["messages"]):
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if message["role"] == "user" and blocks[-1]["type"] == "text":
            message["content"] = [*blocks, {"type": "text", "text": said}]
            return


def missed(plain: Run, runs: list[Run]) -> list[str]:
    """A line for each target that does not hold."""
    lines = []
    for one in runs:
        if (found := one.cost / plain.cost) > TARGETS[one.woven]:
            lines.append(
                f"{one.woven} tokens a turn: {found:.3f} times the cost; the target is {TARGETS[one.woven]}"
            )
        if fewer := fewer_reads(one, plain):
            lines.append(f"{one.woven} tokens a turn: {fewer} requests read less of the client's own content")
    return lines


def table(plain: Run, runs: list[Run], by_hand: float) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("")
    for name in ("tokens woven a turn", "input cost", "times", "≤", "cached", "fewer reads", "seconds"):
        shown.add_column(name, justify="right")
    shown.add_row(
        "without weaving",
        "",
        f"{plain.cost:,.0f}",
        "",
        "",
        f"{plain.is_cached:.1%}",
        "",
        f"{plain.seconds:.0f}",
    )
    for one in runs:
        ratio, fewer = one.cost / plain.cost, fewer_reads(one, plain)
        cells = [f"{one.added(plain):,.0f}", f"{one.cost:,.0f}", f"{ratio:.3f}", f"{TARGETS[one.woven]}"]
        shown.add_row("woven", *cells, f"{one.is_cached:.1%}", f"{fewer}", f"{one.seconds:.0f}")
    shown.add_row("in the newest prompt only", f"{NAIVE:,}", "", f"{by_hand:.3f}")
    return shown


async def measured(calls: int) -> tuple[Run, list[Run]]:
    return await run(0, calls), [await run(tokens, calls) for tokens in TARGETS]


def main() -> int:
    parser = argparse.ArgumentParser(prog="just bench-cache", description=__doc__)
    parser.add_argument("--calls", type=int, default=CALLS, help=f"tool calls of a turn at most ({CALLS})")
    parser.add_argument("--no-targets", action="store_true", help="only print; a missed target is no failure")
    asked = parser.parse_args()
    out = Console(highlight=False, width=120)
    try:
        plain, runs = asyncio.run(measured(asked.calls))
    except (NotStarted, WrongAnswer, OSError, EOFError) as error:
        Console(stderr=True).print(f"just bench-cache: {error}", markup=False, soft_wrap=True)
        return 2
    out.print(table(plain, runs, naive(asked.calls)))
    out.print(
        f"{SESSIONS} sessions of {TURNS} turns, {plain.requests} requests each time; the client's own content"
        f" grows by {plain.growth:,.0f} tokens a turn. Cost in plain input tokens: read 0.1, written 1.25."
    )
    lines = [] if asked.no_targets else missed(plain, runs)
    for line in lines:
        out.print(f"missed: {line}")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
