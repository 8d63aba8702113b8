import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core import trace
from loom_core.trace import SpanRecord, Traceparent, derived_id, is_id, traceparent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    "value",
    [
        f"00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-00",
        f"00-{TRACE}-{SPAN}-03",
        f"00-{TRACE}-{SPAN}-ff",
        f"cc-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-what-will-be",
        f" 00-{TRACE}-{SPAN}-01\t",
        f"00-{TRACE}-{SPAN}-01".encode(),
    ],
)
@pytest.mark.spec("trace.traceparent")
def test_a_valid_traceparent_names_a_trace_and_a_span(value: str | bytes) -> None:
    assert traceparent(value) == Traceparent(TRACE, SPAN)


@pytest.mark.parametrize(
    "value",
    [
        "",
        TRACE,
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01-",
        f"cc-{TRACE}-{SPAN}-01more",
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}0-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE[:-1]}\N{FULLWIDTH DIGIT ONE}-{SPAN}-01",
        b"\xff",
    ],
)
@pytest.mark.spec("trace.traceparent")
def test_an_invalid_traceparent_names_nothing(value: str | bytes) -> None:
    assert traceparent(value) is None


@given(st.text() | st.binary())
@pytest.mark.spec("trace.traceparent")
def test_any_text_can_be_asked_for_a_traceparent(value: str | bytes) -> None:
    assert traceparent(value) is None


@pytest.mark.spec("trace.ids")
def test_an_id_is_lower_case_hex_of_its_length_and_not_zero() -> None:
    assert is_id(TRACE, 16)
    assert is_id(SPAN, 8)
    for wrong in ("", SPAN.upper(), SPAN[:-1], SPAN + "0", "0" * 16, "g" * 16, SPAN + "\n"):
        assert not is_id(wrong, 8)
    assert not is_id(SPAN, 16)
    assert not is_id("0" * 32, 16)


@given(st.integers(), st.text(st.characters(categories=("L", "Cs"))), st.sampled_from((8, 16)))
@pytest.mark.spec("trace.derived")
def test_a_derived_id_is_an_id_and_always_the_same(seed: int, label: str, size: int) -> None:
    assert size in {8, 16}
    one = derived_id(seed, label, 8 if size == 8 else 16)
    assert is_id(one, 8 if size == 8 else 16)
    assert one == derived_id(seed, label, 8 if size == 8 else 16)


@pytest.mark.spec("trace.derived")
def test_seeds_and_labels_give_ids_of_their_own() -> None:
    seeds = (0, 1, -1, 1 << 64, (1 << 64) + 1, 1 << 5000)
    pairs = [(seed, label) for seed in seeds for label in ("", "a", "b", "1:a")]
    assert len({derived_id(seed, label, 8) for seed, label in pairs}) == len(pairs)
    assert derived_id(7, "turn", 8) == "46ee79412a84d867", "the same on any machine"


@pytest.mark.spec("trace.ids")
def test_a_derived_id_is_never_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    class Zero:
        def __init__(self, _: bytes, digest_size: int) -> None:
            self.size = digest_size

        def hexdigest(self) -> str:
            return "00" * self.size

    monkeypatch.setattr(trace, "blake2b", Zero)
    assert derived_id(7, "turn", 8) == "1" * 16


@pytest.mark.spec("trace.record")
def test_a_span_record_keeps_the_order_of_its_attributes() -> None:
    attributes = (("openinference.span.kind", "CHAIN"), ("session.id", "s"), ("a", 1))
    span = SpanRecord(TRACE, SPAN, "", "hook", "internal", 1, 2, attributes)
    assert span.attributes == attributes
    assert (span.error, span.links) == ("", ())
