"""Metrics: counted in this process, read as Prometheus text, collected for OTLP.

`record` costs microseconds and never raises; a level costs nothing until it is read. What is told is
checked against the catalogue: an unknown name or label is left out, and the values of a label are
bounded in number.
"""

import re
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

from openinference.semconv.resource import ResourceAttributes
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.semconv.attributes.service_attributes import SERVICE_NAME, SERVICE_VERSION
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from loom_shell.catalogue import CATALOGUE, MODELS, Metric

Labels = tuple[tuple[str, str], ...]

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
    """One reader for both forms: a second would double the cost of each record."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(scope_info_enabled=False, registry=registry)
        self._is_for_otlp = False
        self._collected: MetricsData | None = None

    def otlp(self) -> MetricsData | None:
        """Everything so far; call it under the lock that guards the registry."""
        self._is_for_otlp = True
        try:
            self.collect()
        finally:
            self._is_for_otlp = False
        collected, self._collected = self._collected, None
        return collected

    def _receive_metrics(self, metrics_data: MetricsData, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        if self._is_for_otlp:
            self._collected = metrics_data
        else:
            super()._receive_metrics(metrics_data, *args, **kwargs)


class Metrics:
    """The process's instruments. `record` may be called from any thread."""

    def __init__(self, about: Resource, note: Callable[[str], None]) -> None:
        self._note = note
        self._registry = CollectorRegistry()
        self._reading = Lock()
        self._reader = _Reader(self._registry)
        self._provider = MeterProvider(
            metric_readers=[self._reader],
            resource=about,
            views=[_view(metric) for metric in CATALOGUE],
            # Exemplars would look for an ambient span; there is none.
            exemplar_filter=AlwaysOffExemplarFilter(),
            shutdown_on_exit=False,
        )
        meter = self._provider.get_meter("loom")
        self._instruments = {
            metric.name: (_Counted if metric.kind == "counter" else _Instrument)(
                metric, _recorder(meter, metric)
            )
            for metric in CATALOGUE
            if metric.kind != "level"
        }
        self._levels: dict[str, Callable[[], int]] = {}
        for metric in CATALOGUE:
            if metric.kind == "level":
                # An up-down counter, since the levels of several workers add up.
                meter.create_observable_up_down_counter(
                    metric.name, [self._reading_of(metric.name)], metric.unit, metric.description
                )
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
            self._settle()
            return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def otlp(self) -> bytes:
        """An OTLP export request with everything so far; b"" if there is nothing."""
        with self._reading:
            self._settle()
            told = self._reader.otlp()
        return b"" if told is None else encode_metrics(told).SerializeToString()

    def close(self) -> None:
        self._provider.shutdown()

    def _settle(self) -> None:
        for instrument in self._instruments.values():
            instrument.settle()

    def _reading_of(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(_: CallbackOptions) -> Iterable[Observation]:
            level = self._levels.get(name)
            return () if level is None else (Observation(level()),)

        return read


class _Instrument:
    """One metric: its labels checked once for each set of them, then looked up."""

    def __init__(self, metric: Metric, recorder: Callable[[float, dict[str, str]], None]) -> None:
        self._metric = metric
        self._recorder = recorder
        self._sets: dict[Labels, dict[str, str]] = {}
        self._values: dict[str, set[str]] = {label: set() for label in metric.labels}

    def record(self, value: float, labels: Labels) -> None:
        if not 0 <= value <= MAX_FIGURE:
            return
        known = self._sets.get(labels)
        if known is None:
            known = self._checked(labels)
            if len(self._sets) < MAX_SETS:
                self._sets[labels] = known
        self._recorder(value, known)

    def settle(self) -> None:
        """Hand on what was put aside."""

    def _checked(self, labels: Labels) -> dict[str, str]:
        return {
            label: self._bounded(label, value)
            for label, value in labels
            if label in self._metric.labels and value
        }

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


class _Counted(_Instrument):
    """A counter: added up here, and handed on when somebody reads it, for that costs ten times as much."""

    def __init__(self, metric: Metric, recorder: Callable[[float, dict[str, str]], None]) -> None:
        super().__init__(metric, recorder)
        self._adding = Lock()
        self._sums: dict[Labels, float] = {}

    def record(self, value: float, labels: Labels) -> None:
        if not 0 <= value <= MAX_FIGURE:
            return
        with self._adding:
            self._sums[labels] = self._sums.get(labels, 0) + value
            is_full = len(self._sums) >= MAX_SETS
        if is_full:
            self.settle()

    def settle(self) -> None:
        with self._adding:
            sums, self._sums = self._sums, {}
        for labels, value in sums.items():
            super().record(min(value, MAX_FIGURE), labels)


def _view(metric: Metric) -> View:
    aggregation = ExplicitBucketHistogramAggregation(metric.edges) if metric.edges else None
    return View(instrument_name=metric.name, attribute_keys=set(metric.labels), aggregation=aggregation)


def _recorder(meter: Meter, metric: Metric) -> Callable[[float, dict[str, str]], None]:
    if metric.kind == "counter":
        return meter.create_counter(metric.name, metric.unit, metric.description).add
    return meter.create_histogram(metric.name, metric.unit, metric.description).record
