import re
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openinference.semconv import trace as openinference
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, http_attributes
from opentelemetry.semconv.attributes import error_attributes, url_attributes, user_agent_attributes
from opentelemetry.semconv.attributes import http_attributes as stable_http

from loom_core import attributes
from loom_core.attributes import MAX_ATTRIBUTES, MAX_INTEGER, MAX_LABEL, Place, Writer, as_json
from loom_core.redaction import MAX_VALUE

CONSTANTS = {
    value
    for module in (
        gen_ai_attributes,
        http_attributes,
        stable_http,
        error_attributes,
        url_attributes,
        user_agent_attributes,
    )
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, str)
} | {
    value.value if isinstance(value, Enum) else value
    for kind in vars(openinference).values()
    if isinstance(kind, type)
    for name, value in vars(kind).items()
    if name.isupper()
}
OURS = {name: value for name, value in vars(attributes).items() if name.isupper() and isinstance(value, str)}
PLACE = Place("a" * 32, "b" * 16, "")


@pytest.mark.spec("spans.conventions")
@pytest.mark.parametrize(("name", "value"), OURS.items(), ids=OURS)
def test_a_name_is_one_of_the_published_constants(name: str, value: str) -> None:
    assert value in CONSTANTS


def test_the_values_of_conventions_are_published_ones() -> None:
    assert {"AGENT", "CHAIN", "LLM", "TOOL", "anthropic"} <= CONSTANTS
    operations = {it.value for it in gen_ai_attributes.GenAiOperationNameValues}
    assert {"chat", "execute_tool", "invoke_agent"} <= operations
    assert len(OURS) > 60


@pytest.mark.spec("spans.order")
def test_kind_and_session_stand_first() -> None:
    out = Writer("LLM", "s")
    out.text("a", "1")
    out.count("openinference.other", 2)
    assert [name for name, _ in out.attributes()][:2] == ["openinference.span.kind", "session.id"]


def test_what_is_empty_is_left_out() -> None:
    out = Writer("LLM", "")
    out.text("a", "")
    out.texts("b", ())
    out.count("c", None)
    out.json("d", {})
    assert out.attributes() == (("openinference.span.kind", "LLM"),)
    out.count("e", 0)
    out.truth("f", value=False)
    out.number("g", 1)
    assert out.attributes()[1:] == (("e", 0), ("f", False), ("g", 1.0))


def test_a_span_holds_numbers_otlp_can_hold() -> None:
    out = Writer("LLM", "s")
    out.count("a", 2**200)
    assert out.attributes()[-1] == ("a", MAX_INTEGER)
    record = out.record(PLACE, "n", "client", -5, 2**200)
    assert (record.start, record.end) == (0, MAX_INTEGER)
    record = out.record(PLACE, "n", "client", 10, 5)
    assert (record.start, record.end) == (10, 10)


@pytest.mark.spec("spans.capped")
def test_attributes_are_bounded_in_number_and_size() -> None:
    out = Writer("LLM", "s")
    for number in range(MAX_ATTRIBUTES + 5):
        out.text(f"a{number}", "x")
    assert len(out.attributes()) == MAX_ATTRIBUTES
    out = Writer("LLM", "s" * 50_000)
    out.texts("t", ("x" * 50_000,) * 500)
    record = out.record(PLACE, "n" * 1_000, "client", 0, 1, "e" * 50_000)
    assert len(dict(record.attributes)["session.id"].encode()) <= MAX_VALUE
    assert sum(len(text.encode()) for text in dict(record.attributes)["t"]) <= 4 * MAX_VALUE
    assert len(record.name.encode()) <= MAX_LABEL
    assert len(record.error.encode()) <= 4 * MAX_LABEL


@pytest.mark.spec("spans.redaction")
def test_names_errors_and_lists_are_redacted_too() -> None:
    secret = "sk-ant-api03-Abcdefgh1234567890"
    out = Writer("LLM", secret)
    out.text("a", secret)
    out.texts("b", (secret,))
    out.json("c", {"k": [secret]})
    assert not re.search(r"Abcdefgh", repr(out.record(PLACE, secret, "client", 0, 1, secret)))


@given(st.recursive(st.none() | st.text() | st.integers() | st.floats(), st.lists, max_leaves=5))
def test_json_text_is_made_of_anything_or_nothing(value: object) -> None:
    assert isinstance(as_json(value), str)
