from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core import meter
from loom_core.meter import LOOK_BACK, MINUTE, Figures, Meter, count_tokens, measure, minimum

LONG = "weft " * 2000
SHORT = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
MODEL = "claude-sonnet-5"


def text(words: str, marker: Mapping[str, str] | None = None) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "text", "text": words}
    return block if marker is None else {**block, "cache_control": marker}


def user(*blocks: object) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def body(*messages: object, **more: object) -> dict[str, Any]:
    return {"model": MODEL, "messages": list(messages), **more}


def figures_of(*requests: object, apart: int = 0) -> list[Figures]:
    """The figures of requests sent one after the other, `apart` nanoseconds between them."""
    state, found = Meter(), []
    for n, request in enumerate(requests):
        state, figures = measure(state, request, n * apart)
        found.append(figures)
    return found


def test_without_markers_every_token_is_plain_input() -> None:
    first, second = figures_of(body(user(text(LONG))), body(user(text(LONG))))
    assert first == second == Figures(input_tokens=count_tokens(body(user(text(LONG)))))
    assert first.input_tokens > 2000


@pytest.mark.spec("meter.markers")
def test_a_marked_prefix_is_written_once_and_read_the_next_time() -> None:
    request = body(user(text(LONG, SHORT), text("and now?")))
    first, second = figures_of(request, request)
    assert first.cache_read_input_tokens == 0
    assert first.cache_creation_input_tokens == first.ephemeral_5m_input_tokens > 2000
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens
    assert second.cache_creation_input_tokens == 0
    assert second.input_tokens == first.input_tokens == meter.estimate(text("and now?"))


@pytest.mark.spec("meter.markers")
def test_a_prefix_without_a_marker_of_its_own_was_not_written() -> None:
    whole = body(user(text(LONG), text(LONG, SHORT)))
    part = body(user(text(LONG, SHORT)))
    _, second = figures_of(whole, part)
    assert second.cache_read_input_tokens == 0


def test_a_longer_conversation_reads_what_the_shorter_wrote() -> None:
    shorter = body(user(text(LONG, SHORT)))
    longer = body(user(text(LONG)), {"role": "assistant", "content": "yes"}, user(text(LONG, SHORT)))
    first, second = figures_of(shorter, longer)
    assert second.cache_read_input_tokens == first.total
    assert second.cache_creation_input_tokens == second.total - first.total


def test_a_change_before_the_marker_misses() -> None:
    _, second = figures_of(body(user(text("a"), text(LONG, SHORT))), body(user(text("b"), text(LONG, SHORT))))
    assert second.cache_read_input_tokens == 0


@pytest.mark.parametrize(
    "other",
    [
        {"model": "claude-opus-4-1"},
        {"system": "You weave."},
        {"tools": [{"name": "Bash", "input_schema": {}}]},
        {"messages": [{"role": "system", "content": [text(LONG, SHORT)]}]},
    ],
    ids=["model", "system", "tools", "role"],
)
def test_model_system_tools_and_role_are_part_of_the_prefix(other: dict[str, object]) -> None:
    request = body(user(text(LONG, SHORT)))
    _, second = figures_of(request, {**request, **other})
    assert second.cache_read_input_tokens == 0


def test_the_prefix_runs_tools_system_messages_whatever_the_order_of_keys() -> None:
    request = body(user(text("hi")), system=[text(LONG, SHORT)], tools=[{"name": "Bash"}])
    turned = dict(reversed(request.items()))
    first, second = figures_of(request, turned)
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens > 0
    assert second.input_tokens == meter.estimate(text("hi"))


@pytest.mark.spec("meter.content")
def test_a_string_is_one_text_block_and_markers_may_move() -> None:
    first_body = body(user(text(LONG, SHORT)), system=[text("s", HOUR)])
    second_body = body({"role": "user", "content": LONG}, user(text("more", SHORT)), system="s")
    first, second = figures_of(first_body, second_body)
    assert second.cache_read_input_tokens == first.total


def test_a_marker_on_the_request_stands_for_one_on_its_last_block() -> None:
    request = body(user(text(LONG)), cache_control=SHORT)
    first, second = figures_of(request, request)
    assert first.cache_creation_input_tokens == second.cache_read_input_tokens == first.total


def test_equal_blocks_at_two_places_are_two_entries() -> None:
    one = body(user(text(LONG, SHORT)))
    two = body(user(text(LONG), text(LONG, SHORT)))
    first, second = figures_of(one, two)
    assert second.cache_read_input_tokens == first.total < second.total


@pytest.mark.spec("meter.look-back")
@pytest.mark.parametrize(("between", "found"), [(LOOK_BACK - 1, True), (LOOK_BACK, False)])
def test_an_entry_is_found_at_most_20_positions_back(between: int, *, found: bool) -> None:
    first_body = body(user(text(LONG, SHORT)))
    later = [text(f"block {n}") for n in range(between - 1)]
    second_body = body(user(text(LONG), *later, text("last", SHORT)))
    _, second = figures_of(first_body, second_body)
    assert (second.cache_read_input_tokens > 0) is found


@pytest.mark.spec("meter.look-back")
def test_a_second_marker_finds_what_the_last_cannot_see() -> None:
    first_body = body(user(text(LONG, SHORT)))
    later = [text(f"block {n}") for n in range(30)]
    second_body = body(user(text(LONG, SHORT), *later, text("last", SHORT)))
    first, second = figures_of(first_body, second_body)
    assert second.cache_read_input_tokens == first.total


@pytest.mark.spec("meter.expiry")
@pytest.mark.parametrize(("marker", "minutes"), [(SHORT, 5), (HOUR, 60)])
def test_an_entry_lives_until_its_time_is_over(marker: Mapping[str, str], minutes: int) -> None:
    request = body(user(text(LONG, marker)))
    alive = figures_of(request, request, apart=minutes * MINUTE - 1)
    dead = figures_of(request, request, apart=minutes * MINUTE)
    assert alive[1].cache_read_input_tokens == alive[1].total
    assert dead[1].cache_read_input_tokens == 0


@pytest.mark.spec("meter.expiry")
def test_each_use_starts_the_time_again() -> None:
    request = body(user(text(LONG, SHORT)))
    longer = body(user(text(LONG), text("more", SHORT)))
    found = figures_of(request, longer, longer, request, apart=4 * MINUTE)
    reads = [figures.cache_read_input_tokens for figures in found]
    assert reads[1] == found[0].total
    assert reads[2] == found[1].total
    # `longer` reads its own entry the second time: that of `request` was last used 8 minutes before.
    assert reads[3] == 0


@pytest.mark.spec("meter.expiry")
def test_a_short_marker_does_not_shorten_an_hour() -> None:
    requests = [body(user(text(LONG, marker))) for marker in (HOUR, SHORT, SHORT)]
    found = figures_of(*requests, apart=50 * MINUTE)
    assert [figures.cache_read_input_tokens for figures in found] == [0, found[0].total, found[0].total]


@pytest.mark.spec("meter.split")
def test_written_tokens_are_split_at_the_last_hour_marker() -> None:
    request = body(user(text(LONG, SHORT), text("tail")), system=[text(LONG, HOUR)])
    (figures,) = figures_of(request)
    assert figures.ephemeral_1h_input_tokens == meter.estimate(text(LONG))
    assert figures.ephemeral_5m_input_tokens == meter.estimate(text(LONG))
    assert figures.input_tokens == meter.estimate(text("tail"))
    expected = 3.25 * meter.estimate(text(LONG)) + meter.estimate(text("tail"))
    assert figures.cost == pytest.approx(expected)


def test_reading_costs_a_tenth() -> None:
    assert Figures(cache_read_input_tokens=1000).cost == pytest.approx(100)


@pytest.mark.spec("meter.minimum")
@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("claude-opus-4-5-20251101", 4096),
        ("claude-haiku-4-5", 4096),
        ("claude-3-5-haiku-latest", 2048),
        ("claude-opus-4-7", 2048),
        ("claude-opus-5-5", 512),
        ("claude-sonnet-5", 1024),
        ("anything else", 1024),
    ],
)
def test_a_prefix_below_the_minimum_of_its_model_is_not_cached(model: str, tokens: int) -> None:
    assert minimum(model) == tokens
    empty = meter.estimate(text(""))
    enough = text("x" * (tokens - empty) * meter.BYTES_PER_TOKEN, SHORT)
    short = text("x" * (tokens - empty - 1) * meter.BYTES_PER_TOKEN, SHORT)
    (cached,) = figures_of({"model": model, "messages": [user(enough)]})
    (plain,) = figures_of({"model": model, "messages": [user(short)]})
    assert cached == Figures(ephemeral_5m_input_tokens=tokens)
    assert plain == Figures(input_tokens=tokens - 1)


def test_measuring_leaves_the_state_before_it_alone() -> None:
    before, _ = measure(Meter(), body(user(text(LONG, SHORT))), 0)
    kept = dict(before.entries)
    measure(before, body(user(text(LONG, SHORT), text("more", SHORT))), MINUTE)
    assert before.entries == kept


def test_entries_are_bounded_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "MOST_ENTRIES", 3)
    state = Meter()
    requests = [body(user(text(f"{n} {LONG}", SHORT))) for n in range(5)]
    for at, request in enumerate(requests):
        state, _ = measure(state, request, at)
    assert len(state.entries) == 3
    reads = [measure(state, request, 9)[1].cache_read_input_tokens > 0 for request in requests]
    assert reads == [False, False, True, True, True]


def test_a_picture_counts_by_its_content() -> None:
    picture = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "A" * 400_000},
    }
    linked = {"type": "image", "source": {"type": "url", "url": "http://127.0.0.1/a.png"}}
    assert count_tokens(body(user(picture))) == meter.PICTURE_TOKENS
    assert count_tokens(body(user(linked))) < 100


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
markers = st.sampled_from([None, SHORT, HOUR, {"type": "ephemeral", "ttl": 7}, "odd"])
blocks = st.builds(
    lambda size, marker: {"type": "text", "text": "w" * size, "cache_control": marker},
    st.sampled_from([0, 10, 5_000, 9_000]),
    markers,
)
messages = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["user", "assistant", "system"]),
    st.lists(blocks, max_size=4) | st.text(max_size=20),
)
requests = st.fixed_dictionaries(
    {"model": st.just(MODEL), "messages": st.lists(messages, max_size=5)},
    optional={"system": st.text(max_size=9) | st.lists(blocks, max_size=2), "tools": st.lists(blocks)},
)


@pytest.mark.spec("meter.sum")
@given(st.lists(requests, max_size=5), st.integers(0, 70 * MINUTE))
def test_the_figures_add_up_and_none_is_negative(sent: list[dict[str, Any]], apart: int) -> None:
    for request, figures in zip(sent, figures_of(*sent, apart=apart), strict=True):
        assert figures.total == count_tokens(request)
        assert min(figures.input_tokens, figures.cache_read_input_tokens) >= 0
        assert min(figures.ephemeral_5m_input_tokens, figures.ephemeral_1h_input_tokens) >= 0


@given(st.lists(requests, min_size=1, max_size=5))
def test_the_same_request_again_writes_nothing(sent: list[dict[str, Any]]) -> None:
    *_, first, second = figures_of(*sent, sent[-1])
    assert second.cache_creation_input_tokens == 0
    assert second.cache_read_input_tokens == first.total - first.input_tokens


@pytest.mark.spec("meter.total")
@given(json_values | st.dictionaries(st.sampled_from(["model", "messages", "system", "tools"]), json_values))
def test_any_json_value_has_figures(value: object) -> None:
    state, figures = measure(Meter(), value, 1)
    assert figures.total == count_tokens(value)
    assert isinstance(state, Meter)


@pytest.mark.spec("meter.total")
def test_what_json_cannot_carry_counts_as_text() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    odd = ["\ud800", 10**400, {1, 2}, object, deep, float("nan")]
    for value in odd:
        _, figures = measure(Meter(), body(user(value), system=value, tools=[value]), 1)
        assert figures.total > 0
    surrogates = [body(user(text(LONG + lone, SHORT))) for lone in ("\ud800", "\ud801")]
    assert figures_of(*surrogates)[1].cache_read_input_tokens == 0
