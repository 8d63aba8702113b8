import ast
import asyncio
import inspect
import json
import os
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop

from loom_core.actions import (
    Action,
    EndResponse,
    ExportSpan,
    Keep,
    LogExchange,
    Measure,
    Note,
    Remember,
    Retire,
    SendChunk,
    SendHead,
    SendUpstream,
    SetTimer,
    Tell,
)
from loom_core.events import (
    AgentBegan,
    CallBegan,
    CallEnded,
    ClientGone,
    Event,
    HookReported,
    ObservationDue,
    RequestEnded,
    RequestReceived,
    TimerFired,
    UpstreamChunkReceived,
    UpstreamEnded,
    UpstreamHeadReceived,
)
from loom_core.exchange import AwaitingHead, Finished, Idle, Streaming
from loom_core.rules import Rules
from loom_core.trace import SpanRecord
from loom_core.turn import CallingModel, ProcessingResponse, ShuttingDown
from loom_core.values import Admission, ExchangeKey, Figure, Key, Request, TranscriptKey
from loom_core.woven import WovenIn
from loom_shell.driver import Driver, Labels
from loom_shell.log import Log
from tests.support.turns import AGENT, AT, MAIN, METADATA, ROOT, call, says
from tests.support.wire import until

ONE, OTHER = ExchangeKey("one"), ExchangeKey("other")
ASKED = RequestReceived(1, Request("POST", b"/x", ((b"content-length", b"1"),)), Rules(), Admission.OWN, 7)
STORY: list[Event] = [
    ASKED,
    UpstreamHeadReceived(2, 200, ()),
    UpstreamChunkReceived(3, b"a"),
    UpstreamEnded(4),
]


@contextmanager
def logging_to(path: Path) -> Iterator[Log]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    log = Log(descriptor, "json")
    try:
        yield log
        assert log.close(5.0)
    finally:
        os.close(descriptor)


class Performed(list[Action]):
    """Takes actions in order; those that concern no socket are performed at once, as the relay does."""

    def __init__(self, driver: Driver, key: ExchangeKey) -> None:
        super().__init__()
        self._driver, self._key = driver, key

    def __call__(self, action: Action) -> None:
        self.append(action)
        if isinstance(action, Tell | LogExchange | Note):
            self._driver.do(self._key, action)

    @property
    def kinds(self) -> list[type[Action]]:
        return [type(action) for action in self]


def begun(log: Log, *keys: ExchangeKey) -> tuple[Driver, list[Performed]]:
    driver = Driver(log)
    performed = [Performed(driver, key) for key in keys]
    for key, perform in zip(keys, performed, strict=True):
        driver.begin(key, perform)
    return driver, performed


@pytest.mark.spec("driver.order")
def test_actions_are_performed_in_the_order_of_their_steps(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log") as log:
        driver, (performed,) = begun(log, ONE)
        for event in STORY:
            driver.dispatch(ONE, event)
        assert performed.kinds == [SendUpstream, SendHead, SendChunk, EndResponse, Tell, LogExchange]


@pytest.mark.spec("driver.tell")
def test_a_told_event_is_delivered_after_the_actions_before_it_and_within_the_same_dispatch(
    tmp_path: Path,
) -> None:
    with logging_to(tmp_path / "log") as log:
        driver, (performed,) = begun(log, ONE)
        for event in STORY[:-1]:
            driver.dispatch(ONE, event)
        assert LogExchange not in performed.kinds
        driver.dispatch(ONE, STORY[-1])
        told = next(action for action in performed if isinstance(action, Tell))
        assert told == Tell(ONE, ObservationDue(4))
        assert performed.kinds.index(Tell) == performed.kinds.index(LogExchange) - 1
        assert driver.states() == {ONE: Finished()}


@pytest.mark.spec("driver.tell")
def test_an_event_dispatched_while_actions_are_performed_meets_the_new_state(tmp_path: Path) -> None:
    seen: list[str] = []
    with logging_to(tmp_path / "log") as log:
        driver = Driver(log)

        def perform(action: Action) -> None:
            seen.append(type(action).__name__)
            if isinstance(action, SendUpstream):
                driver.dispatch(ONE, UpstreamHeadReceived(2, 204, ()))
                seen.append(type(driver.states()[ONE]).__name__)

        driver.begin(ONE, perform)
        driver.dispatch(ONE, ASKED)
    assert seen == ["SendUpstream", "SendHead", "Streaming"]


@pytest.mark.spec("driver.tell")
def test_one_machine_may_tell_another(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log") as log:
        driver, (one, other) = begun(log, ONE, OTHER)
        driver.do(ONE, Tell(OTHER, ASKED))
        assert (one.kinds, other.kinds) == ([], [SendUpstream])


@pytest.mark.spec("driver.unknown")
def test_an_event_for_a_machine_that_is_gone_means_nothing(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log") as log:
        driver, (performed,) = begun(log, ONE)
        driver.dispatch(OTHER, ASKED)
        driver.do(ONE, Tell(OTHER, ASKED))
        driver.end(ONE)
        driver.end(ONE)
        driver.dispatch(ONE, ASKED)
        assert performed == []
        assert driver.states() == {}
    assert (tmp_path / "log").read_bytes() == b""


@pytest.mark.spec("driver.unknown")
def test_a_machine_that_ends_while_its_actions_are_performed_ends_quietly(tmp_path: Path) -> None:
    performed: list[Action] = []
    with logging_to(tmp_path / "log") as log:
        driver = Driver(log)

        def perform(action: Action) -> None:
            performed.append(action)
            driver.end(ONE)

        driver.begin(ONE, perform)
        driver.dispatch(ONE, ASKED)
        driver.dispatch(ONE, ClientGone(2))
    assert [type(action) for action in performed] == [SendUpstream]


@pytest.mark.spec("driver.states")
def test_states_is_a_copy_of_what_was_when_it_was_asked_for(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log") as log:
        driver, _ = begun(log, ONE, OTHER)
        before = driver.states()
        driver.dispatch(ONE, ASKED)
        after = driver.states()
        assert before == {ONE: Idle(), OTHER: Idle()}
        assert isinstance(after[ONE], AwaitingHead)
        after.clear()
        driver.dispatch(ONE, UpstreamHeadReceived(2, 200, ()))
        assert isinstance(driver.states()[ONE], Streaming)


@pytest.mark.spec("driver.steps")
def test_dispatch_has_no_await_inside() -> None:
    for method in (Driver.dispatch, Driver.do, Driver.begin, Driver.end):
        assert not inspect.iscoroutinefunction(method)
        tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
        waits = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.Yield, ast.YieldFrom)
        assert [node for node in ast.walk(tree) if isinstance(node, waits)] == []


@pytest.mark.spec("driver.log")
def test_an_exchange_has_one_log_line_and_a_note_its_own_both_with_its_id(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log") as log:
        driver, _ = begun(log, ONE, OTHER)
        for event in STORY:
            driver.dispatch(ONE, event)
        driver.dispatch(OTHER, RequestEnded(1))
    line, note = [json.loads(text) for text in (tmp_path / "log").read_text().splitlines()]
    assert (line["id"], line["path"], line["status"], line["outcome"]) == ("one", "/x", 200, "complete")
    assert (note["id"], note["level"]) == ("other", "warning")
    assert "invalid transition" in note["text"]


@pytest.mark.spec("driver.clock")
def test_the_clock_gives_nanoseconds_since_the_epoch() -> None:
    before = time.time_ns()
    assert before <= Driver.now() <= time.time_ns()


# Turns


BEGAN = CallBegan(AT, ONE, call("prompt:p1", metadata=METADATA), 7)
ENDED = CallEnded(AT + 1, ONE, says("Two."), ok=True, failure="")


class Told:
    """A driver on a loop that keeps what it hands out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spans: list[SpanRecord] = []
        self.values: list[tuple[str, float, Labels]] = []

    @contextmanager
    def driver(self) -> Iterator[Driver]:
        with logging_to(self.path) as log:
            yield Driver(log, self.spans.append, lambda *it: self.values.append(it))

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]


@pytest.mark.spec("tracing.machines")
def test_a_turns_machine_begins_with_its_first_call_and_nothing_else(tmp_path: Path) -> None:
    async def story() -> None:
        with Told(tmp_path / "log").driver() as driver:
            for event in (ENDED, HookReported(AT, "Stop", "p1", "")):
                driver.dispatch(MAIN, event)
            assert driver.states() == {}
            driver.dispatch(ONE, BEGAN)
            assert driver.states() == {}
            driver.do(ONE, Tell(MAIN, BEGAN))
            assert isinstance(driver.states()[MAIN], CallingModel)

    asyncio.run(story())


@pytest.mark.spec("tracing.machines")
def test_a_machine_that_retires_is_forgotten(tmp_path: Path) -> None:
    async def story() -> None:
        with Told(tmp_path / "log").driver() as driver:
            driver.dispatch(MAIN, AgentBegan(AT, AGENT))
            assert driver.states() == {}
            driver.dispatch(MAIN, BEGAN)
            driver.do(MAIN, Retire())
            assert driver.states() == {}

    asyncio.run(story())


@pytest.mark.spec("tracing.machines")
def test_a_subagents_turn_is_placed_by_the_turn_above(tmp_path: Path) -> None:
    told = Told(tmp_path / "log")

    async def story() -> None:
        with told.driver() as driver:
            driver.dispatch(MAIN, BEGAN)
            driver.dispatch(AGENT, CallBegan(AT + 1, OTHER, call("prompt:p1", agent=AGENT.agent), 8))
            driver.end_turns()

    asyncio.run(story())
    (agent,) = (span for span in told.spans if span.name.startswith("agent:"))
    assert (agent.trace_id, agent.parent_id) == (METADATA.trace_id, ROOT)


@pytest.mark.spec("tracing.timers")
def test_a_timer_brings_its_event_when_it_is_due_and_not_before(tmp_path: Path) -> None:
    told = Told(tmp_path / "log")

    async def story() -> None:
        with told.driver() as driver:
            now = driver.now()
            driver.dispatch(MAIN, BEGAN)
            driver.dispatch(
                MAIN, CallEnded(now - 5 * 10**9 + 50_000_000, ONE, says("Two."), ok=True, failure="")
            )
            assert isinstance(driver.states()[MAIN], ProcessingResponse)
            await until(lambda: any(name.startswith("user-turn:") for name in told.names))
            assert driver.now() - now >= 50_000_000

    asyncio.run(story())


@pytest.mark.spec("tracing.timers")
def test_a_timer_of_the_past_fires_at_once_and_one_of_a_machine_that_is_gone_means_nothing(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        with Told(tmp_path / "log").driver() as driver:
            driver.dispatch(MAIN, BEGAN)
            handle = driver.wake(MAIN, SetTimer("turn-silence", 1))
            assert handle.when() <= asyncio.get_running_loop().time()
            driver.end(MAIN)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert driver.states() == {}

    asyncio.run(story())
    assert (tmp_path / "log").read_bytes() == b""


class Hearing(Driver):
    """Hears what its timers bring, and tells no machine."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self.heard: list[TimerFired] = []

    def dispatch(self, key: Key, event: Event, *, is_told: bool = False) -> None:
        if isinstance(event, TimerFired):
            self.heard.append(event)
        else:
            super().dispatch(key, event, is_told=is_told)


@pytest.mark.spec("tracing.one-timer")
@pytest.mark.parametrize("orders", [(10, 20, 60), (60, 10, 20), (60, 20, 10), (30, 60, 20)])
def test_a_timer_that_is_set_again_brings_one_event_when_the_last_order_says(
    tmp_path: Path, orders: tuple[int, ...]
) -> None:
    async def story() -> None:
        with logging_to(tmp_path / "log") as log:
            driver = Hearing(log)
            driver.begin(MAIN, lambda _: None)
            now = driver.now()
            dues = [now + order * 1_000_000 for order in orders]
            for due in dues:
                driver.do(MAIN, SetTimer("turn-end", due))
            await until(lambda: bool(driver.heard))
            # Whatever else was still to wake comes before this, which is due behind all of them.
            driver.do(MAIN, SetTimer("another", max(driver.now(), *dues) + 1_000_000))
            await until(lambda: driver.heard[-1].timer == "another")
            assert [it.timer for it in driver.heard] == ["turn-end", "another"]
            assert driver.heard[0].at >= dues[-1]

    asyncio.run(story())


@pytest.mark.spec("tracing.timers")
def test_the_timers_of_a_machine_end_with_it_and_mean_nothing_to_the_next_of_its_name(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        with logging_to(tmp_path / "log") as log:
            driver = Hearing(log)
            driver.do(MAIN, SetTimer("nobody's", 1))
            for name, due in (("first", 1), ("second", driver.now() + 20_000_000)):
                driver.begin(MAIN, lambda _: None)
                driver.do(MAIN, SetTimer(name, due))
            await until(lambda: bool(driver.heard))
            assert [it.timer for it in driver.heard] == ["second"]

    asyncio.run(story())


@pytest.mark.spec("tracing.routes")
def test_spans_and_values_go_where_they_are_taken(tmp_path: Path) -> None:
    told = Told(tmp_path / "log")
    span = SpanRecord("a" * 32, "b" * 16, "", "one", "internal", 1, 2, ())
    with told.driver() as driver:
        driver.do(ONE, ExportSpan(span))
        driver.do(MAIN, ExportSpan(span))
        driver.do(
            ONE, Measure((Figure("loom.turns", 2.0, (("outcome", "complete"),)), Figure("loom.tokens", 1)))
        )
    assert told.spans == [span, span]
    assert told.values == [("loom.turns", 2.0, (("outcome", "complete"),)), ("loom.tokens", 1, ())]


@pytest.mark.spec("weaver.remember")
def test_what_a_ledger_is_to_be_told_goes_to_who_remembers_and_nowhere_without_one(tmp_path: Path) -> None:
    told: list[Remember] = []
    order = Remember("5c0be", (("source", "ann"), ("u:1", "7")))
    with logging_to(tmp_path / "log") as log:
        for driver in (Driver(log, remember=told.append), Driver(log)):
            driver.do(ONE, order)
    assert told == [order]
    assert (tmp_path / "log").read_bytes() == b""


@pytest.mark.spec("tracing.routes")
def test_an_invalid_transition_is_noted_and_counted_for_exchanges_and_turns(tmp_path: Path) -> None:
    told = Told(tmp_path / "log")
    with told.driver() as driver:
        for key in (ONE, MAIN):
            driver.do(key, Note("invalid transition: RequestEnded in Idle"))
        driver.do(MAIN, Note("something else"))
    labels = (("state", "Idle"), ("event", "RequestEnded"))
    assert told.values == [
        ("loom.transitions.invalid", 1, (("machine", machine), *labels)) for machine in ("exchange", "turn")
    ]
    notes = [json.loads(text) for text in told.path.read_text().splitlines()]
    assert [note["id"] for note in notes] == ["one", f"turn of {MAIN.session}", f"turn of {MAIN.session}"]


@pytest.mark.spec("tracing.end-turns")
def test_when_the_process_ends_every_open_turn_is_exported_once(tmp_path: Path) -> None:
    told = Told(tmp_path / "log")

    async def story() -> None:
        with told.driver() as driver:
            driver.begin(ONE, lambda _: None)
            driver.dispatch(MAIN, BEGAN)
            driver.dispatch(MAIN, ENDED)
            driver.end_turns()
            driver.end_turns()
            assert driver.states() == {ONE: Idle(), MAIN: ShuttingDown()}

    asyncio.run(story())
    assert [name for name in told.names if name.startswith("user-turn:")] == [f"user-turn:{MAIN.session}"]
    assert ("loom.turns", 1, (("outcome", "abandoned"), ("agent", "main"))) in told.values


@pytest.mark.spec("tracing.timers")
def test_a_timer_is_never_told_as_early_however_coarse_the_loops_clock_is(tmp_path: Path) -> None:
    """uvloop rounds to the millisecond, and a turn that hears of its end too early waits for ever."""
    fired: list[Event] = []

    class Listening(Driver):
        def dispatch(self, key: Key, event: Event, *, is_told: bool = False) -> None:  # noqa: ARG002
            fired.append(event)

    async def story() -> None:
        with logging_to(tmp_path / "log") as log:
            driver = Listening(log)
            now = driver.now()
            due = [now + 5_000_000 + number * 430_000 for number in range(20)]
            for number, at in enumerate(due):
                driver.wake(MAIN, SetTimer(f"{number}", at))
            await until(lambda: len(fired) == len(due))
            assert [it for it in fired if isinstance(it, TimerFired) and it.at < due[int(it.timer)]] == []

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())


@pytest.mark.spec("woven.kept")
def test_what_is_to_be_kept_goes_to_who_keeps_it(tmp_path: Path) -> None:
    kept: list[Keep] = []
    order = Keep("a session", WovenIn("ann", 1, 2), b"{}")
    with logging_to(tmp_path / "log") as log:
        Driver(log).do(ONE, order)
        Driver(log, keep=kept.append).do(ONE, order)
    assert kept == [order]


@pytest.mark.spec("journal.outside")
def test_a_journal_is_told_of_what_comes_from_outside_and_when_an_exchange_tells(tmp_path: Path) -> None:
    told: list[tuple[Key, object]] = []
    with logging_to(tmp_path / "log") as log:
        driver = Driver(log, journal=lambda key, what: told.append((key, what)))
        transcript = TranscriptKey("/t/x.jsonl")
        driver.begin(ONE, lambda _: None)
        driver.begin(transcript, lambda _: None)
        driver.dispatch(ONE, ASKED)
        driver.dispatch(OTHER, ASKED)
        news = Tell(ONE, ObservationDue(2))
        driver.do(ONE, news)
        driver.do(MAIN, Tell(ONE, ObservationDue(3)))
    assert told == [(transcript, None), (ONE, ASKED), (ONE, news)]
