from collections.abc import Awaitable, Callable

import pytest

from loom_shell.patterns import KEPT_SECONDS, MOST_KEYS, PATTERNS, ROUNDS, Patterns, match

pytestmark = pytest.mark.anyio
P = "hud:*"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def pages(*steps: list[str]) -> tuple[Callable[[int, str], Awaitable[tuple[int, list[str]]]], list[int]]:
    """A key space of so many pages; what is asked for is noted."""
    asked: list[int] = []

    async def scan(cursor: int, pattern: str) -> tuple[int, list[str]]:
        asked.append(cursor)
        return (cursor + 1) % len(steps), steps[cursor]

    return scan, asked


@pytest.mark.spec("store.patterns")
async def test_keys_are_sorted_and_stand_for_a_while() -> None:
    clock = Clock()
    patterns = Patterns(clock)
    scan, asked = pages(["b", "a"], [], ["a", "c"])
    assert patterns.is_due(P)
    assert patterns.keys(P) == ()
    await patterns.search(P, scan, 1.0)
    assert patterns.keys(P) == ("a", "b", "c")
    assert patterns.trouble(P) == ""
    assert asked == [0, 1, 2]
    clock.now += KEPT_SECONDS - 0.1
    assert not patterns.is_due(P)
    clock.now += 0.1
    assert patterns.is_due(P)
    await patterns.search(P, pages(["z"])[0], 99.0)
    assert patterns.keys(P) == ("z",)


@pytest.mark.spec("store.patterns")
async def test_a_pass_goes_on_where_the_last_request_left_it() -> None:
    patterns = Patterns(Clock())
    scan, asked = pages(*([f"k{n:02}"] for n in range(2 * ROUNDS + 5)))
    for ends in (ROUNDS, 2 * ROUNDS):
        await patterns.search(P, scan, 1.0)
        assert len(patterns.keys(P)) == ends == len(asked)
        assert patterns.trouble(P)
        assert patterns.is_due(P)
    await patterns.search(P, scan, 1.0)
    assert asked == [*range(2 * ROUNDS + 5)]
    assert len(patterns.keys(P)) == 2 * ROUNDS + 5
    assert patterns.trouble(P) == ""
    assert not patterns.is_due(P)


async def test_while_a_later_pass_is_not_whole_the_keys_of_the_last_one_stand() -> None:
    clock = Clock()
    patterns = Patterns(clock)
    await patterns.search(P, pages(["a", "b"])[0], 1.0)
    clock.now += KEPT_SECONDS
    await patterns.search(P, pages(*([str(n)] for n in range(ROUNDS + 1)))[0], 99.0)
    assert patterns.keys(P) == ("a", "b")
    assert patterns.is_due(P)


async def test_no_scan_begins_when_the_time_is_over_and_none_beside_another() -> None:
    clock = Clock()
    patterns = Patterns(clock)

    async def slow(cursor: int, pattern: str) -> tuple[int, list[str]]:
        assert not patterns.is_due(P)
        clock.now += 0.6
        return 1, ["a"]

    await patterns.search(P, slow, 1.0)
    assert clock.now == 1.2
    assert patterns.keys(P) == ("a",)
    assert patterns.is_due(P)


async def test_what_a_scan_raises_leaves_what_was_seen() -> None:
    patterns = Patterns(Clock())

    async def broken(cursor: int, pattern: str) -> tuple[int, list[str]]:
        if cursor:
            raise OSError
        return 1, ["a"]

    with pytest.raises(OSError):
        await patterns.search(P, broken, 1.0)
    assert patterns.keys(P) == ("a",)
    assert patterns.is_due(P)


async def test_of_too_many_keys_the_first_in_order_are_told_whatever_the_order_they_came_in() -> None:
    names = [f"k{n:04}" for n in range(300)]
    for order in (names, names[::-1]):
        patterns = Patterns(Clock())
        await patterns.search(P, pages(order[:200], order[200:])[0], 1.0)
        assert patterns.keys(P) == tuple(names[:MOST_KEYS])
        assert "more than 50" in patterns.trouble(P)


async def test_patterns_are_bounded_in_number() -> None:
    patterns = Patterns(Clock())
    for n in range(PATTERNS + 1):
        await patterns.search(f"{n}:*", pages(["a"])[0], 1.0)
    assert patterns.is_due("0:*")
    assert not patterns.is_due("1:*")


@pytest.mark.parametrize(
    ("pattern", "meant"), [("hud:*", "hud:*"), ("a[b]?c^*", r"a\[b\]\?c\^*"), ("a\\*", "a\\\\*")]
)
async def test_only_the_star_means_something(pattern: str, meant: str) -> None:
    assert match(pattern) == meant
