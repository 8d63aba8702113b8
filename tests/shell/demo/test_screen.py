"""What a person sees, on a terminal and elsewhere."""

import io
import json
from collections import Counter

import pytest
from rich.console import Console
from rich.text import Text

from loom_shell.demo import conversation
from loom_shell.demo.conversation import Call, Outcome, Wanted
from loom_shell.demo.places import Part
from loom_shell.demo.screen import Report, Screen, laid_out, rows
from loom_shell.demo.tap import Passed
from loom_shell.demo.woven import Cache, Woven

WOVEN = Part("system[1]", {"type": "text", "text": "I am Ann."})
FRAMES = Counter({"message_start": 1, "content_block_delta": 24, "content_block_stop": 3, "message_stop": 1})


def _passed(status: int | None = 200, frames: Counter[str] | None = None) -> Passed:
    lines = ((b"Content-Type", b"text/event-stream; charset=utf-8"),)
    return Passed(
        "POST", b"/v1/messages", b"x" * 1234, 1.0, status, lines, bytearray(99), frames or Counter(), "ping"
    )


def _plain(width: int = 80) -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    return Screen(Console(file=out, width=width, highlight=False)), out


@pytest.mark.spec("demo.honest")
def test_a_finished_call_shows_status_frames_tokens_times_and_bytes() -> None:
    passed = _passed(frames=FRAMES)
    passed.first_byte, passed.ended = 1.004, 1.2
    tokens = {"input": 7, "output": 55, "cache_read": 1319, "cache_creation": 0}
    line = {"outcome": "complete", "tokens": tokens}
    screen, out = _plain()
    screen.finished(Report(2, conversation.opening(), Outcome(), passed, line))
    said = out.getvalue()
    for part in (
        "2 A prompt, and two tools on offer",
        "POST /v1/messages 200 an event stream",
        "29: message_start, 24×content_block_delta, 3×content_block_stop",
        "7 in, 0 written to cache, 1,319 read from cache, 55 out",
        "first byte after 4.0 ms, last after 200 ms",
        "1,234 up, 99 down, equal to a direct call's",
        conversation.PROMPT,
    ):
        assert part in " ".join(said.split())
    assert "the Loom noted" not in said


@pytest.mark.spec("demo.broken")
def test_an_error_and_what_the_loom_noted_are_shown() -> None:
    call = Call("broken", Wanted.BREAK, conversation.opening().messages)
    got = Outcome(error="RemoteProtocolError: peer closed", retry_after="1")
    told = {
        name: str(value)
        for name, value in rows(Report(6, call, got, _passed(), {"outcome": "upstream broke"}))
    }
    assert told["error"] == "RemoteProtocolError: peer closed"
    assert told["log"] == "the Loom noted: upstream broke"
    assert told["header"] == "retry-after: 1"
    assert "user" not in told


@pytest.mark.spec("demo.narrow")
@pytest.mark.parametrize("width", [80, 60])
def test_long_values_are_wrapped_below_themselves(width: int) -> None:
    console = Console(width=width)
    long = "経糸と緯糸 " * 30
    lines = list(laid_out(console, [("label", long)]))
    assert len(lines) > 2
    assert all(line.cell_len < width and line.plain == line.plain.rstrip() for line in lines)
    assert lines[0].plain.startswith("   label        経糸")
    assert lines[1].plain.startswith(" " * 16 + "経糸")


@pytest.mark.spec("demo.plain")
def test_elsewhere_than_on_a_terminal_nothing_is_shown_while_a_call_runs() -> None:
    screen, out = _plain()
    with screen.watching(1, conversation.opening()) as watch:
        watch.text("some words")
        watch.passing(_passed(frames=FRAMES))
    assert out.getvalue() == ""


def test_on_a_terminal_the_text_and_the_newest_frames_are_shown_live() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    passed = _passed(frames=Counter())
    with Screen(console).watching(1, conversation.opening()) as watch:
        watch.text("some ")
        watch.text("words")
        for name in ("message_start", "ping", "content_block_start", "content_block_delta"):
            passed.frames[name] += 1
            passed.newest = name
            watch.passing(passed)
    said = out.getvalue()
    assert "some words" in said
    assert "4: …, ping, content_block_start, content_block_delta" in said
    assert said.rstrip("\r").endswith("\x1b[2K"), "it is gone when the call is done"


@pytest.mark.spec("demo.weaving")
@pytest.mark.spec("demo.prefix")
def test_a_woven_request_is_shown_before_and_after_with_the_clipped_texts_and_the_cache() -> None:
    own = b'{"system":[{"type":"text","text":"Be brief."}'
    rest = b'],"messages":[{"role":"user","content":[{"type":"text","text":"Tea?"}]}]}'
    prose = {"type": "text", "text": "I am\nAnn. " + "word " * 100}
    up = own + b"," + json.dumps(prose, separators=(",", ":")).encode() + rest
    screen, out = _plain()
    screen.woven([Woven(7, own + rest, up, (Part("system[1]", prose),), Cache(1_303, 405))])
    said = out.getvalue()
    before, after = said.split("after   ")
    assert f"request 7 as its client wrote it, {len(own + rest)} bytes" in before
    assert "   system[0]    text\n   messages[0]  user: text\n" in before
    assert "+" not in before
    assert f"as it went up, {len(up)} bytes: 1 block more, the rest to the byte\n" in after
    assert "   + identity   system[1], about " in after
    assert f"{' ' * 16}I am Ann. word " in after
    assert "word …\n" in after
    assert after.count("word") < 70
    assert "   request 7    1,303 tokens read from cache, 405 written to it\n" in after
    assert all(len(line) < 80 for line in said.splitlines())


@pytest.mark.spec("demo.weaving")
def test_a_finished_call_says_what_was_woven_into_it() -> None:
    passed = _passed()
    passed.lines = (*passed.lines, (b"X-Loom-Woven", b"identity=3,sticky=0,tokens=3"))
    report = Report(7, conversation.opening(), Outcome(), passed, {"outcome": "complete"}, (WOVEN,))
    told = {name: str(value) for name, value in rows(report)}
    assert told["header"] == "x-loom-woven: identity=3,sticky=0,tokens=3"
    assert told["bytes"] == "1,234 up, 99 down, equal to a direct call's but for 1 woven block"


@pytest.mark.spec("demo.without")
def test_what_is_lacking_is_a_line() -> None:
    screen, out = _plain()
    screen.lacks(())
    assert out.getvalue() == ""
    screen.lacks(("no store: [red]none[/red]",))
    assert out.getvalue() == "   without      no store: [red]none[/red]\n"


def test_the_end_counts_everything_that_passed() -> None:
    screen, out = _plain()
    screen.closed([_passed(), _passed()], 1, 1.25)
    said = out.getvalue().replace("\n", " ")
    assert "2 requests (2,468 bytes) and their answers (198 bytes)" in said
    assert "made without it, 1 of them but for the blocks that were woven in. " in said
    screen.closed([_passed()], 0, 1.25)
    assert "to the same call made without it. " in out.getvalue().replace("\n", " ")
    assert "ANTHROPIC_BASE_URL=http://127.0.0.1:8080 claude" in out.getvalue()


def test_markup_in_what_a_model_says_is_text() -> None:
    console = Console(width=80)
    assert [line.plain for line in laid_out(console, [("says", "[bold]x[/bold]")])] == [
        "   says         [bold]x[/bold]"
    ]
    assert isinstance(next(iter(laid_out(console, [("a", Text("b"))]))), Text)
