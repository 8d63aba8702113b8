"""Profiles from disk, a real store and a real memory, together and apart."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import AsyncMock

import pytest

from loom_core.actions import Decide, LookUp, Recall, Remember
from loom_core.events import DecisionsMade, LookupsAnswered, MemoriesRecalled
from loom_core.lookup import Answers, Entry, Question, Reading, Recalled, ledger_key
from loom_shell import embedded
from loom_shell import weaver as module
from loom_shell.config import load
from loom_shell.log import Log
from loom_shell.memory import Cortex, NewMemory
from loom_shell.redis_line import ask
from loom_shell.weaver import Weaver
from tests.support.deaf import deaf, write_profile
from tests.support.embedded import direct, is_running, pid
from tests.support.store import valkey
from tests.support.wire import until

pytestmark = pytest.mark.anyio

SCOPE = "5c0be"
ASKED = LookUp(Reading(SCOPE, ("a:1", "source"), ("ann:mood",)))
DECIDED = Decide(SCOPE, (Entry("a:1", "first"),))
AGAIN = Decide(SCOPE, (Entry("a:1", "second"),))
SOURCE = Remember(SCOPE, (("source", "ann"),))
TEA = Recall(Question("tea", deadline=5_000_000_000))


class Case:
    """A home under a person's hands, and what its weavers note."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.socket = home / "valkey" / "socket.sock"
        self.path = home.parent / "log"
        (home / "profiles").mkdir(parents=True)

    def write(self, text: str) -> None:
        write_profile(self.home, text)

    @asynccontextmanager
    async def weaver(self, **variables: str) -> AsyncIterator[Weaver]:
        given = {"LOOM_REDIS_DEADLINE_SECONDS": "5", **variables}
        config = load({"home": str(self.home)}, {"HOME": str(self.home), **given})
        with self.path.open("ab") as file:
            log = Log(file.fileno(), "json")
        weaver = Weaver(config, log, lambda *_: None)
        await weaver.start()
        try:
            yield weaver
        finally:
            await weaver.aclose()
            assert log.close(5)

    @property
    def notes(self) -> list[str]:
        return [json.loads(line)["text"] for line in self.path.read_text().splitlines()]


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    """One whose path leaves room for a socket, looked at often."""
    monkeypatch.setattr(module, "TEND_SECONDS", 0.01)
    with TemporaryDirectory(prefix="loom-") as folder:
        one = Case(Path(folder, "home"))
        yield one
        if one.socket.is_socket():
            with suppress(Exception):
                os.kill(pid(one.socket), signal.SIGKILL)


def identity(weaver: Weaver) -> list[str]:
    return [profile.pieces[0].text for profile in weaver.rules.profiles.values()]


async def asked(weaver: Weaver) -> Answers:
    event = await weaver.answer(ASKED)
    assert isinstance(event, LookupsAnswered)
    return event.answers


async def decided(weaver: Weaver, order: Decide = DECIDED) -> tuple[tuple[str, ...], str]:
    event = await weaver.answer(order)
    assert isinstance(event, DecisionsMade)
    return event.values, event.trouble


async def recalled(weaver: Weaver, order: Recall = TEA) -> Recalled:
    event = await weaver.answer(order)
    assert isinstance(event, MemoriesRecalled)
    return event.recalled


@pytest.mark.spec("weaver.nothing", "weaver.same")
async def test_without_a_profile_nothing_is_started_and_everything_is_answered(case: Case) -> None:
    async with case.weaver() as weaver:
        rules = weaver.rules
        assert (rules.profiles, rules.tells) == ({}, True)
        assert await asked(weaver) == Answers()
        assert await decided(weaver) == (("first",), "")
        assert await recalled(weaver) == Recalled()
        weaver.remember(SOURCE)
        await asyncio.sleep(0.05)
        assert weaver.rules is rules
    assert sorted(path.name for path in case.home.iterdir()) == ["profiles"]
    assert case.notes == []


@pytest.mark.spec("weaver.first", "weaver.same", "weaver.close")
async def test_a_first_profile_that_appears_later_starts_it_all_and_a_changed_one_is_taken_up(
    case: Case,
) -> None:
    async with case.weaver() as weaver:
        before = weaver.rules
        case.write("I am Ann.")
        await until(lambda: weaver.rules.profiles)
        assert is_running(case.home)
        assert (identity(weaver), before.profiles) == (["I am Ann."], {})
        rules = weaver.rules
        assert weaver.rules is rules
        assert (await asked(weaver)).trouble == ""
        case.write("I am Ann of the mill.")
        await until(lambda: identity(weaver) == ["I am Ann of the mill."])
        assert weaver.rules is not rules
    assert not is_running(case.home)
    assert case.notes == []


@pytest.mark.spec("weaver.ask", "weaver.close")
async def test_what_is_decided_and_remembered_is_there_for_the_next_process(case: Case) -> None:
    case.write("I am Ann.")
    async with case.weaver() as weaver:
        with direct(case.socket) as one:
            one.set("ann:mood", "Calm.")
        assert await decided(weaver) == (("first",), "")
        assert await decided(weaver, AGAIN) == (("first",), "")
        weaver.remember(SOURCE)
        # Not waited for: closing writes it.
    async with case.weaver(LOOM_WEAVE_HEADERS="false") as weaver:
        assert not weaver.rules.tells
        assert await asked(weaver) == Answers({"a:1": "first", "source": "ann"}, {"ann:mood": "Calm."})


@pytest.mark.spec("weaver.ask", "weaver.close")
async def test_the_memory_is_searched_and_its_thread_ends_with_the_weaver(case: Case) -> None:
    case.write("I am Ann.")
    cortex = Cortex(case.home)
    await cortex.put(NewMemory("Ann likes tea.", 1))
    await cortex.aclose()
    async with case.weaver() as weaver:
        assert [memory.text for memory in (await recalled(weaver)).memories] == ["Ann likes tea."]
        assert [it for it in threading.enumerate() if it.name.startswith("cortex")]
    await until(lambda: not [it for it in threading.enumerate() if it.name.startswith("cortex")])


@pytest.mark.spec("weaver.places")
async def test_another_redis_and_another_cortex_are_used_in_the_place_of_the_embedded_ones(
    case: Case,
) -> None:
    case.write("I am Ann.")
    with valkey() as server:
        variables = {
            "LOOM_REDIS_URL": f"redis://127.0.0.1:{server.port}",
            "LOOM_MEMORY_URL": "http://127.0.0.1:9",
            "LOOM_MEMORY_KEY": "dummy",
        }
        async with case.weaver(**variables) as weaver:
            assert await decided(weaver) == (("first",), "")
            assert (await asked(weaver)).fields == {"a:1": "first"}
            assert (await recalled(weaver)).trouble != ""
        said = ask(("", "", "127.0.0.1", server.port, 0), 5, ("HEXISTS", ledger_key(SCOPE), "a:1"))
    assert said == b":1"
    assert sorted(path.name for path in case.home.iterdir()) == ["profiles"]


@pytest.mark.spec("weaver.without", "weaver.comes", "weaver.ask")
async def test_a_store_that_cannot_be_had_is_noted_once_and_taken_up_when_it_comes(case: Case) -> None:
    case.write("I am Ann.")
    (case.home / "valkey").touch()
    async with case.weaver() as weaver:
        assert identity(weaver) == ["I am Ann."]
        values, trouble = await decided(weaver)
        assert (values, trouble[:10]) == (("first",), "the store:")
        assert (await decided(weaver, AGAIN))[0] == ("first",)
        answers = await asked(weaver)
        assert (answers.fields, answers.is_read) == ({"a:1": "first"}, False)
        await asyncio.sleep(0.05)
        (case.home / "valkey").unlink()
        await until(lambda: len(case.notes) == 2)
        while not (answers := await asked(weaver)).is_read:
            assert answers.fields == {"a:1": "first"}
            await asyncio.sleep(0.02)
        assert (await asked(weaver)).fields == {"a:1": "first"}
        weaver.remember(SOURCE)
    away, there = case.notes
    assert away.startswith("no embedded store: cannot use ")
    assert away.endswith("; until then nothing outlives this process")
    assert there == "the embedded store is there again"
    async with case.weaver() as weaver:
        assert (await asked(weaver)).fields == {"a:1": "first", "source": "ann"}


@pytest.mark.spec("weaver.comes")
async def test_an_embedded_store_that_was_killed_comes_back(case: Case) -> None:
    case.write("I am Ann.")
    async with case.weaver() as weaver:
        assert await decided(weaver) == (("first",), "")
        with direct(case.socket) as one:
            one.execute_command("WAITAOF", "1", "0", "5000")
        killed = pid(case.socket)
        os.kill(killed, signal.SIGKILL)
        await until(lambda: not is_running(case.home))
        assert (await asked(weaver)).fields == {"a:1": "first"}
        while not (answers := await asked(weaver)).is_read:
            assert answers.trouble
            await asyncio.sleep(0.02)
        assert answers.fields == {"a:1": "first"}
        assert pid(case.socket) != killed
    assert not is_running(case.home)


@pytest.mark.spec("weaver.remember", "weaver.close")
async def test_writes_are_bounded_and_nobody_waits_for_them(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WRITES", 3)
    case.write("I am Ann.")
    async with deaf() as store:
        async with case.weaver(LOOM_REDIS_URL=store.url, LOOM_REDIS_DEADLINE_SECONDS="0.2") as weaver:
            for _ in range(9):
                weaver.remember(SOURCE)
            assert len(weaver._tasks) == 3
            await until(lambda: not weaver._tasks)
            weaver.remember(SOURCE)
            assert len(weaver._tasks) == 1
        assert not weaver._tasks


@pytest.mark.spec("weaver.ask")
async def test_a_store_that_never_answers_costs_its_deadline_and_no_more(case: Case) -> None:
    case.write("I am Ann.")
    async with (
        deaf() as store,
        case.weaver(LOOM_REDIS_URL=store.url, LOOM_REDIS_DEADLINE_SECONDS="0.05") as weaver,
        asyncio.timeout(2),
    ):
        answers = await asked(weaver)
        assert (answers.is_read, answers.trouble) == (False, "the store: no answer within 50 ms")
        before, after = (await weaver.answer(DECIDED)).at, (await weaver.answer(ASKED)).at
        assert after - before > 40_000_000
        assert (await decided(weaver))[0] == ("first",)


@pytest.mark.spec("weaver.close")
async def test_an_embedded_store_that_cannot_be_ended_is_noted(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.write("I am Ann.")
    async with case.weaver():
        server = pid(case.socket)
        os.kill(server, signal.SIGSTOP)
        for name in ("ANSWER_SECONDS", "END_SECONDS"):
            monkeypatch.setattr(embedded, name, 0.05)
    os.kill(server, signal.SIGKILL)
    (note,) = case.notes
    assert note.startswith("the embedded store in ")
    assert note.endswith(" was left running: it does not answer")


@pytest.mark.spec("weaver.ask", "weaver.comes")
async def test_the_unforeseen_is_noted_and_tried_again(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = AsyncMock(side_effect=OverflowError)
    async with case.weaver() as weaver:
        with monkeypatch.context() as patch:
            patch.setattr(embedded.Embedded, "start", broken)
            case.write("I am Ann.")
            await until(lambda: "cannot be started (OverflowError)" in "".join(case.notes))
        await until(lambda: weaver.rules.profiles)
        monkeypatch.setattr(Cortex, "search", broken)
        assert (await recalled(weaver)).trouble == "the memory could not be asked (OverflowError)"


async def test_a_broken_profile_is_noted_and_starts_nothing(case: Case) -> None:
    case.write("I am Ann.")
    (case.home / "profiles" / "ann" / "who.md").unlink()
    async with case.weaver() as weaver:
        assert weaver.rules.profiles == {}
    (note,) = case.notes
    assert note.startswith("profile ann is broken and is not used: ")
    assert not (case.home / "valkey").exists()
