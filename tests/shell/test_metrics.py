import math
import time
from collections.abc import Iterator
from threading import Thread

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from loom_shell.catalogue import CATALOGUE
from loom_shell.metrics import MAX_SETS, MAX_VALUES, Metrics, resource


class Counted:
    """Metrics, what they noted, and their page as a dictionary of samples."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.metrics = Metrics(resource("p", "1.2"), self.notes.append)
        self.record = self.metrics.record

    def page(self) -> dict[str, float]:
        text, content_type = self.metrics.page()
        assert content_type.startswith("text/plain; version=0.0.4")
        lines = (line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}


@pytest.fixture
def counted() -> Iterator[Counted]:
    made = Counted()
    yield made
    made.metrics.close()


@pytest.mark.spec("metrics.prometheus")
def test_each_metric_reaches_the_page(counted: Counted) -> None:
    for metric in CATALOGUE:
        if metric.kind == "level":
            counted.metrics.watch(metric.name, lambda: 1)
        else:
            counted.record(metric.name, 1.0, tuple((label, "x") for label in sorted(metric.labels)))
    page = counted.page()
    for metric in CATALOGUE:
        name = metric.name.replace(".", "_")
        assert [line for line in page if line.startswith(name)], metric.name
    assert page['loom_turns_total{agent="x",outcome="x"}'] == 1
    assert any(line.startswith('target_info{openinference_project_name="p"') for line in page)
    assert counted.notes == []


@pytest.mark.spec("metrics.buckets")
def test_a_call_of_five_minutes_is_in_a_bucket_of_its_own(counted: Counted) -> None:
    counted.record("gen_ai.client.operation.duration", 290.0)
    page = counted.page()
    assert page['gen_ai_client_operation_duration_seconds_bucket{le="180"}'] == 0
    assert page['gen_ai_client_operation_duration_seconds_bucket{le="300"}'] == 1
    assert page["gen_ai_client_operation_duration_seconds_sum"] == 290.0


def test_a_counter_rises_only(counted: Counted) -> None:
    for value in (1, 1, -1):
        counted.record("loom.rewrites", value)
    assert counted.page()["loom_rewrites_total"] == 2


@pytest.mark.spec("metrics.level")
def test_a_level_is_read_whenever_somebody_asks(counted: Counted) -> None:
    assert "loom_streams_active" not in counted.page()
    under_way: list[str] = []
    asked: list[int] = []
    counted.metrics.watch("loom.streams.active", lambda: asked.append(1) or len(under_way))
    under_way += ["one", "two"]
    assert asked == []
    assert counted.page()["loom_streams_active"] == 2
    under_way.pop()
    assert counted.page()["loom_streams_active"] == 1
    told = ExportMetricsServiceRequest.FromString(counted.metrics.otlp())
    (level,) = told.resource_metrics[0].scope_metrics[0].metrics
    assert (level.name, level.sum.is_monotonic, level.sum.data_points[0].as_int) == (
        "loom.streams.active",
        False,
        1,
    )
    assert len(asked) == 3


@pytest.mark.spec("metrics.level")
def test_a_level_cannot_be_recorded(counted: Counted) -> None:
    counted.record("loom.streams.active", 1)
    assert counted.notes == ["no such metric: loom.streams.active"]


@pytest.mark.spec("metrics.labels")
def test_labels_that_are_not_listed_are_left_out(counted: Counted) -> None:
    counted.record("loom.turns", 1, (("outcome", "complete"), ("session", "s1"), ("agent", "")))
    assert counted.page()['loom_turns_total{outcome="complete"}'] == 1


@pytest.mark.spec("metrics.bounded")
def test_values_of_a_label_are_bounded(counted: Counted) -> None:
    for number in range(MAX_SETS * 2):
        counted.record("loom.tokens", 1, (("model", f"model-{number}"),))
        counted.record("loom.upstream.errors", 1, (("cause", f"c{number}"), ("status", f"{number}")))
    page = counted.page()
    assert page['loom_tokens_total{model="other"}'] == MAX_SETS * 2 - MAX_VALUES
    assert len([line for line in page if line.startswith("loom_tokens")]) == MAX_VALUES + 1
    assert sum(value for name, value in page.items() if name.startswith("loom_upstream")) == MAX_SETS * 2
    assert len(page) < 5 * MAX_VALUES


@pytest.mark.spec("metrics.bounded")
def test_so_are_the_sets_of_labels_and_no_value_is_lost(counted: Counted) -> None:
    for one in range(MAX_VALUES):
        for other in range(MAX_VALUES):
            counted.record("loom.upstream.errors", 1, (("cause", f"{one}"), ("status", f"{other}")))
    page = counted.page()
    sets = [value for name, value in page.items() if name.startswith("loom_upstream")]
    assert len(sets) == MAX_SETS + 1
    assert sum(sets) == MAX_VALUES**2
    assert page['loom_upstream_errors_total{cause="other",status="other"}'] == MAX_VALUES**2 - MAX_SETS


@pytest.mark.spec("metrics.bounded")
@pytest.mark.parametrize("model", ["a b", "x" * 65, "\n", 'a"b', "ü", "../x\x00"])
def test_a_model_with_an_odd_name_is_another(counted: Counted, model: str) -> None:
    counted.record("loom.tokens", 1, (("model", model),))
    assert counted.page()['loom_tokens_total{model="other"}'] == 1


@pytest.mark.spec("metrics.cheap")
def test_what_is_no_metric_is_noted_once_and_what_is_no_figure_never(counted: Counted) -> None:
    for value in (1, math.nan, math.inf, -math.inf, 2**63, 10**400):
        counted.record("loom.nothing", value)
        counted.record("loom.turns", value)
    assert counted.notes == ["no such metric: loom.nothing"]
    assert counted.page()["loom_turns_total"] == 1
    assert counted.metrics.otlp()


@pytest.mark.spec("metrics.otlp")
def test_otlp_has_the_same_figures_and_the_resource(counted: Counted) -> None:
    assert counted.metrics.otlp() == b""
    counted.record("loom.turns", 1)
    counted.record("gen_ai.client.token.usage", 500)
    for _ in range(3):  # Reading one form neither uses up nor piles up the other.
        counted.page()
        told = ExportMetricsServiceRequest.FromString(counted.metrics.otlp())
    (about,) = told.resource_metrics
    assert {it.key: it.value.string_value for it in about.resource.attributes} == {
        "service.name": "loom",
        "service.version": "1.2",
        "openinference.project.name": "p",
    }
    metrics = {it.name: it for scope in about.scope_metrics for it in scope.metrics}
    assert metrics["loom.turns"].sum.data_points[0].as_double == 1 or (
        metrics["loom.turns"].sum.data_points[0].as_int == 1
    )
    assert metrics["gen_ai.client.token.usage"].histogram.data_points[0].sum == 500
    assert metrics["gen_ai.client.token.usage"].unit == "{token}"


@pytest.mark.spec("metrics.cheap")
def test_recording_costs_microseconds(counted: Counted) -> None:
    labels = (("gen_ai.request.model", "m"), ("error.type", "x"))
    counted.record("gen_ai.client.operation.duration", 1.0, labels)
    began = time.thread_time()
    for _ in range(5_000):
        counted.record("gen_ai.client.operation.duration", 1.0, labels)
    assert time.thread_time() - began < 5_000 * 100e-6


def test_threads_may_record_while_others_read(counted: Counted) -> None:
    def count() -> None:
        for _ in range(2_000):
            counted.record("loom.turns", 1)

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        counted.page()
        counted.metrics.otlp()
    assert counted.page()["loom_turns_total"] == 8_000
