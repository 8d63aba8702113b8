"""The whole demonstration, in this process but for the Loom."""

import asyncio
import io
import re

import pytest
from rich.console import Console

from loom_shell.demo import show as shows
from loom_shell.demo import stage as stages
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
    assert [int(number) for number in re.findall(r"^(\d)  ", shown, re.MULTILINE)] == [1, 2, 3, 4, 5, 6]
    assert re.findall(r"  (\d{3})  ", shown) == ["200", "200", "200", "200", "429", "200"]
    assert shown.count("equal to a direct call's") == 6
    assert "the Loom noted: upstream broke" in shown
    assert "nothing: 0 edits" in shown
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
    with pytest.raises(DemoFailed, match="not done after 3 seconds"):
        _shown(3.0)
