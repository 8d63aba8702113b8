"""The simulator: an Anthropic upstream on loopback that records every request to the byte."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from loom_core.meter import Figures, Meter, measure
from loom_shell.simulator.catalogue import SCENARIOS
from loom_shell.simulator.reading import keeps_alive, read_body, read_head
from loom_shell.simulator.received import Received
from loom_shell.simulator.replies import Asked, error
from loom_shell.simulator.scenarios import Scenario, Upload
from loom_shell.simulator.schemas import read_json
from loom_shell.simulator.steps import Finish, Reset, Spoil, perform
from loom_shell.simulator.wire import ClientLeft, Wire

NARROW = 1 << 16
"""Receive buffer in bytes of a connection whose upload waits at the gate."""


class Simulator:
    """`async with Simulator() as sim:` listens on a free loopback port until the block ends.

    A request is answered by the scenario that its header `x-simulate` or its query `simulate`
    names, else by the next one given to `script`, else by the default scenario.
    """

    def __init__(
        self,
        scenario_default: str | Scenario = "ok",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], int] = time.monotonic_ns,
        on_done: Callable[[Received], None] | None = None,
    ) -> None:
        self.host, self.port = host, port
        self.requests: list[Received] = []
        self.gate = asyncio.Event()
        """Opens the uploads of `slow-reader`."""
        self.connections_seen = 0
        self.keep = True
        """Whether `requests` keeps what came; without it the numbers of `arrived` mean nothing."""
        self._default = _found(scenario_default)
        self._script: deque[Scenario] = deque()
        self._clock, self._on_done = clock, on_done
        self._meter = Meter()
        self._answers = self._summaries = 0
        self._wires: dict[Wire, Received | None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._wire, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for wire in list(self._wires):
            wire.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def origin(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def connections_open(self) -> int:
        return len(self._wires)

    def script(self, *scenarios: str | Scenario) -> None:
        """The next requests get these, one each, in order. Raises ValueError for an unknown name."""
        self._script.extend([_found(scenario) for scenario in scenarios])

    def forget(self) -> None:
        """As if new: no requests, script, cache entries or counts of answers. The gate closes."""
        self.requests.clear()
        self._script.clear()
        self._meter = Meter()
        self._answers = self._summaries = 0
        self.gate.clear()

    async def until(self, holds: Callable[[], bool], within: float = 5.0) -> None:
        """Wait until `holds()`, looked at after every change. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def arrived(self, number: int = 0, within: float = 5.0) -> Received:
        """Request `number` (from 0), once its head is here."""
        await self.until(lambda: len(self.requests) > number, within)
        return self.requests[number]

    async def received(self, number: int = 0, within: float = 5.0) -> Received:
        """Request `number`, once its body is here."""
        request = await self.arrived(number, within)
        await self.until(lambda: request.complete, within)
        return request

    async def aborted(self, number: int = 0, within: float = 5.0) -> Received:
        """Request `number`, once its client has left before the answer was done."""
        request = await self.arrived(number, within)
        await self.until(lambda: request.aborted_at is not None, within)
        return request

    async def done(self, number: int = 0, within: float = 5.0) -> Received:
        """Request `number`, once it is answered or its client has left."""
        request = await self.arrived(number, within)
        await self.until(lambda: not request.open, within)
        return request

    async def quiet(self, within: float = 5.0) -> None:
        """Wait until no connection is open."""
        await self.until(lambda: not self._wires, within)

    def _wire(self) -> Wire:
        return Wire(self._opened, self._left)

    def _opened(self, wire: Wire) -> None:
        self.connections_seen += 1
        wire.number = self.connections_seen
        self._wires[wire] = None
        task = asyncio.get_running_loop().create_task(self._serve(wire))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        self._changed.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            told = {"message": "a scenario failed", "exception": error}
            task.get_loop().call_exception_handler(told)

    def _left(self, wire: Wire) -> None:
        if (request := self._wires.get(wire)) is not None:
            request.client_left()
        self._changed.set()

    async def _serve(self, wire: Wire) -> None:
        """All requests of one connection, one after the other."""
        try:
            while await self._exchange(wire):
                pass
        except ClientLeft:
            wire.writer.close()
        finally:
            if not wire.transport.is_closing():
                wire.transport.abort()
            if (request := self._wires.pop(wire)) is not None:
                request.client_left()
                self._report(request)
            self._changed.set()

    async def _exchange(self, wire: Wire) -> bool:
        """One request and its answer; False when the connection is over."""
        request = await self._begin(wire)
        scenario, unknown = self._choose(request)
        request.scenario = scenario.name
        if scenario.upload is Upload.GATED:
            wire.narrow(NARROW)
            await self._gate_opened(wire)
        if scenario.upload is not Upload.IGNORED:
            await read_body(wire, request)
            self._changed.set()
        asked = self._asked(request)
        steps = error(asked, 400, unknown) if unknown else scenario.script(asked)
        end = await perform(steps, wire)
        request.answered = True
        self._wires[wire] = None
        self._report(request)
        self._changed.set()
        match end:
            case Reset():
                wire.reset()
            case Spoil(reset) if keeps_alive(request):
                await self._spoil(wire, reset=reset)
            case None if keeps_alive(request) and request.complete:
                return True
            case None | Finish() | Spoil():
                await wire.finish(discard=not request.complete)
        return False

    async def _gate_opened(self, wire: Wire) -> None:
        """Wait for the gate; ClientLeft if the client goes first."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self.gate, wire.left)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if wire.left.is_set():
            raise ClientLeft

    async def _begin(self, wire: Wire) -> Received:
        request = await read_head(wire)
        if self.keep:
            request.number = len(self.requests)
            self.requests.append(request)
        self._wires[wire] = request
        self._changed.set()
        return request

    async def _spoil(self, wire: Wire, *, reset: bool) -> None:
        request = await self._begin(wire)
        request.scenario, request.answered = "stale", True
        self._wires[wire] = None
        self._report(request)
        if reset:
            wire.reset()
        else:
            await wire.finish(discard=False)

    def _choose(self, request: Received) -> tuple[Scenario, str]:
        """The scenario for a request, and a complaint when it asks for one that does not exist."""
        named = [value.decode("latin-1") for value in request.values(b"x-simulate")]
        wanted = named[0] if named else request.query.get("simulate")
        if wanted is not None:
            known = SCENARIOS.get(wanted)
            return (known, "") if known else (self._default, f"unknown scenario {wanted!r}")
        return (self._script.popleft() if self._script else self._default), ""

    def _asked(self, request: Received) -> Asked:
        self._answers += 1
        asked = Asked(
            number=self._answers,
            method=request.method,
            path=request.path.decode("latin-1"),
            options=request.query,
            http10=request.version == b"HTTP/1.0",
            body=request.body,
            parsed=read_json(request.body) if request.path.startswith(b"/v1/messages") else None,
            measure=self._measure,
            summaries=self._summaries,
        )
        self._summaries += asked.asks_for_summary
        return asked

    def _measure(self, parsed: object) -> Figures:
        self._meter, figures = measure(self._meter, parsed, self._clock())
        return figures

    def _report(self, request: Received) -> None:
        if self._on_done is not None:
            self._on_done(request)


def _found(scenario: str | Scenario) -> Scenario:
    if isinstance(scenario, Scenario):
        return scenario
    if scenario not in SCENARIOS:
        raise ValueError(f"unknown scenario {scenario!r}; there are: {', '.join(SCENARIOS)}")
    return SCENARIOS[scenario]
