import pytest

from loom_core.actions import Measure, SendUpstream, SetTimer
from loom_core.events import ClientGone, RequestChunkReceived, UpstreamFailed
from loom_core.values import Cause, ExchangeKey, Figure, TranscriptKey, TurnKey
from loom_shell.inspect import words
from tests.support.samples import AT, asked, events

CREDENTIALS = ("authorization", "X-Api-Key", "cookie", "Set-Cookie", "proxy-authorization")


@pytest.mark.parametrize("name", events())
def test_every_event_is_told_in_one_line(name: str) -> None:
    line = words.line(events()[name])
    assert len(line) <= words.LONGEST + 1
    assert f"{AT}"[:8] not in line, "the time stands beside it"


@pytest.mark.parametrize("name", CREDENTIALS)
@pytest.mark.spec("inspect.credentials")
def test_no_credential_is_told(name: str) -> None:
    lines = ((name.encode(), b"a-secret"), (b"x-app", b"cli"))
    assert words.headers(lines) == f"{name}: (hidden)\nx-app: cli"
    told = words.line(asked(headers=lines))
    assert "a-secret" not in told
    assert f"{name}: (hidden); x-app: cli" in told


def test_fields_without_a_value_are_left_out() -> None:
    assert words.line(ClientGone(AT)) == ""
    assert words.line(UpstreamFailed(AT, Cause.RESET, replayable=False, detail="")) == "cause reset"


def test_bytes_are_counted_and_begin() -> None:
    order = SendUpstream(1, "POST", b"/v1", (), b'{"a":1}', replace_credential=False)
    assert words.line(order) == 'attempt 1, method “POST”, target 3 bytes “/v1”, body 7 bytes “{"a":1}”'
    assert words.size(RequestChunkReceived(AT, b"12345")) == 5
    assert words.size(order) == 0


def test_a_long_list_says_how_many_more_there_are() -> None:
    figures = tuple(Figure(f"f{number}", number) for number in range(9))
    assert (
        words._short(figures, 0)
        == "[Figure(…); Figure(…); Figure(…); Figure(…); Figure(…); Figure(…); 3 more]"
    )
    assert len(words.line(Measure(figures))) <= words.LONGEST + 1


def test_sets_are_told_in_one_order() -> None:
    assert words._short(frozenset({"b", "a"}), 1) == "{“a”; “b”}"
    assert words._short({"k": (1, 2.5)}, 2) == "{“k”: [1; 2.5]}"


def test_a_timer_is_named() -> None:
    assert words.line(SetTimer("back-off", AT)) == "timer “back-off”"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (ExchangeKey("x-1"), "exchange x-1"),
        (TurnKey("s", ""), "turn of s"),
        (TurnKey("", ""), "turn of no session"),
        (TurnKey("s", "a-1"), "agent a-1"),
        (TranscriptKey("/t/x.jsonl"), "transcript /t/x.jsonl"),
    ],
)
def test_a_machine_has_a_name(key: ExchangeKey | TurnKey | TranscriptKey, name: str) -> None:
    assert words.machine(key) == name
