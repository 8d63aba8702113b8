"""What was recorded is what happened: the live run and its replay, whatever comes in whatever order."""

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from loom_core import exchange, transcript, turn
from loom_core.actions import Note
from loom_core.events import Event, HookReported
from loom_core.exchange import Streaming
from loom_core.values import ExchangeKey, TurnKey
from loom_shell.replay.checking import Check, Difference, parts
from loom_shell.replay.reading import recorded
from loom_shell.replay.running import stepped
from tests.stories.test_weaving_story import Sessions
from tests.support import arms, processes, recordings, world
from tests.support.conversations import prompt
from tests.support.journalled import RULES, Live
from tests.support.journals import ordered, writing
from tests.support.recordings import FOLDER, STORIES, asked
from tests.support.weaving import AGENT, MAIN, SESSION, WHOSE

RECORDINGS = sorted(FOLDER.glob("*.jsonl"))


def is_plain(event: Event) -> bool:
    """Neither a credential, nor a body that says it is compressed and is not: both are left out."""
    return not any(word in repr(event) for word in ("x-api-key", "content-encoding"))


class Drawn:
    """Exchanges of one process that come between each other in a drawn order, also against all sense."""

    def __init__(self, live: Live, how: st.DataObject) -> None:
        self.live, self.draw = live, how.draw
        self.keys: list[ExchangeKey] = []

    def happens(self) -> None:
        kinds = ["call", "call", "hook", "timer"] + ["any", "flush", "frame", "head", "end"] * bool(self.keys)
        getattr(self, self.draw(st.sampled_from(kinds)))()

    def call(self) -> None:
        whose = self.draw(st.sampled_from([(*WHOSE, MAIN), (*WHOSE, *AGENT), WHOSE[:1], ()]))
        words = self.draw(st.sampled_from(["Tea?", "Milk?", "\N{GRINNING FACE}"]))
        cut = self.draw(st.sampled_from([0, 7]))
        self.keys.append(self.live.asks(asked(prompt(words)), whose, RULES, cut=cut))

    def any(self) -> None:
        self.live.dispatch(self._one(), self.draw(world.anything.filter(is_plain)))

    def flush(self) -> None:
        self.live.flush(self._one(), self.draw(st.integers(1, 3)))

    def head(self) -> None:
        self.live.dispatch(self._one(), self.draw(world.heads.filter(is_plain)))

    def frame(self) -> None:
        key = self._one()
        frames = self.live.frames(key) if key in self.live.up else [b"data: x\n\n"]
        self.live.says(key, self.draw(st.sampled_from(frames)), waits=True)

    def end(self) -> None:
        key = self.keys.pop(self.draw(st.integers(0, len(self.keys) - 1)))
        if self.draw(st.booleans()) and isinstance(self.live.states()[key], Streaming):
            self.live.ends(key)
        else:
            self.live.leaves(key)

    def hook(self) -> None:
        hook = self.draw(st.sampled_from(["Stop", "PostToolUse", ""]))
        self.live.dispatch(TurnKey(SESSION, ""), HookReported(self.live.at(), hook, "", "t"))

    def timer(self) -> None:
        if self.live.timers:
            self.live.fires()

    def _one(self) -> ExchangeKey:
        return self.draw(st.sampled_from(self.keys))


@pytest.mark.hypothesis
@pytest.mark.spec("replay.same", "replay.told", "journal.outside")
@given(st.data())
def test_a_replay_gives_what_the_live_run_gave(how: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "journal")
        with writing(path) as book:
            live = Live(book)
            drawn = Drawn(live, how)
            for _ in range(how.draw(st.integers(1, 25))):
                drawn.happens()
            live.stops()
        did = {key: actions for key, actions in live.did.items() if actions}
        assert ordered(stepped(recorded(path))) == did


@pytest.mark.hypothesis
@pytest.mark.timeout(60 if settings().max_examples < 100 else 3_600)
@pytest.mark.spec("replay.same")
def test_whole_sessions_of_the_story_replay_as_they_went(monkeypatch: pytest.MonkeyPatch) -> None:
    def replayed(passage: processes.Passage) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder, "journal")
            with writing(path) as book:
                for one in passage.heard:
                    book(processes.KEY, one)
            found = ordered(stepped(recorded(path)))
            assert found[processes.KEY] == passage.done

    seen: list[processes.Passage] = []

    class Recorded(Sessions):
        def teardown(self) -> None:
            # The last ones have all of the conversation.
            for passage in seen[-2:]:
                replayed(passage)
            seen.clear()

    monkeypatch.setattr(processes, "BEGUN", seen)
    run_state_machine_as_test(Recorded, settings=settings(stateful_step_count=12, max_examples=15))


@pytest.mark.spec("replay.recordings", "replay.same")
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_a_recording_replays_without_a_difference(path: Path) -> None:
    found = difference(path)
    assert found is None, "\n".join((*found.lines, "If that is meant: just recordings"))


def test_every_story_has_its_recording() -> None:
    assert {path.stem for path in RECORDINGS} == set(STORIES)


@pytest.mark.spec("replay.recordings")
def test_recordings_are_made_anew_byte_for_byte(tmp_path: Path) -> None:
    recordings.record_all(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    assert made == kept, "the recordings are not what the stories make now: just recordings"


def test_no_recording_has_an_event_that_did_not_fit() -> None:
    notes = [
        action.text
        for path in RECORDINGS
        for step in stepped(recorded(path))
        for action in step.actions
        if isinstance(action, Note)
    ]
    assert [note for note in notes if note.startswith("invalid")] == []


def difference(path: Path) -> Difference | None:
    check = Check()
    return next((found for part in parts(recorded(path)) if (found := check.differs(part))), None)


@pytest.mark.spec("replay.anywhere")
@pytest.mark.parametrize("seed", ["1", "4711"])
def test_a_replay_is_the_same_in_another_process_under_another_hash_seed(seed: str, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    command = [sys.executable, "-m", "loom_shell", "replay", str(FOLDER), "--check", "--save", str(saved)]
    subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True)
    again = [sys.executable, "-m", "loom_shell", "replay", str(FOLDER), "--against", str(saved)]
    subprocess.run(again, env={**os.environ, "PYTHONHASHSEED": "2"}, check=True, capture_output=True)


HELPERS = {
    "exchange._back_off": (exchange, "_back_off"),
    "turn._over": (turn, "_over"),
    "turn._ended": (turn, "_ended"),
    "transcript._taken": (transcript, "_taken"),
    "transcript._rewound": (transcript, "_rewound"),
    "transcript._missing": (transcript, "_missing"),
    "transcript._drained": (transcript, "_drained"),
}


@pytest.mark.spec("replay.change")
@pytest.mark.parametrize("helper", HELPERS)
def test_a_changed_part_of_several_arms_is_caught_on_every_recording_that_passes_it(
    helper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name = HELPERS[helper]
    whole, passed = getattr(module, name), list[int]()

    def changed(*args: object, **kwargs: object) -> object:
        passed.append(1)
        found = whole(*args, **kwargs)
        if name == "_ended":
            return (*found, Note("changed"))
        state, actions = found
        return state, (*actions, Note("changed"))

    monkeypatch.setattr(module, name, changed)
    assert all(_caught(RECORDINGS, passed).values())


def _caught(paths: list[Path], passed: list[Any]) -> dict[str, bool]:
    """Of each recording that passes what was changed, whether it is caught."""
    caught = {}
    for path in paths:
        passed.clear()
        found = difference(path)
        if passed:
            caught[path.stem] = found is not None
    assert caught
    return caught


MACHINES = (exchange, turn, transcript)
ARMS = [(machine, arm) for machine in MACHINES for arm in arms.arms(machine)]
UNPASSED = {
    "[Finished() | Concluding(), _]",
    "[Idle(), ClientGone() | ShutdownRequested()]",
    "[_, CallBegan()]",
    "[_, AgentBegan(at=at)]",
    "[WaitingForUser(past), HookReported(hook=hook)] if past.roots",
    "[WaitingForUser(past), TimerFired(timer='turn-silence', at=at)] if at < past.since + FORGOTTEN",
    "_",
}
"""Arms that no recording passes: the last of each machine is for events that do not fit."""


@pytest.fixture(scope="module")
def passing() -> dict[tuple[str, str], list[Path]]:
    """The recordings that pass each arm."""
    found: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for machine in MACHINES:
        for path in RECORDINGS:
            passed = set[str]()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(machine, "step", arms.changed(machine, lambda arm, it: passed.add(arm) or it))  # noqa: B023
                assert difference(path) is None
            for arm in passed:
                found[machine.__name__, arm].append(path)
    return found


@pytest.mark.spec("replay.change")
@pytest.mark.parametrize(("machine", "arm"), ARMS, ids=lambda it: getattr(it, "__name__", it))
def test_a_changed_arm_is_caught_on_every_recording_that_passes_it(
    machine: ModuleType,
    arm: str,
    passing: dict[tuple[str, str], list[Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = passing.get((machine.__name__, arm), [])
    assert (paths == []) == (arm in UNPASSED), "a story of tests/support/recordings.py should pass it"
    if paths:
        passed: list[str] = []
        monkeypatch.setattr(machine, "step", arms.changed(machine, arms.noted(arm, passed)))
        caught = _caught(paths, passed)
        assert caught == dict.fromkeys((path.stem for path in paths), True)
