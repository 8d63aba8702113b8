"""The whole demonstration, in this process but for the Loom."""

import asyncio
import io
import re
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from rich.console import Console

from loom_shell.demo import show as shows
from loom_shell.demo import stage as stages
from loom_shell.demo.home import MEMORABLE, MEMORY
from loom_shell.demo.screen import Screen
from loom_shell.demo.show import show
from loom_shell.demo.stage import DemoFailed
from loom_shell.simulator import SCENARIOS, Scenario
from loom_shell.simulator.replies import Asked
from loom_shell.simulator.steps import Script, Wait


def _shown(seconds: float = 20.0) -> str:
    out = io.StringIO()
    asyncio.run(show(Screen(Console(file=out, width=80, highlight=False)), 0.0, seconds))
    return out.getvalue()


@pytest.mark.spec("demo.honest")
@pytest.mark.spec("demo.narrow")
@pytest.mark.spec("demo.offline")
def test_the_conversation_is_shown_from_prompt_to_broken_stream() -> None:
    shown = _shown()
    assert [int(number) for number in re.findall(r"^(\d)  ", shown, re.MULTILINE)] == [*range(1, 10)]
    assert re.findall(r"  (\d{3})  ", shown) == ["200"] * 4 + ["429"] + ["200"] * 4
    assert shown.count("equal to a direct call's") == 9
    assert "the Loom noted: upstream broke" in shown
    assert re.search(r"[1-9][\d,]* read from cache", shown)
    assert all(len(line) < 80 for line in shown.splitlines())


@pytest.mark.spec("demo.equal")
def test_an_answer_that_differs_from_a_direct_one_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[float] = []

    def differing(pace: float) -> Scenario:
        """The second simulator made, the twin, speaks with pings and comments between."""
        made.append(pace)
        return SCENARIOS["ok" if len(made) == 1 else "pings-and-comments"]

    monkeypatch.setattr(stages, "watchable", differing)
    with pytest.raises(DemoFailed, match="request 1 differs from the same call made directly: answer body"):
        _shown()


@pytest.mark.spec("demo.ends")
def test_at_its_deadline_the_demo_fails_and_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_: Asked) -> Script:
        """Says nothing."""
        yield Wait(60.0)

    monkeypatch.setattr(stages, "watchable", lambda _: Scenario("silent", silent))
    monkeypatch.setattr(shows, "END_SECONDS", 0.0)
    with pytest.raises(DemoFailed, match="not done in time"):
        _shown(3.0)


@pytest.mark.spec("demo.weaving")
@pytest.mark.spec("demo.prefix")
def test_identity_memorable_and_memory_are_woven_and_the_cache_stays() -> None:
    plain, woven = _shown().split("The same conversation, from a profile")
    assert "woven" not in plain
    flowing = " ".join(woven.split())
    for text in ("You are Alpha.", MEMORABLE, MEMORY):
        assert text in flowing
    assert woven.count("but for 2 woven") == 3
    before, after = woven.split("   after   ")
    assert "+ identity" not in before
    order = ["system[1] ", "+ identity ", "messages[0] ", "+ memories ", "messages[1] "]
    assert sorted(order, key=after.index) == order
    found = re.findall(r"request \d +([\d,]+) tokens read from cache, ([\d,]+) written", after)
    figures = [(int(read.replace(",", "")), int(wrote.replace(",", ""))) for read, wrote in found]
    assert [read for read, _ in figures[1:]] == [read + wrote for read, wrote in figures[:-1]]
    assert len(figures) == 3
    assert figures[-1][1] == 0


@pytest.mark.spec("demo.without")
def test_without_a_store_it_says_so_and_weaves_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    real = stages.furnished

    def storeless(home: Path) -> AbstractAsyncContextManager[tuple[str, ...]]:
        home.mkdir()
        (home / "valkey").touch()
        return real(home)

    monkeypatch.setattr(stages, "furnished", storeless)
    shown = " ".join(_shown().split())
    assert "without no embedded store: cannot use " in shown
    assert "so there is no memorable" in shown
    assert MEMORY in shown
    assert MEMORABLE not in shown
    assert "All the same." in shown


@pytest.mark.spec("demo.woven-equal")
def test_a_woven_call_into_which_nothing_was_woven_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shows, "PROFILE", "nobody")
    with pytest.raises(DemoFailed, match="request 7 went up as its client wrote it: nothing was woven"):
        _shown()
