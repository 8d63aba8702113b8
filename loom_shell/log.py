"""The log: one structured line for each exchange, and notes, on standard error.

JSON for machines, short text for a terminal. Whatever a client or upstream sent is escaped, so it
can forge neither a line nor a colour. Header values and bodies never come here.
"""

import logging
import os
import time
from collections.abc import Iterator, Mapping
from traceback import format_exception
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from loom_core.actions import LogExchange
from loom_core.message import Seen
from loom_core.woven import WovenIn
from loom_shell.linewriter import LineWriter
from loom_shell.printable import printable

Form = Literal["json", "text"]
Level = Literal["info", "warning", "error"]

MAX_NOTE = 4_000
"""Characters of a note's text."""
MAX_TRACE = 60
"""Lines of a traceback, its last ones."""
QUIET = frozenset({"complete", "client gone"})
"""Outcomes that are no fault of anybody's."""
MILLISECOND = 1_000_000


class ExchangeLine(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An exchange's line.

    `ms_to_head` is null when no head went out; what upstream said is left out where it said nothing, and
    `woven` where the request belongs to no profile.
    """

    time: str
    level: Level
    id: str
    method: str
    path: str
    status: int | None
    attempts: int
    bytes_up: int
    bytes_down: int
    ms_to_head: float | None
    ms: float
    outcome: str
    detail: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    stop_reason: str | UnsetType = UNSET
    error: str | UnsetType = UNSET
    tokens: dict[str, int] | UnsetType = UNSET
    woven: dict[str, str | int] | UnsetType = UNSET


class Log:
    """The one log of a process. Its methods never raise, and never wait for who reads the log."""

    def __init__(self, fd: int = 2, form: Form = "json") -> None:
        self._is_json = form == "json"
        self._clock = Clock("%Y-%m-%dT%H:%M:%S", "Z") if self._is_json else Clock("%H:%M:%S", "")
        self._writer = LineWriter(fd, self._missing)

    def exchange(self, id: str, record: LogExchange) -> None:  # noqa: A002 - as the line's field is called
        """The one line of an exchange."""
        if self._writer.has_room:
            self._writer.put(self._exchange_line(id, record))
        else:
            self._writer.drop()

    def note(self, level: Level, text: str, **fields: object) -> None:
        """A line of free text. A value that is no number, truth, None or list is shown by its str."""
        if self._writer.has_room:
            self._writer.put(self._note_line(level, text, fields))
        else:
            self._writer.drop()

    def close(self, deadline_seconds: float) -> bool:
        """Write what waits, for at most so many seconds; whether every line went out."""
        return self._writer.close(deadline_seconds)

    def _exchange_line(self, id_: str, record: LogExchange) -> bytes:
        line = _exchange(self._clock.now(), id_, record)
        return ENCODE(line) + b"\n" if self._is_json else _exchange_text(line)

    def _note_line(self, level: Level, text: str, fields: Mapping[str, object]) -> bytes:
        own = {"time": self._clock.now(), "level": level, "text": printable(text, MAX_NOTE)}
        line = own | {printable(name): _plain(value) for name, value in fields.items() if name not in own}
        return ENCODE(line) + b"\n" if self._is_json else _note_text(line)

    def _missing(self, count: int) -> bytes:
        return self._note_line("warning", "log lines could not be written", {"count": count})


ENCODE = msgspec.json.Encoder().encode


def form_for(setting: str, fd: int = 2) -> Form:
    """What `auto` means for a descriptor: text on a terminal, JSON elsewhere."""
    if setting == "auto":
        return "text" if os.isatty(fd) else "json"
    return "text" if setting == "text" else "json"


class Clock:
    """The time of day with milliseconds; the seconds' text is made once a second.

    With a `Z` behind it, UTC as in RFC 3339 section 5.6; otherwise local time.
    """

    def __init__(self, pattern: str, suffix: str) -> None:
        self._pattern, self._suffix = pattern, suffix
        self._split = time.gmtime if suffix else time.localtime
        self._last = (-1, "")

    def now(self) -> str:
        second, rest = divmod(time.time_ns(), 1_000_000_000)
        kept, text = self._last
        if kept != second:
            text = time.strftime(self._pattern, self._split(second))
            # One assignment, so that two threads see either pair whole.
            self._last = (second, text)
        return f"{text}.{rest // MILLISECOND:03d}{self._suffix}"


def _exchange(now: str, id_: str, record: LogExchange) -> ExchangeLine:
    status, outcome, seen = record.status, record.outcome, record.seen
    is_quiet = outcome in QUIET and (status is None or status < 500)
    return ExchangeLine(
        time=now,
        level="info" if is_quiet else "warning",
        id=printable(id_),
        method=printable(record.method),
        path=printable(record.path.decode("ascii", "backslashreplace")),
        status=status,
        attempts=record.attempts,
        bytes_up=record.received,
        bytes_down=record.relayed,
        ms_to_head=None if record.to_head is None else _milliseconds(record.to_head),
        ms=_milliseconds(record.total),
        outcome=outcome,
        detail=_some(record.detail),
        model=_some(seen.model) if seen else UNSET,
        stop_reason=_some(seen.stop_reason) if seen else UNSET,
        error=_some(seen.error) if seen else UNSET,
        tokens=(_tokens(seen) or UNSET) if seen else UNSET,
        woven=_woven(record.woven) if record.woven else UNSET,
    )


def _milliseconds(nanoseconds: int) -> float:
    return round(nanoseconds / MILLISECOND, 3)


def _some(text: str) -> str | UnsetType:
    return printable(text) if text else UNSET


def _tokens(seen: Seen) -> dict[str, int]:
    counts = {
        "input": seen.input_tokens,
        "output": seen.output_tokens,
        "cache_read": seen.cache_read,
        "cache_creation": seen.cache_creation,
    }
    # JSON has no bound for integers, the encoder has: a count past it is no count.
    return {name: count for name, count in counts.items() if count is not None and abs(count) < 2**63}


def _woven(woven: WovenIn) -> dict[str, str | int]:
    return {"profile": printable(woven.profile), "tokens": woven.tokens, "outcome": woven.outcome}


def _plain(value: object) -> object:
    match value:
        case bool() | None | float():
            return value
        case int() if abs(value) < 2**63:
            return value
        case bytes():
            return printable(value.decode("ascii", "backslashreplace"))
        case list() | tuple():
            return [_plain(one) for one in value[:MAX_TRACE]]
    try:
        return printable(str(value))
    except Exception:  # noqa: BLE001 - a value of anyone's; a log line must not stop its work
        return f"({type(value).__name__} without a text)"


def _exchange_text(line: ExchangeLine) -> bytes:
    parts = [
        line.time,
        f"{line.level:7}",
        line.method,
        line.path,
        "---" if line.status is None else str(line.status),
        f"{line.ms:.0f} ms" + ("" if line.ms_to_head is None else f" (head {line.ms_to_head:.0f})"),
        f"{line.bytes_up} B up, {line.bytes_down} B down",
    ]
    if line.attempts > 1:
        parts.append(f"{line.attempts} attempts")
    if line.outcome != "complete":
        parts.append(line.outcome)
    parts += [part for part in (line.detail, line.model, line.stop_reason, line.error) if part is not UNSET]
    if line.tokens is not UNSET:
        parts.append(" ".join(f"{name}={count}" for name, count in line.tokens.items()))
    if line.woven is not UNSET:
        parts.append("{outcome}={profile}:{tokens}".format_map(line.woven))
    return _text("  ".join([*parts, line.id]))


def _note_text(line: Mapping[str, object]) -> bytes:
    own = f"{line['time']}  {line['level']:7}  {line['text']}"
    fields = {name: value for name, value in line.items() if name not in ("time", "level", "text")}
    short = [f"{name}={value}" for name, value in fields.items() if not isinstance(value, list)]
    # Below a note, indented: no line of its own begins with a space.
    below = [f"    {one}" for value in fields.values() if isinstance(value, list) for one in value]
    return _text("\n".join(["  ".join([own, *short]), *below]))


def _text(text: str) -> bytes:
    return text.encode() + b"\n"


class LoggingBridge(logging.Handler):
    """Lets records of stdlib `logging` (Hypercorn's, asyncio's) out through the same log."""

    def __init__(self, log: Log, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - arguments that do not fit the message: the message alone, then
            text = str(_plain(record.msg))
        fields: dict[str, object] = {"logger": record.name}
        if record.exc_info and record.exc_info[1]:
            fields["traceback"] = [*_traceback(record.exc_info[1])][-MAX_TRACE:]
        self._log.note(_level(record.levelno), text, **fields)


def _level(number: int) -> Level:
    if number >= logging.ERROR:
        return "error"
    return "warning" if number >= logging.WARNING else "info"


def _traceback(error: BaseException) -> Iterator[str]:
    for part in format_exception(error, limit=-MAX_TRACE):
        yield from part.splitlines()
