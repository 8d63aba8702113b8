from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.events import (
    Event,
    RequestChunkReceived,
    RequestEnded,
    TimerFired,
    UpstreamChunkReceived,
    UpstreamEnded,
    UpstreamHeadReceived,
)
from loom_core.values import ExchangeKey
from loom_shell.replay.happened import Happened
from loom_shell.replay.holding import HELD_BYTES, HELD_SECONDS, Holding
from loom_shell.replay.scrubbing import Scrubber
from tests.support.samples import asked

ONE, OTHER = ExchangeKey("one"), ExchangeKey("other")
KEY = b"sk-ant-api03-AAAAbbbbCCCCdddd"


def holding(*events: Event, at: float = 0.0) -> Holding:
    found = Holding(Scrubber(b"k" * 32))
    for event in events:
        found.add(Happened(ONE, event, at))
    return found


def names(found: Holding, now: float = 0.0) -> list[str]:
    return [type(one.what).__name__ for one in found.ready(now)]


def test_what_comes_behind_a_chunk_waits_with_it_until_the_body_is_whole() -> None:
    found = holding(asked(), RequestChunkReceived(1, b"{"))
    found.add(Happened(OTHER, TimerFired(1, "t")))
    assert names(found) == []
    found.add(Happened(ONE, RequestEnded(1)))
    assert names(found) == ["RequestReceived", "RequestChunkReceived", "TimerFired", "RequestEnded"]


@pytest.mark.spec("journal.held")
def test_nothing_waits_longer_than_ten_seconds() -> None:
    found = holding(UpstreamHeadReceived(1, 200, ()), UpstreamChunkReceived(1, b"x"), at=5.0)
    assert names(found, 5.0 + HELD_SECONDS - 0.1) == ["UpstreamHeadReceived"]
    assert names(found, 5.0 + HELD_SECONDS) == ["UpstreamChunkReceived"]
    assert HELD_SECONDS == 10


@pytest.mark.spec("journal.held")
def test_nothing_waits_beside_too_much_else() -> None:
    found = holding(UpstreamChunkReceived(1, b"x" * (HELD_BYTES // 2)))
    assert names(found) == []
    found.add(Happened(OTHER, UpstreamChunkReceived(1, b"x" * (HELD_BYTES // 2 + 1))))
    assert names(found) == ["UpstreamChunkReceived"]


@pytest.mark.spec("journal.secrets")
@given(st.lists(st.integers(0, 60), max_size=5), st.booleans())
def test_a_secret_in_any_pieces_is_found_however_long_they_take(cuts: list[int], slow: bool) -> None:  # noqa: FBT001
    whole, found = b"data: so it is %b, said he\n\n" % KEY, Holding(Scrubber(b"k" * 32))
    places = [0, *sorted(cuts), len(whole)]
    clean = []
    for begin, end in pairwise(places):
        found.add(Happened(ONE, UpstreamChunkReceived(1, whole[begin:end])))
        clean += [one.clean or b"" for one in found.ready(HELD_SECONDS if slow else 0.0)]
    found.add(Happened(ONE, UpstreamEnded(1)))
    clean += [one.clean or b"" for one in found.ready(0.0)]
    told = b"".join(clean)
    assert len(told) == len(whole)
    assert b"AAAA" not in told
    assert told.startswith(b"data: so it is ")
