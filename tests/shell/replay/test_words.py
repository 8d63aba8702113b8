from loom_core.actions import Note, SendChunk
from loom_core.events import TimerFired, UpstreamChunkReceived
from loom_core.exchange import Idle
from loom_core.values import ExchangeKey, TranscriptKey, TurnKey
from loom_shell.replay.record import Recorded
from loom_shell.replay.running import Stepped
from loom_shell.replay.words import dialogue, of_key, of_value

X, EVENT = ExchangeKey("x-1"), TimerFired(1, "t")


def test_a_dialogue_says_what_came_and_what_followed() -> None:
    record = Recorded(7, 1, X, EVENT)
    own = Stepped(record, X, EVENT, Idle(), Idle(), (Note("a"),))
    told = Stepped(record, TurnKey("s", "a"), EVENT, Idle(), Idle(), (), X)
    assert list(dialogue(record, [own, told])) == [
        "7 exchange x-1 >> TimerFired(at=1, timer='t')",
        "    << Note(text='a')",
        "    exchange x-1 -> turn s of a: TimerFired(at=1, timer='t')",
    ]


def test_long_values_are_cut_and_their_length_told() -> None:
    line = of_value(SendChunk(b"x" * 1_000))
    assert len(line) < 160
    assert line.endswith("… (1000 in all))")


def test_what_a_client_sent_forges_no_line() -> None:
    hostile = "\x1b[2J\n\u202e"
    lines = [
        of_key(ExchangeKey(hostile)),
        of_key(TurnKey(hostile, hostile)),
        of_key(TranscriptKey(hostile)),
        of_value(UpstreamChunkReceived(1, hostile.encode())),
        of_value(Note(hostile)),
    ]
    assert all(line.isprintable() for line in lines)
