import asyncio
import json
import logging
import os
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as evolve

from loom_core.actions import LogExchange
from loom_core.message import Block, Seen
from loom_core.woven import WovenIn
from loom_shell.log import Clock, Form, Log, LoggingBridge, form_for
from loom_shell.secret import Secret

RECORD = LogExchange(
    method="POST",
    path=b"/v1/messages",
    status=200,
    attempts=1,
    received=512,
    relayed=2048,
    to_head=12_345_678,
    total=1_500_000_000,
    outcome="complete",
    detail="",
    seen=None,
)
SEEN = Seen(
    message_id="msg_1",
    model="claude-x",
    stop_reason="end_turn",
    input_tokens=12,
    output_tokens=0,
    cache_read=None,
    cache_creation=7,
    blocks=(Block("text", "what nobody logs"),),
)


class Written:
    """A log and what it wrote."""

    def __init__(self, form: Form) -> None:
        self._read_end, write_end = os.pipe()
        self.log = Log(write_end, form)
        os.close(write_end)
        self._parts: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while part := os.read(self._read_end, 65536):
            self._parts.append(part)

    def bytes(self) -> bytes:
        assert self.log.close(10)
        self._reader.join(10)
        os.close(self._read_end)
        return b"".join(self._parts)

    def lines(self) -> list[str]:
        return self.bytes().decode().splitlines()

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines()]


def exchange_line(record: LogExchange, form: Form = "json") -> str:
    written = Written(form)
    written.log.exchange("x1", record)
    (line,) = written.lines()
    return line


@pytest.mark.spec("log.exchange")
def test_an_exchange_is_one_line_with_its_fields() -> None:
    line = json.loads(exchange_line(RECORD))
    then = datetime.fromisoformat(line.pop("time"))
    assert then.tzinfo == UTC
    assert abs((datetime.now(UTC) - then).total_seconds()) < 60
    assert line == {
        "level": "info",
        "id": "x1",
        "method": "POST",
        "path": "/v1/messages",
        "status": 200,
        "attempts": 1,
        "bytes_up": 512,
        "bytes_down": 2048,
        "ms_to_head": 12.346,
        "ms": 1500.0,
        "outcome": "complete",
    }


@pytest.mark.spec("log.exchange")
def test_what_upstream_said_is_in_the_line_and_its_content_is_not() -> None:
    line = exchange_line(evolve(RECORD, seen=SEEN, detail="a detail"))
    read = json.loads(line)
    assert read["detail"] == "a detail"
    assert read["model"] == "claude-x"
    assert read["stop_reason"] == "end_turn"
    assert read["tokens"] == {"input": 12, "output": 0, "cache_creation": 7}
    assert "error" not in read
    assert "nobody logs" not in line
    assert json.loads(exchange_line(evolve(RECORD, seen=Seen(error="overloaded_error"))))["error"] == (
        "overloaded_error"
    )
    assert "tokens" not in json.loads(exchange_line(evolve(RECORD, seen=Seen())))


@pytest.mark.spec("log.woven")
@pytest.mark.parametrize(
    ("woven", "outcome", "tokens"),
    [
        (WovenIn("ann", 1, 2, identity=100, sticky=20, ephemeral=3, decided="woven"), "woven", 123),
        (WovenIn("ann", 1, 2, identity=100, decided="empty"), "empty", 100),
        (WovenIn("ann", 1, 2, sticky=20, replayed=1), "replayed", 20),
        (WovenIn("ann", 1, 2), "nothing", 0),
        (WovenIn("ann", 1, 2, trouble="the store: away", missing="store"), "unwoven", 0),
    ],
)
def test_what_was_woven_into_a_request_is_in_its_line(woven: WovenIn, outcome: str, tokens: int) -> None:
    record = evolve(RECORD, seen=SEEN, woven=woven)
    told = json.loads(exchange_line(record))
    assert told["woven"] == {"profile": "ann", "tokens": tokens, "outcome": outcome}
    assert told["level"] == "info"
    assert exchange_line(record, "text").endswith(f"  {outcome}=ann:{tokens}  x1")
    assert "woven" not in json.loads(exchange_line(RECORD))


@pytest.mark.parametrize(
    ("status", "outcome", "level"),
    [
        (200, "complete", "info"),
        (404, "complete", "info"),
        (529, "complete", "warning"),
        (None, "client gone", "info"),
        (200, "broken", "warning"),
        (401, "refused", "warning"),
    ],
)
def test_what_went_wrong_is_a_warning(status: int | None, outcome: str, level: str) -> None:
    record = evolve(RECORD, status=status, outcome=outcome, to_head=None)
    line = json.loads(exchange_line(record))
    assert line["level"] == level
    assert line["status"] == status
    assert line["ms_to_head"] is None
    assert level in exchange_line(record, "text")


NASTY = st.text(st.characters(codec=None)) | st.sampled_from(
    ["\n", "\r", "\x1b[2J", "\u2028", "\x85", "\u202e", "\0"]
)
ESCAPES = re.compile(rb"[^\x20-\x7e\xa0-\xff\n]")


@pytest.mark.spec("log.one-line")
@pytest.mark.parametrize("form", ["json", "text"])
def test_nothing_a_client_or_upstream_sends_adds_a_line(form: Form) -> None:
    written = Written(form)
    count = 0

    @given(NASTY, st.binary(), NASTY, st.integers())
    def exchange(text: str, path: bytes, other: str, number: int) -> None:
        nonlocal count
        seen = Seen(model=text, stop_reason=other, error=text + other, input_tokens=number)
        record = evolve(RECORD, method=other, path=path, detail=text, seen=seen, woven=WovenIn(text, 1, 2))
        written.log.exchange(text, record)
        written.log.note("info", text, field=other, **{"\n" + text: number, "time": other})
        count += 2

    exchange()
    out = written.bytes()
    assert out.count(b"\n") == count
    assert len(out.decode().splitlines()) == count
    for line in out.decode().splitlines():
        assert line.isprintable()
        if form == "json":
            assert re.fullmatch(r"[-0-9]{10}T[:0-9]{8}\.[0-9]{3}Z", json.loads(line)["time"])


@pytest.mark.spec("log.one-line")
def test_a_path_cannot_forge_a_line_or_a_colour() -> None:
    record = evolve(RECORD, path=b'/a\n{"status":200}\r\x1b[31m\xff\xc2\x85"')
    assert json.loads(exchange_line(record))["path"] == (
        '/a\\n{"status":200}\\r\\x1b[31m\\\\xff\\\\xc2\\\\x85"'
    )
    assert '/a\\n{"status":200}\\r\\x1b[31m' in exchange_line(record, "text")


def test_a_long_path_is_clipped() -> None:
    assert len(exchange_line(evolve(RECORD, path=b"/" * 100_000))) < 1_500


def test_a_person_reads_a_short_line() -> None:
    line = exchange_line(evolve(RECORD, seen=SEEN), "text")
    assert re.fullmatch(
        r"[:0-9]{8}\.[0-9]{3}  info     POST  /v1/messages  200  1500 ms \(head 12\)  .*", line
    )
    assert line.endswith("512 B up, 2048 B down  claude-x  end_turn  input=12 output=0 cache_creation=7  x1")
    retried = exchange_line(
        evolve(RECORD, status=None, attempts=3, outcome="no answer", to_head=None, detail="why"), "text"
    )
    assert "  ---  1500 ms  512 B up, 2048 B down  3 attempts  no answer  why  x1" in retried


@pytest.mark.spec("log.one-line")
def test_a_note_takes_any_value_and_shows_no_secret() -> None:
    class Mute:
        def __str__(self) -> str:
            raise RuntimeError

    written = Written("json")
    written.log.note(
        "error",
        "what",
        number=1,
        truth=True,
        nothing=None,
        ratio=0.5,
        raw=b"a\xff\n",
        huge=1 << 100,
        key=Secret("sk-hunter2"),
        mute=Mute(),
        many=["a\n", 2],
        error=ValueError("x\ny"),
    )
    (line,) = written.objects()
    del line["time"]
    assert line == {
        "level": "error",
        "text": "what",
        "number": 1,
        "truth": True,
        "nothing": None,
        "ratio": 0.5,
        "raw": "a\\\\xff\\n",
        "huge": str(1 << 100),
        "key": "Secret(…)",
        "mute": "(Mute without a text)",
        "many": ["a\\n", 2],
        "error": "x\\ny",
    }


def test_a_note_for_a_person_has_its_lists_below_it() -> None:
    written = Written("text")
    written.log.note("warning", "what", port=1, steps=["one", "two\n12:00:00.000  forged"])
    first, *below = written.lines()
    assert first.endswith("  warning  what  port=1")
    assert below == ["    one", "    two\\n12:00:00.000  forged"]


@pytest.mark.spec("log.never-waits", "log.bounded")
@pytest.mark.parametrize("form", ["json", "text"])
def test_a_stopped_reader_makes_no_exchange_wait_and_is_told_what_it_missed(form: Form) -> None:
    read_end, write_end = os.pipe()
    log = Log(write_end, form)
    os.close(write_end)
    done = threading.Event()

    def exchanges() -> None:
        for number in range(15_000):
            log.exchange(str(number), RECORD)
            log.note("info", "x")
        done.set()

    threading.Thread(target=exchanges, daemon=True).start()
    assert done.wait(30)
    parts = []
    reader = threading.Thread(target=lambda: parts.extend(iter(lambda: os.read(read_end, 65536), b"")))
    reader.start()
    assert not log.close(10)
    reader.join(10)
    os.close(read_end)
    lines = b"".join(parts).decode().splitlines()
    told = [line for line in lines if "log lines could not be written" in line]
    missed = sum(int(re.search(r'count"?[=:](\d+)', line)[1]) for line in told)  # type: ignore[index]
    assert missed > 5_000
    assert missed + len(lines) - len(told) == 30_000


@pytest.mark.spec("log.bridge")
def test_records_of_pythons_logging_go_the_same_way() -> None:
    written = Written("json")
    logger = logging.Logger("hypercorn.error")  # noqa: LOG001 - one that no other test can meet
    logger.addHandler(LoggingBridge(written.log))
    logger.debug("started on %s", "http://127.0.0.1:1")
    logger.warning("odd\nline")
    try:
        int("a\nb")
    except ValueError:
        logger.exception("failed")
    logger.error("%d", "no number")
    logger.error(b"%d", 1)
    info, odd, failed, unfit, raw = written.objects()
    assert (info["level"], info["text"], info["logger"]) == (
        "info",
        "started on http://127.0.0.1:1",
        "hypercorn.error",
    )
    assert (odd["level"], odd["text"]) == ("warning", "odd\\nline")
    assert (failed["level"], failed["text"]) == ("error", "failed")
    assert failed["traceback"][0] == "Traceback (most recent call last):"
    assert failed["traceback"][-1] == "ValueError: invalid literal for int() with base 10: 'a\\nb'"
    assert unfit["text"] == "%d"
    assert raw["text"].startswith("b'")


@pytest.mark.spec("log.bridge")
def test_what_asyncio_complains_of_is_logged() -> None:
    written = Written("json")
    bridge = LoggingBridge(written.log, logging.ERROR)
    logger = logging.getLogger("asyncio")
    logger.addHandler(bridge)
    try:

        async def complain() -> None:
            asyncio.get_running_loop().call_exception_handler({"message": "a task fell over"})

        asyncio.run(complain())
    finally:
        logger.removeHandler(bridge)
    assert [line["text"] for line in written.objects()] == ["a task fell over"]


@pytest.fixture
def terminal() -> Iterator[int]:
    master, slave = os.openpty()
    yield slave
    os.close(master)
    os.close(slave)


def test_auto_is_text_on_a_terminal_and_json_elsewhere(terminal: int) -> None:
    read_end, write_end = os.pipe()
    assert form_for("auto", terminal) == "text"
    assert form_for("auto", write_end) == "json"
    assert form_for("json", terminal) == "json"
    assert form_for("text", write_end) == "text"
    os.close(read_end)
    os.close(write_end)


def test_the_clock_goes_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock("%Y-%m-%dT%H:%M:%S", "Z")
    for nanoseconds, text in [
        (0, "1970-01-01T00:00:00.000Z"),
        (999_999_999, "1970-01-01T00:00:00.999Z"),
        (1_000_000_000, "1970-01-01T00:00:01.000Z"),
        (1_700_000_000_050_000_000, "2023-11-14T22:13:20.050Z"),
    ]:
        monkeypatch.setattr("time.time_ns", lambda now=nanoseconds: now)
        assert clock.now() == text
