import datetime as dt
import math

import pytest

from loom_shell.prices import Figures, cost, price_of, prices


@pytest.mark.spec("turns.prices")
def test_each_kind_of_token_costs_what_the_file_says() -> None:
    figures = Figures(
        input=1_000_000, output=100_000, cache_read=10_000, cache_write_5m=1_000, cache_write_1h=100
    )
    told = cost("claude-opus-4-5", figures)
    assert told is not None
    assert math.isclose(told, 5 + 2.5 + 0.005 + 0.00625 + 0.001)


@pytest.mark.spec("turns.prices")
@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku"),
        ("claude-opus-5-5[1m]", "claude-opus-5-5"),
        ("claude-opus-5", "claude-opus-5"),
    ],
)
def test_a_dated_name_or_an_alias_is_priced_as_its_model(model: str, name: str) -> None:
    assert price_of(model) == prices().models[name]


@pytest.mark.spec("turns.prices-unknown")
@pytest.mark.parametrize(
    "model",
    ["", "claude", "claude-opus-5-9", "claude-opus-50", "claude-opus-4-5-fast", "gpt-6", "x-claude-opus-5"],
)
def test_a_model_that_is_not_in_the_file_has_no_cost(model: str) -> None:
    assert cost(model, Figures(input=1)) is None


@pytest.mark.spec("turns.prices-unknown")
def test_a_prompt_longer_than_the_prices_hold_for_has_no_cost() -> None:
    assert cost("claude-haiku-5-5", Figures(input=60_000, cache_read=40_000)) is not None
    assert cost("claude-haiku-5-5", Figures(input=60_000, cache_read=40_001)) is None


@pytest.mark.spec("turns.prices")
def test_the_file_has_a_date_and_plausible_prices() -> None:
    assert dt.date(2026, 1, 1) < prices().as_of
    for name, price in prices().models.items():
        assert 0 < price.cache_read < price.input < price.cache_write_5m < price.cache_write_1h, name
        assert price.cache_write_1h < price.output, name
