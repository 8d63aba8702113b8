"""A memory that answers when the test says so."""

import asyncio

import pytest

from loom_core.lookup import Memory, Question, Recalled
from loom_shell import late
from loom_shell.late import LateSearch
from loom_shell.memory import TIMED_OUT
from tests.support.wire import until

pytestmark = pytest.mark.anyio
SOON = 1_000_000
AMPLE = 10_000_000_000


class Slow:
    """Answers each search once its gate is open."""

    def __init__(self) -> None:
        self.gates: list[asyncio.Event] = []
        self.asked: list[Question] = []

    async def search(self, question: Question) -> Recalled:
        number, gate = len(self.gates), asyncio.Event()
        self.gates.append(gate)
        self.asked.append(question)
        await gate.wait()
        return Recalled((Memory(f"{number}", "words"), Memory("same", "words")))


async def ended(search: LateSearch) -> None:
    await asyncio.gather(*search._running)
    await asyncio.sleep(0)


def ids(found: Recalled) -> list[str]:
    return [memory.id for memory in found.memories]


@pytest.mark.spec("weaver.late")
async def test_what_comes_late_is_for_the_next_prompt_of_its_conversation() -> None:
    memory = Slow()
    search = LateSearch(memory.search)
    assert await search.search("a", Question("one", deadline=SOON)) == Recalled(trouble=TIMED_OUT)
    memory.gates[0].set()
    await ended(search)
    other = asyncio.create_task(search.search("b", Question("two", deadline=AMPLE)))
    next_ = asyncio.create_task(search.search("a", Question("three", deadline=AMPLE)))
    await until(lambda: len(memory.gates) == 3)
    for gate in memory.gates:
        gate.set()
    assert ids(await other) == ["1", "same"]
    assert ids(await next_) == ["0", "same", "2"], "the late ones first, none twice"
    memory.gates.clear()
    again = asyncio.create_task(search.search("a", Question("four", deadline=AMPLE)))
    await until(lambda: bool(memory.gates))
    memory.gates[0].set()
    assert ids(await again) == ["0", "same"], "once only"
    await search.aclose()


@pytest.mark.spec("weaver.late")
async def test_late_searches_and_what_they_found_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late, "MOST_LATE", 2)
    monkeypatch.setattr(late, "MOST_WAITING", 1)
    memory = Slow()
    search = LateSearch(memory.search)
    for scope in ("a", "b"):
        await search.search(scope, Question("x", deadline=SOON))
    assert [asked.deadline for asked in memory.asked] == [late.LATE, late.LATE]
    third = asyncio.create_task(search.search("c", Question("x", deadline=SOON)))
    await until(lambda: len(memory.gates) == 3)
    assert memory.asked[2].deadline == SOON, "it ends by itself"
    for gate in memory.gates:
        gate.set()
    await third
    await ended(search)
    assert set(search._waiting) == {"b"}
    await search.aclose()


@pytest.mark.spec("weaver.late")
async def test_a_client_that_leaves_and_the_end_leave_no_search_behind() -> None:
    memory = Slow()
    search = LateSearch(memory.search)
    asking = asyncio.create_task(search.search("a", Question("x", deadline=AMPLE)))
    await until(lambda: bool(memory.gates))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await search.search("a", Question("y", deadline=SOON))
    await search.aclose()
    assert not search._running
    assert not search._waiting
