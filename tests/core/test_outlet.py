import pytest
from msgspec.structs import replace as evolve

from loom_core.actions import Publish
from loom_core.jsonl import RawLine
from loom_core.outlet import BackingOff, Free, Outlet, Publishing
from loom_core.position import Position
from loom_core.publication import MAX_LINES, Source, unpublished

LINES = unpublished(
    Source("s", "/p", "7"), tuple(RawLine(3 * n, 3 * n + 3, b"{}") for n in range(MAX_LINES + 2))
)
START = Position(1, "6")


def order(outlet: Outlet, count: int, first: int = 0) -> Publish:
    lines = LINES[first : first + count]
    return Publish(tuple(one.line for one in lines), outlet.kept, lines[-1].position)


@pytest.mark.spec("transcripts.batch")
def test_lines_go_at_once_if_no_batch_is_under_way_and_else_wait() -> None:
    outlet, orders = Outlet(START).joined(LINES[:2])
    assert orders == (order(Outlet(START), 2),)
    assert (outlet.queue, outlet.under_way) == ((), LINES[:2])
    outlet, orders = outlet.joined(LINES[2:])
    assert orders == ()
    assert (outlet.queue, outlet.under_way) == (LINES[2:], LINES[:2])
    outlet, orders = outlet.published(LINES[1].position)
    assert outlet.kept == LINES[1].position
    assert orders == (order(outlet, MAX_LINES, 2),)
    assert outlet.published(LINES[-1].position) == (Outlet(LINES[-1].position), ())


@pytest.mark.spec("transcripts.again")
def test_a_batch_that_is_tried_again_is_the_same() -> None:
    outlet, orders = Outlet(START).joined(LINES[:2])
    waiting = evolve(outlet, phase=BackingOff(LINES[:2], 1))
    assert waiting.joined(LINES[2:]) == (evolve(waiting, queue=LINES[2:]), ())
    assert evolve(waiting, phase=Publishing(LINES[:2], 1)).order == orders[0]


def test_nothing_to_publish_orders_nothing() -> None:
    assert Outlet(START).joined(()) == (Outlet(START), ())
    assert (Outlet(START).phase, Outlet(START).under_way, Outlet(START).has_room) == (Free(), (), True)
    assert Outlet(START).order == Publish((), START, START)


@pytest.mark.spec("transcripts.held")
def test_what_is_under_way_takes_room_too() -> None:
    outlet, _ = Outlet(START).joined(LINES * 3)
    assert outlet.has_room
    outlet, _ = outlet.joined(LINES)
    assert not outlet.has_room
