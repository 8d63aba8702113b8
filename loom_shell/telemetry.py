"""Telemetry: spans to every endpoint, metrics counted, and nobody waits for either.

`emit` puts a span into a queue and returns. A thread of its own gathers what comes and encodes it once,
and each endpoint has a queue and a thread beside it. Without an endpoint there is neither queue nor thread.
"""

import asyncio
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread

from starlette.requests import Request
from starlette.responses import Response

from loom_core.trace import SpanRecord
from loom_shell.endpoints import TelemetrySettings
from loom_shell.exporting import Bounds, Exporting
from loom_shell.log import Log
from loom_shell.metrics import Labels, Metrics, resource
from loom_shell.otlp import described, encoded, size_of

MAX_WAITING = 2_048
MAX_OCTETS = 64 * 1024 * 1024
"""Bounds of what waits to be encoded."""
GATHERING = 0.03
"""Seconds the thread gathers spans before it encodes them: one wake-up for many."""
METRICS_SECONDS = 30.0
"""How often metrics are exported."""

_Together = list[tuple[SpanRecord, int]]
"""Spans of one turn of the event loop, each with its size."""


class Telemetry:
    """`emit` is for one thread, the event loop's; `record` and the page for any. Nothing raises."""

    def __init__(
        self,
        settings: TelemetrySettings,
        log: Log,
        bounds: Bounds | None = None,
        metrics_seconds: float = METRICS_SECONDS,
    ) -> None:
        self._log = log
        about = resource(settings.project, _version())
        self._about = described(about)
        self._metrics = Metrics(about, self._note)
        self._counting = Lock()
        self._dropped: dict[tuple[str, str, str], int] = {}
        self._closing = Event()
        self._exporters = tuple(Exporting(it, self._drop, self._note, bounds) for it in settings.endpoints)
        self.enabled = any(endpoint.traces for endpoint in settings.endpoints)
        self._metrics_seconds = metrics_seconds
        self._waiting: SimpleQueue[_Together | None] = SimpleQueue()
        self._together: _Together = []
        # Each is written by one thread only: what was put by the event loop, what was taken by the other.
        self._put = self._put_octets = self._taken = self._taken_octets = 0
        self._thread: Thread | None = None
        if self._exporters:
            self._thread = Thread(target=self._run, name="telemetry", daemon=True)
            self._thread.start()

    @property
    def dropped(self) -> dict[tuple[str, str, str], int]:
        """What was not delivered so far, by (exporter, signal, reason)."""
        with self._counting:
            return dict(self._dropped)

    def emit(self, span: SpanRecord) -> None:
        """Queue a finished span for every endpoint; those of one turn of the event loop together."""
        if not self.enabled:
            return
        size = size_of(span)
        octets = self._put_octets - self._taken_octets
        is_closed = self._closing.is_set()
        if is_closed or self._put - self._taken >= MAX_WAITING or octets + size > MAX_OCTETS:
            self._drop("all", "traces", "closed" if is_closed else "queue full", 1)
            return
        self._put += 1
        self._put_octets += size
        self._together.append((span, size))
        if len(self._together) == 1:
            self._soon(self._hand_over)

    def _soon(self, hand_over: Callable[[], None]) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            hand_over()
        else:
            loop.call_soon(hand_over)

    def _hand_over(self) -> None:
        if self._together:
            together, self._together = self._together, []
            self._waiting.put(together)

    def record(self, name: str, value: float, labels: Labels = ()) -> None:
        """Record one value of a metric; see `loom_shell/catalogue.py` for names and labels."""
        self._metrics.record(name, value, labels)

    def watch(self, name: str, level: Callable[[], int]) -> None:
        """Read a level, from any thread, whenever metrics are collected."""
        self._metrics.watch(name, level)

    def metrics_page(self, _request: Request) -> Response:
        """`GET /loom/metrics`: Prometheus text. Starlette runs it in a thread."""
        text, content_type = self._metrics.page()
        return Response(text, headers={"content-type": content_type})

    def close(self, seconds: float) -> bool:
        """Deliver what waits, for at most so many seconds; whether all of it went out. Blocks so long."""
        if self._closing.is_set():
            return True
        self._closing.set()
        until = time.monotonic() + seconds
        self._hand_over()
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(seconds)
        closing = [
            Thread(target=exporter.close, args=(max(0.0, until - time.monotonic()),), daemon=True)
            for exporter in self._exporters
        ]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(max(0.0, until - time.monotonic()) + 0.5)
        left = self._put - self._taken
        if left:
            self._drop("all", "traces", "shutdown", left)
        lost = {f"{name} {signal} {why}": count for (name, signal, why), count in self.dropped.items()}
        if lost:
            self._log.note("warning", "telemetry was not delivered", **lost)
        self._metrics.close()
        return not any(why == "shutdown" for _name, _signal, why in self.dropped)

    def _note(self, text: str) -> None:
        self._log.note("warning", text)

    def _drop(self, exporter: str, signal: str, reason: str, count: int) -> None:
        with self._counting:
            key = (exporter, signal, reason)
            self._dropped[key] = self._dropped.get(key, 0) + count
        labels = (("exporter", exporter), ("signal", signal), ("reason", reason))
        self._metrics.record("loom.telemetry.dropped", count, labels)

    # The thread that encodes

    def _run(self) -> None:
        due = time.monotonic() + self._metrics_seconds
        gathered: list[_Together | None] = []
        while None not in gathered:
            gathered = self._gathered(max(0.0, due - time.monotonic()))
            for together in gathered:
                for span, size in together or ():
                    self._export(span, size)
            if time.monotonic() >= due:
                self._export_metrics()
                due = time.monotonic() + self._metrics_seconds
        self._export_metrics()

    def _gathered(self, seconds: float) -> list[_Together | None]:
        """What was handed over, and for a while after the first of it; None among it at the end."""
        try:
            gathered = [self._waiting.get(timeout=seconds)]
        except Empty:
            return []
        self._closing.wait(GATHERING)
        while not self._waiting.empty():
            gathered.append(self._waiting.get())
        return gathered

    def _export(self, span: SpanRecord, size: int) -> None:
        try:
            request = encoded(span, self._about)
        except Exception as error:  # noqa: BLE001 - one span that cannot be told must not end the others
            self._drop("all", "traces", "invalid", 1)
            self._note(f"a span could not be encoded: {type(error).__name__}")
        else:
            for exporter in self._exporters:
                exporter.put(request)
        self._taken += 1
        self._taken_octets += size

    def _export_metrics(self) -> None:
        try:
            request = self._metrics.otlp()
        except Exception as error:  # noqa: BLE001 - as with spans
            self._note(f"the metrics could not be encoded: {type(error).__name__}")
            return
        for exporter in self._exporters:
            exporter.put_metrics(request)


def _version() -> str:
    try:
        return version("loom")
    except PackageNotFoundError:
        return "unknown"
