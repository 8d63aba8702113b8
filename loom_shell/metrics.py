"""Metrics: added up in this process, read as Prometheus text, collected for OTLP.

`record` costs about a microsecond and never raises; a level costs nothing until it is read. What is told is
checked against the catalogue: an unknown name or label is left out, and the values of a label are
bounded in number. The SDK has the forms they are told in; its own instruments take ten times as long.
"""

import re
import time
from bisect import bisect_left
from collections.abc import Callable
from threading import Lock

from openinference.semconv.resource import ResourceAttributes
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.attributes.service_attributes import SERVICE_NAME, SERVICE_VERSION
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from loom_shell.catalogue import CATALOGUE, MODELS, Metric

Labels = tuple[tuple[str, str], ...]
_Times = tuple[int, int]
"""Since when figures are added up, and now: nanoseconds since the epoch."""

MAX_VALUES = 48
"""Values of one label of one metric; every other one is told as `OTHER`."""
MAX_SETS = 1_000
"""Sets of labels of one metric."""
MAX_LENGTH = 64
MAX_FIGURE = 10**12
"""No token count, time or number of ours comes near; JSON from outside has no bound, and OTLP has."""
OTHER = "other"

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,63}")


def resource(project: str, version: str) -> Resource:
    """Who says it: the same on spans and metrics, and nothing of the environment."""
    return Resource(
        {SERVICE_NAME: "loom", SERVICE_VERSION: version, ResourceAttributes.PROJECT_NAME: project}
    )


class _Reader(PrometheusMetricReader):
    """The Prometheus form of what `collected` gives; it needs no provider."""

    def __init__(self, registry: CollectorRegistry, collected: Callable[[], MetricsData | None]) -> None:
        super().__init__(scope_info_enabled=False, registry=registry)
        self._set_collect_callback(lambda *_args, **_kwargs: collected())  # type: ignore[arg-type]


class Metrics:
    """The process's instruments. `record` may be called from any thread."""

    def __init__(self, about: Resource, note: Callable[[str], None]) -> None:
        self._note = note
        self._about = about
        self._began_at = time.time_ns()
        self._reading = Lock()
        self._registry = CollectorRegistry()
        self._reader = _Reader(self._registry, self._collected)
        self._instruments = {it.name: _Instrument(it) for it in CATALOGUE if it.kind != "level"}
        self._levels: dict[str, Callable[[], int]] = {}
        self._unknown: set[str] = set()

    def record(self, name: str, value: float, labels: Labels = ()) -> None:
        """Add to a counter, or put a value into a histogram. Never raises."""
        instrument = self._instruments.get(name)
        if instrument is not None:
            instrument.record(value, labels)
        elif name not in self._unknown and len(self._unknown) < MAX_VALUES:
            self._unknown.add(name)
            self._note(f"no such metric: {name}")

    def watch(self, name: str, level: Callable[[], int]) -> None:
        """From now on, read this level whenever somebody asks. `level` is called from any thread."""
        self._levels[name] = level

    def page(self) -> tuple[bytes, str]:
        """The Prometheus text and its content type."""
        with self._reading:
            return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def otlp(self) -> bytes:
        """An OTLP export request with everything so far; b"" if there is nothing."""
        told = self._collected()
        return b"" if told is None else encode_metrics(told).SerializeToString()

    def close(self) -> None:
        self._reader.shutdown()

    def _collected(self) -> MetricsData | None:
        """Everything so far, in the SDK's own form; None if there is nothing."""
        times = (self._began_at, time.time_ns())
        told = [it for metric in CATALOGUE if (it := self._told(metric, times)) is not None]
        if not told:
            return None
        scope = export.ScopeMetrics(InstrumentationScope("loom"), told, "")
        return MetricsData([export.ResourceMetrics(self._about, [scope], "")])

    def _told(self, metric: Metric, times: _Times) -> export.Metric | None:
        if metric.kind != "level":
            found = self._instruments[metric.name].told(times)
        elif (level := self._levels.get(metric.name)) is not None:
            # No gauge, since the levels of several workers add up.
            found = _sum([export.NumberDataPoint({}, *times, level())], is_monotonic=False)
        else:
            found = None
        return export.Metric(metric.name, metric.description, metric.unit, found) if found else None


class _Figures:
    """What came in for one set of labels. A value is in the first bucket whose edge it is not beyond."""

    def __init__(self, edges: tuple[float, ...]) -> None:
        self._edges = edges
        self._counts = [0] * (len(edges) + 1)
        self._sum: float = 0
        self._least: float = MAX_FIGURE
        self._most: float = 0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._edges, value)] += 1
        self._sum += value
        self._least = min(self._least, value)
        self._most = max(self._most, value)

    def number(self, labels: Labels, times: _Times) -> export.NumberDataPoint:
        return export.NumberDataPoint(dict(labels), *times, self._sum)

    def histogram(self, labels: Labels, times: _Times) -> export.HistogramDataPoint:
        return export.HistogramDataPoint(
            dict(labels),
            *times,
            count=sum(self._counts),
            sum=self._sum,
            bucket_counts=tuple(self._counts),
            explicit_bounds=self._edges,
            min=self._least,
            max=self._most,
        )


class _Instrument:
    """One metric: its labels checked once for each set of them, then looked up."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._adding = Lock()
        self._given: dict[Labels, _Figures] = {}
        self._figures: dict[Labels, _Figures] = {}
        self._values: dict[str, set[str]] = {label: set() for label in metric.labels}

    def record(self, value: float, labels: Labels) -> None:
        if not 0 <= value <= MAX_FIGURE:
            return
        with self._adding:
            (self._given.get(labels) or self._found(labels)).add(value)

    def told(self, times: _Times) -> export.Sum | export.Histogram | None:
        """Everything up to the second of the times, since the first; None if there is nothing."""
        with self._adding:
            figures = self._figures.items()
            if not figures:
                return None
            if self._metric.kind == "counter":
                return _sum([it.number(labels, times) for labels, it in figures], is_monotonic=True)
            points = [it.histogram(labels, times) for labels, it in figures]
        return export.Histogram(points, AggregationTemporality.CUMULATIVE)

    def _found(self, labels: Labels) -> _Figures:
        told = self._checked(labels)
        if len(self._figures) >= MAX_SETS and told not in self._figures:
            told = tuple((label, OTHER) for label, _ in told)
        figures = self._figures.setdefault(told, _Figures(self._metric.edges))
        if len(self._given) < MAX_SETS:
            self._given[labels] = figures
        return figures

    def _checked(self, labels: Labels) -> Labels:
        listed = {label: value for label, value in labels if label in self._metric.labels and value}
        return tuple((label, self._bounded(label, value)) for label, value in sorted(listed.items()))

    def _bounded(self, label: str, value: str) -> str:
        seen = self._values[label]
        told = value[:MAX_LENGTH]
        if told in seen:
            return told
        if (
            len(seen) >= MAX_VALUES
            or not told.isprintable()
            or (label in MODELS and not _MODEL.fullmatch(value))
        ):
            return OTHER
        seen.add(told)
        return told


def _sum(points: list[export.NumberDataPoint], *, is_monotonic: bool) -> export.Sum:
    return export.Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic)
