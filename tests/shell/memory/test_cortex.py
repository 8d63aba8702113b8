import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.lookup import Memory, Provenance, Question, Recalled
from loom_shell.memory import Cortex, MemoryTroubleError, NewMemory, cortex, rows, schema

pytestmark = pytest.mark.anyio
PATIENT = 10_000_000_000


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Cortex]:
    made = Cortex(tmp_path)
    yield made
    await made.aclose()


async def told(memory: Cortex, *texts: str, session: str = "", scope: str = "") -> list[str]:
    """The ids of texts that were said one after the other."""
    return [
        (await memory.put(NewMemory(text, at, session=session, scope=scope))).id
        for at, text in enumerate(texts, start=1)
    ]


async def found(memory: Cortex, query: str, **wanted: object) -> list[str]:
    question = Question(query, **{"deadline": PATIENT, **wanted})  # type: ignore[arg-type] # checked by use
    recalled = await memory.search(question)
    assert recalled.trouble == ""
    return [one.id for one in recalled.memories]


def other(path: Path, *statements: str) -> list[tuple[object, ...]]:
    """What another program does with the file."""
    db = sqlite3.connect(path, isolation_level=None)
    try:
        return [row for statement in statements for row in db.execute(statement)]
    finally:
        db.close()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.spec("memory.nearest", "memory.id")
async def test_what_is_nearest_comes_first_and_stems_are_compared(memory: Cortex) -> None:
    ids = await told(memory, "The parser was deployed.", "A parser.", "Deploying parsers is easy.", "Cats.")
    assert ids == ["1", "2", "3", "4"]
    recalled = await memory.search(Question("deploys parsing", deadline=PATIENT))
    assert {one.id for one in recalled.memories} == {"1", "3"}
    scores = [one.score for one in recalled.memories]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0
    stored = await memory.get("4")
    assert stored == Memory("4", "Cats.", 4, Provenance.USER)


@pytest.mark.spec("memory.nearest", "memory.neighbours")
async def test_what_stands_beside_counts_less_than_what_was_said(memory: Cortex) -> None:
    await told(memory, "What is her name?", "Pebble.", "I like that.", session="s")
    await told(memory, *(f"Filler number {i}" for i in range(20)))
    assert await found(memory, "the name") == ["1", "2"]
    best, *beside = await found(memory, "pebbles")
    assert (best, sorted(beside)) == ("2", ["1", "3"])


@pytest.mark.spec("memory.forget", "memory.id")
async def test_what_is_forgotten_is_found_by_nothing_and_its_number_never_used_again(memory: Cortex) -> None:
    await told(memory, "Before.", "The whippet is grey.", "After.", session="s")
    assert await memory.forget("2")
    assert await memory.forget("2"), "it is forgotten, as was asked"
    assert await found(memory, "whippet") == []
    assert await memory.get("2") is None
    assert [one.id for one in await memory.recent(10)] == ["3", "1"]
    assert other(memory.path, "SELECT text FROM memory WHERE forgotten") == [("The whippet is grey.",)]
    await memory.forget("3")
    assert (await memory.put(NewMemory("Next.", 9))).id == "4"


@pytest.mark.spec("memory.forget")
@pytest.mark.parametrize("unknown", ["9", "0", "-1", "", "one", "1.0", "٣", "9" * 40, "1;", "\ud800"])
async def test_what_never_was_is_neither_found_nor_forgotten(memory: Cortex, unknown: str) -> None:
    await told(memory, "One.")
    assert not await memory.forget(unknown)
    assert await memory.get(unknown) is None


@pytest.mark.spec("memory.bounds")
async def test_a_search_keeps_within_limit_and_budget(memory: Cortex) -> None:
    await told(memory, *(f"The loom weaves {'word ' * i}" for i in range(8)))
    assert len(await found(memory, "loom", limit=3)) == 3
    # 16 bytes, then 5 more for each word: 4, 6, 7 tokens.
    assert await found(memory, "loom", budget=10) == ["1", "2"]
    assert await found(memory, "loom", budget=3) == []
    for nothing in ({"limit": 0}, {"limit": -5}, {"budget": 0}):
        assert await found(memory, "loom", **nothing) == []
    assert len(await found(memory, "loom", limit=10**9, budget=10**9)) == 8


async def test_the_newest_come_first_and_none_that_is_older(memory: Cortex) -> None:
    await told(memory, "One.", "Two.", "Three.")
    assert [one.id for one in await memory.recent(2)] == ["3", "2"]
    assert [one.id for one in await memory.recent(9, since=2)] == ["3", "2"]
    assert await memory.recent(0) == await memory.recent(9, since=2**80) == ()


@pytest.mark.spec("memory.no-raise")
@given(
    st.builds(
        Question,
        st.text(st.characters(), max_size=60),
        scope=st.text(st.characters(), max_size=5),
        limit=st.integers(-(2**70), 2**70),
        budget=st.integers(-(2**70), 2**70),
        exclude=st.lists(st.text(st.characters()) | st.integers().map(str), max_size=4).map(tuple),
        min_score=st.floats(),
        provenance=st.frozensets(st.sampled_from(Provenance)),
    )
)
async def test_no_question_makes_a_search_raise(
    tmp_path_factory: pytest.TempPathFactory, question: Question
) -> None:
    memory = Cortex(tmp_path_factory.mktemp("memory"))
    try:
        await told(memory, question.query + " loom")
        assert (await memory.search(question)).trouble == ""
    finally:
        await memory.aclose()


@pytest.mark.spec("memory.deadline")
@pytest.mark.parametrize("deadline", [0, -5])
async def test_without_time_nothing_is_found(memory: Cortex, deadline: int) -> None:
    await told(memory, "The loom.")
    assert await memory.search(Question("loom", deadline=deadline)) == Recalled(trouble="timed out")


@pytest.mark.spec("memory.deadline")
async def test_a_search_that_computes_for_too_long_is_ended_in_its_thread(
    memory: Cortex, monkeypatch: pytest.MonkeyPatch
) -> None:
    await told(memory, "The loom.")
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with monkeypatch.context() as patch:
        patch.setattr(rows, "NEAREST", endless)
        began = time.monotonic()
        assert await memory.search(Question("loom", deadline=50_000_000)) == Recalled(trouble="timed out")
        assert time.monotonic() - began < 5
    # The one thread is free again, with the connection it had.
    assert await found(memory, "loom") == ["1"]


@pytest.mark.spec("memory.deadline", "memory.busy")
async def test_while_the_thread_is_held_up_callers_wait_for_their_deadline_and_no_longer(
    memory: Cortex, monkeypatch: pytest.MonkeyPatch
) -> None:
    await told(memory, "The loom.")
    began, goes_on = threading.Event(), threading.Event()

    def hold(_db: sqlite3.Connection) -> bool:
        began.set()
        return goes_on.wait(20)

    held = asyncio.ensure_future(memory._ask(PATIENT, hold))
    try:
        assert await asyncio.to_thread(began.wait, 20)
        assert await memory.search(Question("loom", deadline=20_000_000)) == Recalled(trouble="timed out")
        monkeypatch.setattr(cortex, "MOST_WAITING", 1)
        assert "too much to do" in (await memory.search(Question("loom"))).trouble
        with pytest.raises(MemoryTroubleError, match="too much to do"):
            await memory.recent(1)
    finally:
        goes_on.set()
    assert await held
    assert await found(memory, "loom") == ["1"]


@pytest.mark.spec("memory.trouble")
async def test_a_locked_file_is_told_and_used_again(memory: Cortex, monkeypatch: pytest.MonkeyPatch) -> None:
    await told(memory, "The loom.")
    monkeypatch.setattr(cortex, "WRITE", 100_000_000)
    db = sqlite3.connect(memory.path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    assert await found(memory, "loom") == ["1"], "a writer does not keep from reading"
    with pytest.raises(MemoryTroubleError, match=r"timed out|locked by another program"):
        await memory.put(NewMemory("Another loom.", 2))
    db.execute("ROLLBACK")
    db.close()
    monkeypatch.setattr(cortex, "WRITE", PATIENT)
    assert await memory.health() == ""
    assert (await memory.put(NewMemory("A third loom.", 3))).text == "A third loom."


@pytest.mark.spec("memory.trouble", "memory.no-raise")
async def test_a_damaged_file_is_told_and_one_put_in_its_place_is_used(memory: Cortex) -> None:
    memory.path.write_bytes(b"no database " * 1000)
    recalled = await memory.search(Question("loom", deadline=PATIENT))
    assert (recalled.memories, "is damaged" in recalled.trouble) == ((), True)
    assert "is damaged" in await memory.health()
    memory.path.unlink()
    assert await memory.health() == ""


@pytest.mark.spec("memory.trouble")
async def test_a_file_that_is_taken_away_is_made_anew(memory: Cortex) -> None:
    await told(memory, "The loom.")
    memory.path.unlink()
    assert await found(memory, "loom") == []
    assert await told(memory, "Another loom.") == ["1"]
    assert other(memory.path, "SELECT text FROM memory") == [("Another loom.",)]


@pytest.mark.spec("memory.trouble")
async def test_a_full_file_is_told_and_keeps_what_it_has(memory: Cortex) -> None:
    await told(memory, "The loom.")
    limit = "PRAGMA max_page_count = 1"
    await memory._ask(PATIENT, lambda db: db.execute(limit).fetchall())
    with pytest.raises(MemoryTroubleError, match="is full: make room"):
        await memory.put(NewMemory("x y " * 10_000, 2))
    assert await found(memory, "loom") == ["1"]
    assert await told(memory, "Room again.") == ["2"]


@pytest.mark.spec("memory.trouble", "memory.no-raise")
@pytest.mark.parametrize("place", ["file/below", "nul\0"])
async def test_a_folder_that_cannot_be_is_told(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    memory = Cortex(tmp_path / place)
    question = Question("loom", deadline=PATIENT)
    assert (await memory.search(question)).trouble.startswith("the memory ")
    assert await memory.health() != ""
    with pytest.raises(MemoryTroubleError, match="the memory "):
        await memory.put(NewMemory("a", 1))
    await memory.aclose()


@pytest.mark.spec("memory.shared")
async def test_another_process_sees_at_once_what_was_stored(memory: Cortex) -> None:
    await told(memory, "The loom.")
    program = (
        "import asyncio, sys; from pathlib import Path; from loom_shell.memory import Cortex, NewMemory\n"
        "async def main():\n"
        "    memory = Cortex(Path(sys.argv[1]))\n"
        "    for i in range(20): await memory.put(NewMemory(f'A loom {i}.', i))\n"
        "    await memory.aclose()\n"
        "asyncio.run(main())"
    )
    folder = str(memory.path.parent)
    run = asyncio.to_thread(subprocess.run, [sys.executable, "-c", program, folder], check=True)
    ours = [await memory.put(NewMemory(f"Our loom {i}.", i)) for i in range(20)]
    await run
    assert len({one.id for one in ours}) == 20
    assert len(await found(memory, "loom", limit=100, budget=10_000)) == 41


@pytest.mark.spec("memory.close")
async def test_a_closed_memory_has_let_go_of_its_file_and_says_so(tmp_path: Path) -> None:
    memory = Cortex(tmp_path)
    await told(memory, "The loom.")
    assert len(files(tmp_path)) == 3, "the file, its log and the log's index"
    await memory.aclose()
    await memory.aclose()
    assert files(tmp_path) == [schema.FILE_NAME], "its log is folded in"
    assert await memory.search(Question("loom")) == Recalled(trouble="the memory is closed")
    with pytest.raises(MemoryTroubleError, match="is closed"):
        await memory.recent(1)


@pytest.mark.spec("memory.tells-forgotten")
async def test_a_search_tells_which_of_those_to_leave_out_were_forgotten(memory: Cortex) -> None:
    await told(memory, "tea at four", "tea at five", "tea at six")
    await memory.forget("1")
    await memory.forget("3")
    for query in ("tea", "", "nothing like it"):
        told_of = await memory.search(
            Question(query, exclude=("3", "2", "odd", "99"), deadline=5_000_000_000)
        )
        assert told_of.forgotten == ("3",)
    assert (await memory.search(Question("tea", deadline=5_000_000_000))).forgotten == ()
