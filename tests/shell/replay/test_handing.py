from collections import deque
from collections.abc import Iterator
from socket import SHUT_WR, socket, socketpair

import pytest
from attrs import frozen

from loom_core.actions import Tell
from loom_core.events import CallBegan, RequestChunkReceived, RequestReceived, TimerFired
from loom_core.values import ExchangeKey, Key, TranscriptKey, TurnKey
from loom_shell.replay.handing import MOST, MOST_BYTES, Batch, Receiver, Sender
from loom_shell.replay.happened import What
from tests.support import samples, transcript_samples, turn_samples
from tests.support.turns import AT, call
from tests.support.weaving import ANN, request, rules

X = ExchangeKey("x")
EVENTS = (samples.events(), turn_samples.events(), transcript_samples.events())


@frozen
class Ends:
    ours: socket
    sender: Sender
    receiver: Receiver

    def passed(self, *events: tuple[Key, What]) -> list[tuple[Key, What]]:
        """What comes out of what is handed in, frame by frame."""
        queue, found = deque(events), list[tuple[Key, What]]()
        while queue:
            self.sender.take(queue)
            self.sender.send()
            found += self.receiver.receive(0.0).events
        return found


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socketpair()
    with ours, theirs:
        yield Ends(ours, Sender(ours), Receiver(theirs))


def test_what_is_handed_over_comes_out_as_it_was_and_in_order(ends: Ends) -> None:
    told = Tell(TurnKey("s", ""), CallBegan(AT, X, call("prompt:p"), 7))
    events = [(X, event) for of in EVENTS for event in of.values()]
    handed: list[tuple[Key, What]] = [*events, (X, told), (TranscriptKey("\udcff/p"), None)]
    assert ends.passed(*handed) == handed


def test_rules_of_one_state_of_the_configuration_go_once(ends: Ends) -> None:
    one, other = rules(ANN), rules()
    asked = [request(of=of) for of in (one, one, one, other, one)]
    sizes = []
    for event in asked:
        ends.sender.take(deque([(X, event)]))
        sizes.append(len(ends.sender._items))
        ends.sender.send()
    assert sizes == [2, 1, 1, 2, 2]
    found = [what for _ in asked for _, what in ends.receiver.receive(0.0).events]
    assert found == asked
    first, second = (it.rules for it in found[:2] if isinstance(it, RequestReceived))
    assert first is second


def test_a_frame_is_so_much_and_no_more(ends: Ends) -> None:
    queue = deque[tuple[Key, What]]([(X, TimerFired(1, "t"))] * (MOST + 1))
    assert ends.sender.take(queue) == (MOST, 0)
    half = RequestChunkReceived(1, b"x" * (MOST_BYTES // 2))
    queue = deque[tuple[Key, What]]([(X, half)] * 3)
    ends.sender.send()
    assert ends.sender.take(queue) == (2, MOST_BYTES)


def test_whose_events_found_no_room_is_told_with_what_did(ends: Ends) -> None:
    ends.sender.send((X,))
    assert ends.receiver.receive() == Batch((), (X,))


def test_where_nothing_comes_there_is_nothing_after_so_long(ends: Ends) -> None:
    assert ends.receiver.receive(0.0) == Batch()


@pytest.mark.parametrize("octets", [b"", b"\0\0", b"\0\0\0\x09half"])
def test_a_frame_in_which_the_other_end_died_is_none(ends: Ends, octets: bytes) -> None:
    ends.ours.sendall(octets)
    ends.ours.shutdown(SHUT_WR)
    with pytest.raises(EOFError):
        ends.receiver.receive()
