"""One endpoint's own queue and thread: one that is down, slow or refuses delays nobody else.

The queue is bounded by number and bytes; when it is full the oldest spans go, and are counted.
Metrics are cumulative, so only the last request of them waits.
"""

import time
from collections import deque
from collections.abc import Callable
from threading import Condition, Thread

import httpx
from attrs import frozen
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from loom_shell.endpoints import Endpoint

TIMEOUT = 5.0
"""Seconds for one request, and for each of its steps."""
AGAIN = frozenset({408, 429, 502, 503, 504})
"""Statuses after which the same request may succeed (OTLP specification, Failures)."""
NO_SUCH_PAGE = frozenset({404, 405, 501})
BACK_OFF, MAX_BACK_OFF = 0.5, 30.0
MAX_ANSWER = 65_536

Dropped = Callable[[str, str, str, int], None]
"""(exporter, signal, reason, count)"""


@frozen
class Bounds:
    """How much may wait for one endpoint, and how much goes into one request.

    `linger`: seconds that a request is held open for more spans, since each costs as much as many spans.
    """

    spans: int = 4_096
    octets: int = 32 * 1024 * 1024
    batch_spans: int = 512
    batch_octets: int = 4 * 1024 * 1024
    attempts: int = 5
    linger: float = 0.2


@frozen
class Outcome:
    """What became of a request. `reason` is "" when it was taken; `rejected` spans were not."""

    reason: str
    is_final: bool
    wait: float = 0.0
    rejected: int = 0
    status: int = 0


class Exporting:
    """`put` and `put_metrics` only queue. `dropped` is called from any thread, `note` from the own one."""

    def __init__(
        self, endpoint: Endpoint, dropped: Dropped, note: Callable[[str], None], bounds: Bounds | None = None
    ) -> None:
        self.name = endpoint.name
        self._endpoint = endpoint
        self._dropped = dropped
        self._note = note
        self._bounds = bounds or Bounds()
        self._changed = Condition()
        self._waiting: deque[bytes] = deque()
        self._octets = 0
        self._sending = 0
        self._metrics = b""
        self._takes_metrics = bool(endpoint.metrics)
        self._is_closing = False
        self._deadline = 0.0
        self._is_well = True
        # Not from the environment: neither its proxies nor a .netrc are meant for this.
        self._client = httpx.Client(timeout=TIMEOUT, trust_env=False)
        self._headers = {
            "content-type": "application/x-protobuf",
            "user-agent": "loom",
            **{name: value.expose() for name, value in endpoint.headers},
        }
        self._thread = Thread(target=self._run, name=f"exporter {endpoint.name}", daemon=True)
        self._thread.start()

    def put(self, span: bytes) -> None:
        """Queue one encoded span. The oldest ones make room for it."""
        if not self._endpoint.traces:
            return
        lost = 0
        with self._changed:
            self._waiting.append(span)
            self._octets += len(span)
            while len(self._waiting) > self._bounds.spans or (
                self._octets > self._bounds.octets and len(self._waiting) > 1
            ):
                self._octets -= len(self._waiting.popleft())
                lost += 1
            if len(self._waiting) == 1 or self._is_batch():
                self._changed.notify()
        if lost:
            self._dropped(self.name, "traces", "queue full", lost)

    def put_metrics(self, request: bytes) -> None:
        with self._changed:
            if request and self._takes_metrics:
                self._metrics = request
                self._changed.notify()

    def close(self, seconds: float) -> bool:
        """Send what waits, for at most so many seconds; whether all of it went out."""
        with self._changed:
            self._is_closing = True
            self._deadline = time.monotonic() + seconds
            self._changed.notify()
        self._thread.join(seconds)
        with self._changed:
            lost = len(self._waiting) + self._sending
            self._waiting.clear()
            self._octets = self._sending = 0
        if lost:
            self._dropped(self.name, "traces", "shutdown", lost)
        return not lost

    # The endpoint's own thread

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._metrics or self._is_closing):
                    self._changed.wait()
                if not self._waiting and not self._metrics:
                    break
                self._linger()
                batch, metrics = self._batch(), self._metrics
                self._metrics = b""
            if batch:
                self._deliver(batch)
            if metrics:
                self._deliver_metrics(metrics)
        self._client.close()

    def _linger(self) -> None:
        """Wait for more spans, with the lock: until they fill a request or have waited long enough."""
        until = time.monotonic() + self._bounds.linger
        while not (self._is_closing or self._is_batch()) and (left := until - time.monotonic()) > 0:
            self._changed.wait(left)

    def _is_batch(self) -> bool:
        return len(self._waiting) >= self._bounds.batch_spans or self._octets >= self._bounds.batch_octets

    def _batch(self) -> list[bytes]:
        batch: list[bytes] = []
        size = 0
        while self._waiting and len(batch) < self._bounds.batch_spans:
            if batch and size + len(self._waiting[0]) > self._bounds.batch_octets:
                break
            batch.append(self._waiting.popleft())
            size += len(batch[-1])
        self._octets -= size
        self._sending = len(batch)
        return batch

    def _deliver(self, batch: list[bytes]) -> None:
        """Send until it is taken, refused for good, or tried often enough by one that does answer."""
        attempt, tries = 0, 0
        while True:
            tries += 1
            outcome = self._send(self._endpoint.traces, b"".join(batch))
            self._told(outcome)
            attempt += outcome.reason != "unreachable"
            if outcome.is_final or attempt >= self._bounds.attempts or not self._may_wait(tries, outcome):
                break
        with self._changed:
            # Close has counted them already when its time was over.
            count, self._sending = self._sending, 0
        lost = outcome.rejected if not outcome.reason else count
        if lost and count:
            self._dropped(self.name, "traces", outcome.reason or "rejected", min(lost, count))

    def _deliver_metrics(self, request: bytes) -> None:
        outcome = self._send(self._endpoint.metrics, request)
        if outcome.status in NO_SUCH_PAGE:
            self._takes_metrics = False
            self._note(f"{self.name} takes no metrics ({outcome.status}): it gets none from now on")
        elif outcome.reason:
            self._dropped(self.name, "metrics", outcome.reason, 1)

    def _may_wait(self, tries: int, outcome: Outcome) -> bool:
        """Wait before the next attempt; False when the shutdown leaves no time for one."""
        until = time.monotonic() + max(outcome.wait, min(MAX_BACK_OFF, BACK_OFF * 2 ** min(tries - 1, 8)))
        with self._changed:
            while (left := until - time.monotonic()) > 0 and not self._is_closing:
                self._changed.wait(left)
            if not self._is_closing:
                return True
            self._changed.wait(max(0.0, min(0.2, self._deadline - time.monotonic())))
            return time.monotonic() < self._deadline

    def _send(self, url: str, request: bytes) -> Outcome:
        try:
            with self._client.stream("POST", url, content=request, headers=self._headers) as response:
                return _judged(response)
        except httpx.ConnectError:
            return Outcome("unreachable", is_final=False)
        except httpx.TimeoutException as error:
            reason = "unreachable" if isinstance(error, httpx.ConnectTimeout) else "timeout"
            return Outcome(reason, is_final=False)
        except Exception:  # noqa: BLE001 - whatever one endpoint does, its thread goes on
            return Outcome("broken", is_final=False)

    def _told(self, outcome: Outcome) -> None:
        """A note when it begins to fail, and when it is well again."""
        if outcome.reason and self._is_well:
            status = f" ({outcome.status})" if outcome.status else ""
            self._note(f"{self.name} does not take spans: {outcome.reason}{status}")
        elif not outcome.reason and not self._is_well:
            self._note(f"{self.name} takes spans again")
        self._is_well = not outcome.reason


def _judged(response: httpx.Response) -> Outcome:
    status = response.status_code
    if 200 <= status < 300:
        return Outcome("", is_final=True, rejected=_rejected(response), status=status)
    if status in AGAIN:
        given = response.headers.get("retry-after", "")
        wait = min(float(given), MAX_BACK_OFF) if given.isdigit() and len(given) < 6 else 0.0
        return Outcome("unavailable", is_final=False, wait=wait, status=status)
    return Outcome("refused", is_final=True, status=status)


def _rejected(response: httpx.Response) -> int:
    """Spans a success did not take (OTLP specification, Partial Success)."""
    told = b""
    until = time.monotonic() + TIMEOUT
    try:
        for piece in response.iter_bytes():
            told += piece
            if len(told) > MAX_ANSWER or time.monotonic() > until:
                return 0
        return int(ExportTraceServiceResponse.FromString(told).partial_success.rejected_spans)
    except Exception:  # noqa: BLE001 - the spans were taken; an answer nobody can read changes nothing
        return 0
