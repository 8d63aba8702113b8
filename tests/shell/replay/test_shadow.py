from loom_core.actions import Tell
from loom_core.events import CallBegan, HookReported, RequestReceived, TimerFired
from loom_core.values import ExchangeKey, TranscriptKey, TurnKey
from loom_shell.replay.happened import Happened
from loom_shell.replay.scrubbing import Scrubber
from loom_shell.replay.shadow import Shadow
from tests.support.samples import asked
from tests.support.turns import AT, call
from tests.support.weaving import ANN, request, rules

X = ExchangeKey("x")
KEY = "sk-ant-api03-AAAAbbbbCCCCdddd"


def shadow() -> Shadow:
    return Shadow(Scrubber(b"k" * 32))


def test_an_event_is_written_without_its_secrets_and_with_a_digest() -> None:
    event = asked(headers=((b"x-api-key", KEY.encode()), (b"x-word", KEY.encode())))
    record = shadow().happens(Happened(X, event), event, "s")
    assert isinstance(record.event, RequestReceived)
    assert KEY not in repr(record)
    assert (record.session, record.at, len(record.digests[0])) == ("s", event.at, 16)


def test_rules_of_one_state_are_one_value() -> None:
    book, of = shadow(), rules(ANN)
    events = [book.happens(Happened(X, it), it).event for it in (request(of=of), request(of=of))]
    assert isinstance(events[0], RequestReceived)
    assert isinstance(events[1], RequestReceived)
    assert events[0].rules == of
    assert events[0].rules is events[1].rules


def test_names_of_timers_and_hooks_stay() -> None:
    book = shadow()
    for event in (TimerFired(1, "turn-end"), HookReported(1, "Stop", "p", "t")):
        assert book.happens(Happened(TurnKey("s", ""), event), event).event == event


def test_a_path_or_session_that_holds_a_secret_is_named_without_it() -> None:
    event, book = TimerFired(1, "t"), shadow()
    for key in (TurnKey(KEY, ""), TranscriptKey(f"/{KEY}/a")):
        assert KEY not in repr(book.happens(Happened(key, event), event).key)


def test_a_delivery_of_what_nobody_told_has_no_digest() -> None:
    tell = Tell(TurnKey("s", ""), CallBegan(AT, X, call("prompt:p"), 7))
    assert shadow().told(X, tell) == ""


def test_a_machine_that_begins_anew_says_so_once() -> None:
    book, key, event = shadow(), TranscriptKey("/t"), TimerFired(1, "t")
    book.begins(key)
    assert [book.happens(Happened(key, event), event).begins for _ in range(2)] == [True, False]
