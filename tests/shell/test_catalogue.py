import re
from pathlib import Path

import pytest

from loom_shell.catalogue import CATALOGUE

BY_NAME = {metric.name: metric for metric in CATALOGUE}
PROMISED = [
    "gen_ai.client.operation.duration",
    "gen_ai.client.operation.time_to_first_chunk",
    "gen_ai.client.operation.time_per_output_chunk",
    "gen_ai.client.token.usage",
    "http.server.request.duration",
    "loom.tokens",
    "loom.turns",
    "loom.turn.duration",
    "loom.turn.calls",
    "loom.proxy.overhead",
    "loom.streams.active",
    "loom.metadata.blocks",
    "loom.rewrites",
    "loom.weave.runs",
    "loom.weave.duration",
    "loom.weave.tokens",
    "loom.store.operations",
    "loom.compaction.drift",
    "loom.upstream.errors",
    "loom.transitions.invalid",
    "loom.telemetry.dropped",
]


@pytest.mark.spec("metrics.catalogue")
def test_every_promised_metric_is_there_once() -> None:
    assert sorted(BY_NAME) == sorted(PROMISED)
    assert len(CATALOGUE) == len(BY_NAME)


@pytest.mark.spec("metrics.catalogue")
def test_the_spec_page_lists_the_metrics_as_they_are() -> None:
    page = Path(__file__).parents[2] / "specs" / "metrics.md"
    rows = re.findall(r"^\| `.*$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [f"| `{it.name}` | {it.kind} | `{it.unit}` | {listed(it.labels)} |" for it in CATALOGUE]


def listed(labels: frozenset[str]) -> str:
    return ", ".join(f"`{label}`" for label in sorted(labels)) or "–"


@pytest.mark.spec("metrics.labels")
def test_no_label_names_a_session_a_prompt_or_a_trace() -> None:
    labels = {label for metric in CATALOGUE for label in metric.labels}
    for word in ("session", "prompt", "trace", "span", "user", "conversation", "path", "turn", "id"):
        assert not [label for label in labels if word in label.replace("gen_ai.provider.name", "").split(".")]


@pytest.mark.spec("metrics.buckets")
def test_histograms_have_rising_edges_and_the_others_none() -> None:
    for metric in CATALOGUE:
        assert bool(metric.edges) is (metric.kind == "histogram")
        assert list(metric.edges) == sorted(set(metric.edges))
    assert BY_NAME["gen_ai.client.operation.duration"].edges[-1] >= 600
