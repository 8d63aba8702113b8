import pytest

from loom_shell.endpoints import MAX_ENDPOINTS, Endpoint, TelemetrySettings, exporters, of_environment
from loom_shell.parsing import RefusedError
from loom_shell.secret import Secret

KEY = "k-0123456789"


def of(**environ: str) -> tuple[tuple[Endpoint, ...], list[str]]:
    warnings: list[str] = []
    found = of_environment({name.upper(): value for name, value in environ.items()}, warnings)
    return found, warnings


@pytest.mark.spec("telemetry.endpoints")
def test_a_table_is_an_endpoint() -> None:
    table = {
        "name": "logfire",
        "endpoint": "https://logfire.example/",
        "headers": {"Authorization": KEY},
        "metrics": False,
    }
    assert exporters([table, {"endpoint": "http://[::1]:6006"}]) == (
        Endpoint("logfire", "https://logfire.example/v1/traces", "", (("Authorization", Secret(KEY)),)),
        Endpoint("1-6006", "http://[::1]:6006/v1/traces", "http://[::1]:6006/v1/metrics"),
    )


@pytest.mark.spec("telemetry.endpoints")
@pytest.mark.parametrize(
    ("url", "traces"),
    [
        ("http://127.0.0.1:6006", "http://127.0.0.1:6006/v1/traces"),
        ("http://127.0.0.1:6006/", "http://127.0.0.1:6006/v1/traces"),
        ("http://127.0.0.1:6006/v1/traces", "http://127.0.0.1:6006/v1/traces"),
        ("https://x.example/otlp/", "https://x.example/otlp/v1/traces"),
    ],
)
def test_the_signals_paths_go_below_a_url(url: str, traces: str) -> None:
    assert exporters(url)[0].traces == traces


def test_urls_may_stand_in_a_text() -> None:
    assert [it.name for it in exporters("http://a.example, http://b.example:1")] == [
        "a.example",
        "b.example-1",
    ]


@pytest.mark.spec("config.secret-errors")
@pytest.mark.parametrize(
    "value",
    [
        "",
        [],
        5,
        None,
        [5],
        [{}],
        [{"endpoint": 5}],
        [{"endpoint": "grpc://x"}],
        [{"endpoint": "http://"}],
        [{"endpoint": f"http://u:{KEY}@x"}],
        [{"endpoint": f"http://x?key={KEY}"}],
        [{"endpoint": "http://x:99999"}],
        [{"endpoint": "http://x", "url": KEY}],
        [{"endpoint": "http://x", "name": ""}],
        [{"endpoint": "http://x", "name": 5}],
        [{"endpoint": "http://x", "headers": KEY}],
        [{"endpoint": "http://x", "headers": {"a b": KEY}}],
        [{"endpoint": "http://x", "headers": {"a": f"{KEY}\n"}}],
        [{"endpoint": "http://x", "headers": {"a": 5}}],
        [{"endpoint": "http://x", "metrics": "yes"}],
        [{"endpoint": "http://x"}] * 2,
        [{"endpoint": f"http://x{it}"} for it in range(MAX_ENDPOINTS + 1)],
    ],
)
def test_what_is_no_exporter_is_refused_without_its_values(value: object) -> None:
    with pytest.raises(ValueError) as refused:
        exporters(value)
    assert KEY not in str(refused.value)
    if isinstance(value, list) and value and value != [5] and len(value) <= MAX_ENDPOINTS:
        assert isinstance(refused.value, RefusedError)


@pytest.mark.spec("telemetry.environment")
def test_without_a_variable_there_is_no_endpoint() -> None:
    assert of() == ((), [])
    assert of(otel_exporter_otlp_endpoint="http://x", otel_sdk_disabled="TRUE") == ((), [])
    assert TelemetrySettings().endpoints == ()


@pytest.mark.spec("telemetry.environment")
def test_the_general_endpoint_is_for_both_signals() -> None:
    found, warnings = of(
        otel_exporter_otlp_endpoint="http://127.0.0.1:4318",
        otel_exporter_otlp_headers=f"authorization=Bearer%20{KEY}, x-scope = a",
    )
    headers = (("authorization", Secret(f"Bearer {KEY}")), ("x-scope", Secret("a")))
    url = "http://127.0.0.1:4318/v1/"
    assert found == (Endpoint("otel", f"{url}traces", f"{url}metrics", headers),)
    assert warnings == []


@pytest.mark.spec("telemetry.environment")
def test_a_signals_own_variables_win_and_its_url_is_used_as_it_is() -> None:
    found, warnings = of(
        otel_exporter_otlp_endpoint="http://general",
        otel_exporter_otlp_traces_endpoint="http://own/traces",
        otel_exporter_otlp_headers="a=general",
        otel_exporter_otlp_traces_headers="a=own",
    )
    assert found == (
        Endpoint("otel", "http://own/traces", "", (("a", Secret("own")),)),
        Endpoint("otel-metrics", "", "http://general/v1/metrics", (("a", Secret("general")),)),
    )
    assert of(otel_exporter_otlp_traces_endpoint="http://own/t")[0] == (Endpoint("otel", "http://own/t", ""),)
    assert warnings == []


@pytest.mark.spec("telemetry.environment")
def test_a_signal_can_be_switched_off() -> None:
    url = {"otel_exporter_otlp_endpoint": "http://x"}
    (traces,) = of(**url, otel_metrics_exporter="none")[0]
    assert (traces.traces, traces.metrics) == ("http://x/v1/traces", "")
    (metrics,) = of(**url, otel_traces_exporter="console")[0]
    assert (metrics.traces, metrics.metrics) == ("", "http://x/v1/metrics")
    assert len(of(**url, otel_traces_exporter="console, otlp")[0]) == 1


@pytest.mark.spec("telemetry.environment")
@pytest.mark.parametrize(
    ("environ", "count", "words"),
    [
        ({"otel_exporter_otlp_endpoint": "http://x", "otel_exporter_otlp_protocol": "grpc"}, 0, "not grpc"),
        ({"otel_exporter_otlp_endpoint": f"x:{KEY}"}, 0, "no http or https URL"),
        (
            {"otel_exporter_otlp_endpoint": "http://x", "otel_exporter_otlp_headers": f"a b={KEY}"},
            1,
            "not sent",
        ),
    ],
)
def test_others_variables_that_are_wrong_only_warn(environ: dict[str, str], count: int, words: str) -> None:
    found, warnings = of(**environ)
    assert len(found) == count
    assert len(warnings) == 2
    assert all(words in line and KEY not in line for line in warnings)


@pytest.mark.spec("telemetry.headers")
def test_no_dump_of_an_endpoint_shows_its_headers() -> None:
    (endpoint,) = exporters([{"endpoint": "http://x", "headers": {"authorization": KEY}}])
    assert KEY not in repr(endpoint)
