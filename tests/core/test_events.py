"""Facts are frozen values, timed by whoever saw them."""

from typing import get_args

import pytest
from msgspec.structs import fields

from loom_core.events import Event
from tests.support import samples

EACH_EVENT = pytest.mark.parametrize("event", samples.events().values(), ids=samples.events())


def test_there_is_a_sample_of_every_event() -> None:
    assert set(samples.events()) == {kind.__name__ for kind in get_args(Event)}


@EACH_EVENT
@pytest.mark.spec("exchange.repeatable")
def test_an_event_carries_its_time_in_whole_nanoseconds(event: Event) -> None:
    assert fields(event)[0].name == "at"
    assert type(event.at) is int


@EACH_EVENT
@pytest.mark.spec("exchange.repeatable")
def test_an_event_cannot_be_changed_and_is_equal_to_its_like(event: Event) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        event.at = 0  # type: ignore[misc]
    assert event == samples.events()[type(event).__name__]
