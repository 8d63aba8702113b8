"""What a call cost at list prices: `prices.toml` beside this file, which tells its date and source."""

import datetime as dt
import re
import tomllib
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

FILE = Path(__file__).with_name("prices.toml")
MILLION = 1_000_000

_SUFFIX = re.compile(r"(?:-\d{8}|-latest)?(?:\[1m\])?")
"""What may follow a priced name: the date of a snapshot, an alias, the client's mark of a long context."""


class Figures(Struct, frozen=True):
    """Tokens of one call. `input` is what was neither read from nor written to the prompt cache."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0

    @property
    def prompt(self) -> int:
        return self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h


class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars for a million tokens. They hold for prompts of `up_to` tokens, 0 for any."""

    input: float
    output: float
    cache_write_5m: float
    cache_write_1h: float
    cache_read: float
    up_to: int = 0


class Prices(Struct, frozen=True, forbid_unknown_fields=True):
    """The file: its date, and the prices by model name."""

    as_of: dt.date
    models: dict[str, Price]


@cache
def prices() -> Prices:
    return msgspec.convert(tomllib.loads(FILE.read_text(encoding="utf-8")), Prices)


def price_of(model: str) -> Price | None:
    """The price of the longest name that `model` begins with, if no more than `_SUFFIX` follows it.

    So a model that came after the file's date has none, though its name begins like an older one's.
    """
    known = prices().models
    fitting = (name for name in known if model.startswith(name) and _SUFFIX.fullmatch(model, len(name)))
    name = max(fitting, key=len, default=None)
    return None if name is None else known[name]


def cost(model: str, figures: Figures) -> float | None:
    """US dollars of one call at list prices, None where the file has no price for it: never a guess."""
    price = price_of(model)
    if price is None or (price.up_to and figures.prompt > price.up_to):
        return None
    dollars = (
        figures.input * price.input
        + figures.output * price.output
        + figures.cache_read * price.cache_read
        + figures.cache_write_5m * price.cache_write_5m
        + figures.cache_write_1h * price.cache_write_1h
    )
    return dollars / MILLION
