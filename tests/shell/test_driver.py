import ast
import inspect
import json
import os
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loom_core.actions import Action, EndResponse, LogExchange, Note, SendChunk, SendHead, SendUpstream, Tell
from loom_core.events import (
    ClientGone,
    Event,
    ObservationDue,
    RequestEnded,
    RequestReceived,
    UpstreamChunkReceived,
    UpstreamEnded,
    UpstreamHeadReceived,
)
from loom_core.exchange import AwaitingHead, Finished, Idle, Streaming
from loom_core.rules import Rules
from loom_core.values import Admission, ExchangeKey, Request
from loom_shell.driver import Driver
from loom_shell.log import Log

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
