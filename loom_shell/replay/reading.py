"""A journal read: every event from outside, in order, whatever became of the file's end.

A journal is a folder of files `NAME.jsonl`, each with its pack `NAME.blobs`, or one such file. The form of
the lines is in specs/journal.md.
"""

from collections.abc import Iterator
from pathlib import Path

from attrs import evolve

from loom_core.values import ExchangeKey
from loom_shell.files import named
from loom_shell.replay.blobs import BlobMissingError, Contents
from loom_shell.replay.codec import Form, Get, UnreadableError, decoded, read_event, read_key
from loom_shell.replay.record import Recorded

VERSION = 1
"""Of the form; a journal of another cannot be read."""
LINES, BLOBS = ".jsonl", ".blobs"


class JournalError(Exception):
    """A recording that cannot be read; the text is one line: what, where, and what to do."""


def recorded(path: Path) -> Iterator[Recorded]:
    """Every event of a journal. `JournalError` where it is damaged otherwise than by a torn end."""
    number = 0
    for file in files(path):
        for record in _of_file(file):
            number += 1
            yield evolve(record, number=number)


def files(path: Path) -> list[Path]:
    """The files of lines of a journal, in the order in which they began."""
    if path.is_dir():
        found = sorted(path.glob(f"*{LINES}"))
        if not found:
            raise JournalError(f"{named(path)} holds no journal: give the folder of `loom serve --journal`")
        return found
    if not path.is_file():
        raise JournalError(f"there is no journal {named(path)}: give the folder of `loom serve --journal`")
    return [path]


def size(path: Path) -> int:
    """How many events there are, or a few more, for whoever shows progress."""
    return sum(file.read_bytes().count(b',"e":[') for file in files(path))


def _of_file(file: Path) -> Iterator[Recorded]:
    """Each event once it is known what was told before the next one."""
    lost: set[str] | None = set()
    last: Recorded | None = None
    for number, form in _lines(file):
        match form:
            case {"told": str(teller)} if last is not None:
                digests = (*last.digests, str(form.get("d", "")))
                last = evolve(last, then=(*last.then, ExchangeKey(teller)), digests=digests)
            case {"told": _}:
                continue
            case {"lost": [*sessions]}:
                # Of a session that nobody could name any may be the one.
                lost = None if lost is None or "" in sessions else lost | set(map(str, sessions))
            case {"k": _, "e": _}:
                if last is not None:
                    yield last
                record = form["record"]
                last = evolve(record, whole=lost is not None and record.session not in lost)
            case _:
                raise JournalError(f"{_where(file, number)} is no line of a journal: {_MEND}")
    if last is not None:
        yield last


_MEND = "take it out of the folder, or restore the file"


def _where(file: Path, number: int) -> str:
    return f"line {number} of {named(file)}"


def _lines(file: Path) -> Iterator[tuple[int, dict[str, Form]]]:
    """The forms after the head. A last line without an end, or whose blobs are not there, was torn."""
    get = _contents(file)
    with file.open("rb") as lines:
        head = lines.readline()
        if not head.endswith(b"\n"):
            return
        _check(file, head)
        line = lines.readline()
        number = 2
        while line.endswith(b"\n"):
            following = lines.readline()
            try:
                form = _form(file, line, get)
            except (UnreadableError, BlobMissingError) as error:
                if not following.endswith(b"\n"):
                    return
                raise JournalError(f"{_where(file, number)} cannot be read ({error}): {_MEND}") from None
            yield number, form
            line, number = following, number + 1


def _form(file: Path, line: bytes, get: Get) -> dict[str, Form]:
    form = decoded(line)
    if not isinstance(form, dict):
        raise UnreadableError("no line of a journal")
    return {**form, "record": _record(file, form, get)} if "e" in form else form


def _record(file: Path, form: dict[str, Form], get: Get) -> Recorded:
    event = read_event(form["e"], get)
    return Recorded(
        number=0,
        at=event.at,
        key=read_key(form.get("k")),
        event=event,
        session=str(form.get("s", "")),
        run=file.stem,
        begins=bool(form.get("new")),
        digests=(str(form.get("d", "")),),
    )


def _contents(file: Path) -> Get:
    try:
        return Contents(file.with_suffix(BLOBS)).get
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise JournalError(f"cannot read {named(file.with_suffix(BLOBS))} ({reason}): {_MEND}") from None


def _check(file: Path, head: bytes) -> None:
    try:
        form = decoded(head)
    except UnreadableError:
        form = None
    match form:
        case {"loom": "journal", "version": int(version)} if version == VERSION:
            return
        case {"loom": "journal", "version": version}:
            raise JournalError(
                f"{named(file)} has form {version} of a journal, and this Loom reads form {VERSION}: "
                "replay it with the Loom that wrote it"
            )
        case _:
            raise JournalError(f"{named(file)} is no journal: give the folder of `loom serve --journal`")
