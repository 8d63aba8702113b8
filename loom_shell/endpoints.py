"""Where spans and metrics go: `[[telemetry.exporters]]`, and OpenTelemetry's own variables.

Each endpoint has its headers to itself: a key meant for one backend is never sent to another.
"""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

from attrs import frozen

from loom_shell.parsing import RefusedError
from loom_shell.secret import Secret

TRACES, METRICS = "/v1/traces", "/v1/metrics"
"""Paths below an endpoint (OTLP specification, OTLP/HTTP request)."""
MAX_ENDPOINTS = 8

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,4096}")
_FIELDS = frozenset({"name", "endpoint", "headers", "metrics"})

Headers = tuple[tuple[str, Secret], ...]
Variables = Mapping[str, str]


@frozen
class Endpoint:
    """One backend. `traces` and `metrics` are whole URLs, "" for a signal it does not get."""

    name: str
    traces: str
    metrics: str
    headers: Headers = ()


@frozen
class TelemetrySettings:
    """No endpoint: no spans are exported; metrics are still counted for `/loom/metrics`."""

    project: str = "loom"
    endpoints: tuple[Endpoint, ...] = ()


def exporters(value: object) -> tuple[Endpoint, ...]:
    """Endpoints as `loom.toml` has them, or URLs with commas between. ValueError without the value in it."""
    if isinstance(value, str):
        value = [{"endpoint": url.strip()} for url in value.split(",")]
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_ENDPOINTS:
        raise ValueError
    found = tuple(_endpoint(table, number) for number, table in enumerate(value, 1))
    if len({endpoint.name for endpoint in found}) < len(found):
        raise RefusedError("two of telemetry.exporters have the same name")
    return found


def _endpoint(table: object, number: int) -> Endpoint:
    where = f"number {number} of telemetry.exporters"
    if not isinstance(table, dict) or not set(table) <= _FIELDS:
        raise RefusedError(f"{where} must be a table with {', '.join(sorted(_FIELDS))} and nothing else")
    url = _base(table.get("endpoint"))
    if url is None:
        raise RefusedError(f"{where}: endpoint must be an http or https URL without user and query")
    name = table.get("name", re.sub(r"[^A-Za-z0-9.]+", "-", urlsplit(url).netloc).strip("-.")[:32])
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RefusedError(f"{where}: name must be 1..=32 of A-Z a-z 0-9 . _ -")
    metrics = table.get("metrics", True)
    headers = _headers(table.get("headers", {}))
    if headers is None:
        raise RefusedError(f"{where}: headers must be a table of header names and texts")
    if not isinstance(metrics, bool):
        raise RefusedError(f"{where}: metrics must be true or false")
    return Endpoint(name, url + TRACES, url + METRICS if metrics else "", headers)


def of_environment(environ: Variables, warnings: list[str]) -> tuple[Endpoint, ...]:
    """The endpoints of OpenTelemetry's own variables. They are others' too: what is wrong only warns."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return ()
    traces, metrics = (_of_signal(environ, signal, warnings) for signal in (TRACES, METRICS))
    if traces and metrics and traces[1] == metrics[1]:
        return (Endpoint("otel", traces[0], metrics[0], traces[1]),)
    found = []
    if traces:
        found.append(Endpoint("otel", traces[0], "", traces[1]))
    if metrics:
        found.append(Endpoint("otel-metrics", "", metrics[0], metrics[1]))
    return tuple(found)


def _of_signal(environ: Variables, path: str, warnings: list[str]) -> tuple[str, Headers] | None:
    """URL and headers of one signal, None where it is not exported."""
    signal = path.rpartition("/")[2]

    def told(what: str) -> str:
        # A signal's own variable wins over the general one (OTLP exporter specification).
        own = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{what}")
        return own or environ.get(f"OTEL_EXPORTER_OTLP_{what}", "")

    own = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    exporter = environ.get(f"OTEL_{signal.upper()}_EXPORTER") or "otlp"
    if not told("ENDPOINT") or "otlp" not in exporter.replace(" ", "").split(","):
        return None
    if told("PROTOCOL") == "grpc":
        warnings.append(f"no {signal} are exported: the Loom speaks OTLP over HTTP, and not grpc")
        return None
    base = _base(told("ENDPOINT"))
    if base is None:
        warnings.append(f"no {signal} are exported: the OTLP endpoint is no http or https URL")
        return None
    headers = _headers(dict(_pairs(told("HEADERS"))))
    if headers is None:
        warnings.append(f"the OTLP headers for {signal} are wrong: they are not sent")
    return own or base + path, headers or ()


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """`name=value,name=value`, percent-encoded (OTLP exporter specification, as W3C Baggage)."""
    for pair in text.split(","):
        name, sign, value = pair.partition("=")
        if sign:
            yield unquote(name.strip()), unquote(value.strip())


def _headers(table: object) -> Headers | None:
    if not isinstance(table, dict) or len(table) > 32:
        return None
    for name, value in table.items():
        if not _HEADER_NAME.fullmatch(name) or not isinstance(value, str):
            return None
        if not _HEADER_VALUE.fullmatch(value):
            return None
    return tuple((name, Secret(value)) for name, value in table.items())


def _base(value: object) -> str | None:
    """The URL signals' paths go below; one that names the traces' path is meant so too."""
    url = _checked(value)
    return None if url is None else url.rstrip("/").removesuffix(TRACES).rstrip("/")


def _checked(value: object) -> str | None:
    if not isinstance(value, str) or len(value) > 2048 or not value.isascii() or not value.isprintable():
        return None
    try:
        parts = urlsplit(value)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return value if fine and " " not in value and "@" not in parts.netloc and not parts.query else None
