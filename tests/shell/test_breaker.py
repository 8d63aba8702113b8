import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.breaker import FAILURES, FIRST_WAIT, LONGEST_WAIT, Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened() -> tuple[Breaker, Clock]:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        assert breaker.allows()
        breaker.failed()
    return breaker, clock


@pytest.mark.spec("store.breaker")
def test_it_opens_after_so_many_failures_in_a_row() -> None:
    breaker = Breaker(Clock())
    for _ in range(3):
        for _ in range(FAILURES - 1):
            breaker.failed()
        assert breaker.allows()
        breaker.succeeded()
    assert breaker.standing == "closed"
    for _ in range(FAILURES):
        breaker.failed()
    assert breaker.standing == "open"
    assert not breaker.allows()


@pytest.mark.spec("store.breaker")
def test_after_the_wait_one_call_is_tried() -> None:
    breaker, clock = opened()
    clock.now += FIRST_WAIT - 0.01
    assert not breaker.allows()
    clock.now += 0.01
    assert breaker.allows()
    assert breaker.standing == "half-open"
    assert not breaker.allows()
    breaker.succeeded()
    assert breaker.standing == "closed"
    assert breaker.allows()


@pytest.mark.spec("store.breaker")
def test_the_wait_doubles_up_to_its_bound_and_begins_small_again_after_a_success() -> None:
    breaker, clock = opened()
    waits = []
    for _ in range(9):
        began = clock.now
        while not breaker.allows():
            clock.now += 0.25
        waits.append(clock.now - began)
        breaker.failed()
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert waits[-1] == LONGEST_WAIT
    clock.now += LONGEST_WAIT
    assert breaker.allows()
    breaker.succeeded()
    for _ in range(FAILURES):
        breaker.failed()
    clock.now += FIRST_WAIT
    assert breaker.allows()


def test_a_trial_that_was_cancelled_does_not_close_the_way_for_ever() -> None:
    breaker, clock = opened()
    clock.now += FIRST_WAIT
    assert breaker.allows()
    clock.now += FIRST_WAIT
    assert breaker.allows()


def test_calls_that_began_before_it_opened_do_not_lengthen_the_wait() -> None:
    breaker, clock = opened()
    for _ in range(20):
        breaker.failed()
    clock.now += FIRST_WAIT
    assert breaker.allows()


@given(st.lists(st.sampled_from(["ask", "failed", "succeeded", 0.3, 5.0, 40.0])))
def test_whatever_happens_a_call_is_allowed_within_the_longest_wait(steps: list[str | float]) -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for step in steps:
        match step:
            case "ask":
                breaker.allows()
            case "failed":
                breaker.failed()
            case "succeeded":
                breaker.succeeded()
            case float():
                clock.now += step
    clock.now += LONGEST_WAIT
    assert breaker.allows()
