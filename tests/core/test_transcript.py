"""The transcript machine: stories, any order of events, and worlds in which everything goes wrong."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as evolve

from loom_core import jsonl, loom, publication, tail, transcript
from loom_core.actions import (
    Action,
    FollowFile,
    LeaveFile,
    LoadPosition,
    Publish,
    ReadFile,
    Retire,
    SetTimer,
)
from loom_core.events import (
    BusFailed,
    Event,
    FileChanged,
    FileMissing,
    FileRead,
    LinesPublished,
    PositionFound,
    PositionLoaded,
    ReadFailed,
    ShutdownRequested,
    TimerFired,
    TranscriptNamed,
)
from loom_core.position import WITNESS, Position, digest
from loom_core.rules import SECOND
from loom_core.tail import READ
from loom_core.transcript import (
    BUS,
    IDLE,
    READ_AGAIN,
    SILENT,
    Draining,
    Ended,
    Following,
    Idle,
    Intake,
    Loading,
    Open,
    Waiting,
)
from tests.support import samples, transcript_samples
from tests.support.transcripts import AT, KEY, SESSION, Bus, Disk, Process, Story

NAMED = TranscriptNamed(AT, SESSION)
LOADED = PositionLoaded(AT, Position())
CHANGED = FileChanged(AT)


def line(number: int, *, padding: int = 0, has_id: bool = False) -> bytes:
    told: dict[str, object] = {"type": "user", "n": number, "pad": "x" * padding}
    return json.dumps(told | {"uuid": f"u-{number}"} if has_id else told).encode() + b"\n"


A, B, C = line(1), line(2), line(3)


def found(data: bytes, offset: int = 0, file: str = "1", *, is_current: bool = True) -> FileRead:
    """All there is from `offset` on."""
    return FileRead(AT, file, offset, data[offset:], len(data), is_current)


def place(data: bytes, end: int, file: str = "1") -> Position:
    """The position behind the line that ends there."""
    last = data[:end][:-1].rpartition(b"\n")[2] + b"\n"
    return Position(end, file, digest(last), len(last))


def following(data: bytes = b"") -> Story:
    """A story in which the file, with this in it, was read to its end."""
    story = Story() >> NAMED << LoadPosition() << SetTimer(IDLE, AT + SILENT)
    story >> LOADED << FollowFile() << ReadFile(0, READ, reopens=True)
    story >> found(data)
    if b"\n" in data:
        story << Publish >> LinesPublished(AT)
    return story.is_now(Following)


# ------------------------------------------------------------------ stories


@pytest.mark.spec("transcripts.missing", "transcripts.follow", "transcripts.position")
def test_a_file_that_is_not_there_yet_is_waited_for_and_read_as_it_grows() -> None:
    story = Story() >> NAMED << LoadPosition() << SetTimer(IDLE, AT + SILENT)
    story.is_now(Loading) >> LOADED << FollowFile() << ReadFile(0, READ, reopens=True)
    story.is_now(Waiting) >> FileMissing(AT)
    story.is_now(Waiting) >> CHANGED << ReadFile(0, READ, reopens=True)
    story >> found(A + B[:5])
    published = story.takes()
    assert [one.raw for one in published.lines] == [A[:-1]]
    assert (published.expected, published.position) == (Position(), place(A, len(A)))
    story.is_now(Following) >> CHANGED << ReadFile(0, READ + len(A) + 5, reopens=False)
    story >> found(A + B + C)
    story >> LinesPublished(AT)
    published = story.takes()
    assert [one.raw for one in published.lines] == [B[:-1], C[:-1]]
    assert (published.expected, published.position) == (place(A, len(A)), place(A + B + C, len(A + B + C)))
    story >> LinesPublished(AT)
    story.is_now(Following)
    assert story.notes == []


@pytest.mark.spec("transcripts.publish")
def test_a_line_is_published_with_what_it_is() -> None:
    said = b'{"type":"user","uuid":"u-1","message":{"role":"user","content":"Tea?"}}'
    story = Story() >> NAMED << LoadPosition << SetTimer >> LOADED << FollowFile << ReadFile
    story >> found(b"\n\r\n" + said + b"\n" + A)
    first, second = story.takes().lines
    assert (first.session, first.kind, first.role, first.content_types) == (
        SESSION,
        "user",
        "user",
        ("text",),
    )
    assert (first.raw, first.file, first.offset, first.line_id) == (said, KEY.path, 3, "u-1")
    made = digest(KEY.path.encode() + b"\n" + A[:-1])
    assert (second.offset, second.line_id) == (len(said) + 4, f"{made}:{len(said) + 4}")


@pytest.mark.spec("transcripts.resume")
def test_a_restart_goes_on_behind_the_last_published_line() -> None:
    at = place(A + B, len(A + B))
    story = Story() >> NAMED << LoadPosition << SetTimer >> PositionLoaded(AT, at) << FollowFile
    story << ReadFile(len(A), len(B) + READ, reopens=True)
    story >> found(A + B + C, len(A))
    published = story.takes()
    assert [one.raw for one in published.lines] == [C[:-1]]
    assert published.expected == at


@pytest.mark.parametrize(
    "now",
    [
        found(A + B + C, len(A), file="2"),
        found(A + C + C, len(A)),
        found(A, len(A)),
        found(b"", len(A)),
    ],
    ids=["another file", "other lines", "cut", "empty"],
)
@pytest.mark.spec("transcripts.resume", "transcripts.anew")
def test_after_a_restart_a_file_that_is_another_is_read_from_its_beginning(now: FileRead) -> None:
    at = place(A + B, len(A + B))
    story = Story() >> NAMED << LoadPosition << SetTimer >> PositionLoaded(AT, at) << FollowFile << ReadFile
    story >> now << ReadFile(0, READ, reopens=False)
    story >> found(C, file=now.file)
    published = story.takes()
    assert ([one.raw for one in published.lines], published.expected) == ([C[:-1]], at)
    assert story.notes == [transcript.ANEW]


@pytest.mark.parametrize("now", [C, C + C + C + C, b""], ids=["shorter", "longer", "empty"])
@pytest.mark.spec("transcripts.anew")
def test_a_file_that_was_cut_and_written_anew_is_read_from_its_beginning(now: bytes) -> None:
    story = following(A + B) >> CHANGED << ReadFile(0, len(A + B) + READ, reopens=False)
    story >> found(now) << ReadFile(0, READ, reopens=False)
    story >> found(now)
    if now:
        assert [one.raw for one in story.takes().lines] == [C[:-1]] * (len(now) // len(C))
    story.is_now(Following)
    assert story.notes == [transcript.ANEW]


@pytest.mark.spec("transcripts.rotated", "transcripts.line")
def test_a_file_that_was_moved_away_is_read_to_its_end_and_then_the_one_in_its_place() -> None:
    story = following(A) >> CHANGED << ReadFile
    story >> found(A + B + b'{"half', is_current=False) << Publish
    story << ReadFile(0, len(A + B) + 6 + READ, reopens=True)
    story >> found(C, file="2") << ReadFile(0, READ, reopens=False)
    story >> found(C, file="2") >> LinesPublished(AT)
    published = story.takes()
    assert [one.raw for one in published.lines] == [C[:-1]]
    assert (published.expected, published.position) == (place(A + B, len(A + B)), place(C, len(C), "2"))
    assert story.notes == [transcript.ANEW, "the transcript's last line had no end: 6 bytes are lost"]


@pytest.mark.spec("transcripts.rotated", "transcripts.missing")
def test_a_file_that_was_deleted_is_waited_for() -> None:
    story = following(A) >> CHANGED << ReadFile
    story >> found(A, is_current=False) << ReadFile(0, len(A) + READ, reopens=True)
    story >> FileMissing(AT)
    story.is_now(Waiting) >> CHANGED << ReadFile(0, READ, reopens=True)
    story >> found(A + B)
    assert [one.raw for one in story.takes().lines] == [A[:-1], B[:-1]]


@pytest.mark.spec("transcripts.follow")
def test_a_change_during_a_read_is_followed_by_another_read() -> None:
    story = following() >> CHANGED << ReadFile >> CHANGED >> TranscriptNamed(AT, SESSION)
    story >> found(b"") << ReadFile >> found(b"")
    story.is_now(Following) >> TranscriptNamed(AT, SESSION) << ReadFile >> CHANGED
    story >> FileMissing(AT) << ReadFile >> FileMissing(AT)
    story.is_now(Waiting)


@pytest.mark.spec("transcripts.follow")
def test_a_file_is_read_until_its_end_is_reached() -> None:
    story = following() >> CHANGED << ReadFile
    story >> FileRead(AT, "1", 0, A[:9], len(A), is_current=True) << ReadFile(0, 9 + READ, reopens=False)
    story >> FileRead(AT, "1", 0, A, len(A), is_current=True) << Publish
    story.is_now(Following)


@pytest.mark.spec("transcripts.again", "transcripts.batch")
def test_what_the_bus_did_not_take_is_tried_again_the_same_way_after_a_while() -> None:
    story = following() >> CHANGED << ReadFile >> found(A)
    first = story.takes()
    waits = []
    for _ in range(9):
        story >> BusFailed(AT, "no connection")
        given = story._unnamed.popleft()
        assert isinstance(given, SetTimer)
        waits.append(given.at - AT)
        story >> CHANGED << ReadFile >> found(A + B)
        story >> TimerFired(given.at, BUS) << first
    assert waits == [wait * SECOND // 2 for wait in (1, 2, 4, 8, 16, 32, 60, 60, 60)]
    assert story.notes == ["the transcript is not published: no connection"]
    story >> LinesPublished(AT)
    assert [one.raw for one in story.takes().lines] == [B[:-1]]


@pytest.mark.spec("transcripts.again")
def test_while_nobody_knows_the_position_nothing_is_read() -> None:
    story = Story() >> NAMED << LoadPosition << SetTimer >> BusFailed(AT, "no connection")
    story << SetTimer(BUS, AT + SECOND // 2) >> NAMED >> TimerFired(AT, BUS) << LoadPosition()
    (
        story
        >> BusFailed(AT, "no connection")
        << SetTimer(BUS, AT + SECOND)
        >> TimerFired(AT, BUS)
        << LoadPosition
    )
    story >> LOADED << FollowFile << ReadFile
    assert story.notes == ["nobody knows how far the transcript was published: no connection"]


@pytest.mark.spec("transcripts.again")
def test_a_file_that_cannot_be_read_is_tried_again_after_a_while() -> None:
    story = following(A) >> CHANGED << ReadFile
    story >> ReadFailed(AT, "permission denied") << SetTimer(READ_AGAIN, AT + SECOND // 2)
    story >> CHANGED >> TimerFired(AT, READ_AGAIN) << ReadFile(0, len(A) + READ, reopens=False)
    story >> ReadFailed(AT, "permission denied") << SetTimer(READ_AGAIN, AT + SECOND)
    story >> TimerFired(AT, READ_AGAIN) << ReadFile >> found(A + B) << Publish
    assert story.notes == ["the transcript cannot be read: permission denied"]


@pytest.mark.spec("transcripts.overtaken")
def test_where_another_process_has_gone_on_reading_goes_on_from_there() -> None:
    all_ = A + B + C
    there = place(all_, len(A + B))
    story = following() >> CHANGED << ReadFile >> found(A) << Publish
    story >> PositionFound(AT, there) << ReadFile(len(A), len(B) + READ, reopens=True)
    story >> found(all_, len(A))
    published = story.takes()
    assert ([one.raw for one in published.lines], published.expected) == ([C[:-1]], there)
    assert story.notes == []


@pytest.mark.spec("transcripts.overtaken")
def test_what_the_bus_has_lost_is_published_again() -> None:
    long = line(4, padding=300)
    all_ = A + long + C
    story = following(A + long) >> CHANGED << ReadFile >> found(all_, len(A + long) - WITNESS) << Publish
    story >> CHANGED << ReadFile >> PositionFound(AT, place(A, len(A)))
    # The read that was under way is of another place by now.
    story >> found(all_, len(all_) - WITNESS) << ReadFile(0, len(A) + READ, reopens=True)
    story >> found(all_)
    assert [one.raw for one in story.takes().lines] == [long[:-1], C[:-1]]
    assert story.notes == [transcript.LOST]


@pytest.mark.spec("transcripts.overtaken")
def test_that_the_bus_has_lost_something_may_also_be_told_to_one_at_rest() -> None:
    story = following(A + B) >> PositionFound(AT, place(A + B, len(A + B)))
    story >> PositionFound(AT, place(A, len(A))) << ReadFile(0, len(A) + READ, reopens=True)
    story >> found(A + B)
    assert [one.raw for one in story.takes().lines] == [B[:-1]]
    assert story.notes == [transcript.LOST]


@pytest.mark.spec("transcripts.overtaken")
def test_a_batch_whose_answer_was_lost_is_not_published_twice() -> None:
    story = following() >> CHANGED << ReadFile >> found(A) << Publish >> BusFailed(AT, "late") << SetTimer
    story >> TimerFired(AT, BUS) << Publish >> PositionFound(AT, place(A, len(A)))
    story >> CHANGED << ReadFile >> found(A + B)
    assert story.takes().expected == place(A, len(A))


@pytest.mark.spec("transcripts.idle")
def test_a_file_that_is_silent_for_an_hour_is_left_and_wakes_when_it_is_named() -> None:
    story = following(A) >> TranscriptNamed(AT + SECOND, SESSION) << ReadFile >> found(A)
    story >> TimerFired(AT + SILENT, IDLE) << SetTimer(IDLE, AT + SILENT + SECOND)
    story >> TimerFired(AT + SILENT + SECOND, IDLE) << LeaveFile() << Retire()
    story.is_now(Ended) >> CHANGED >> found(A) >> TimerFired(AT, IDLE)
    story.is_now(Ended) >> TranscriptNamed(AT + 9 * SILENT, "other") << LoadPosition()
    (
        story
        << SetTimer(IDLE, AT + 10 * SILENT)
        >> PositionLoaded(AT, place(A, len(A)))
        << FollowFile
        << ReadFile
    )
    story >> found(A + B)
    (taken,) = story.takes().lines
    assert (taken.raw, taken.session) == (B[:-1], "other")


@pytest.mark.spec("transcripts.idle")
def test_bytes_keep_a_file_awake_and_so_does_what_is_not_published() -> None:
    story = following() >> CHANGED << ReadFile
    story >> evolve(found(A), at=AT + SECOND) << Publish
    story >> TimerFired(AT + SILENT, IDLE) << SetTimer(IDLE, AT + SILENT + SECOND)
    late = AT + SILENT + SECOND
    story >> TimerFired(late, IDLE) << SetTimer(IDLE, late + SILENT)
    (
        story
        >> BusFailed(late, "down")
        << SetTimer
        >> TimerFired(late + SILENT, IDLE)
        << SetTimer(IDLE, late + 2 * SILENT)
    )
    story.is_now(Following)


@pytest.mark.spec("transcripts.idle")
def test_a_file_that_never_comes_is_left_too() -> None:
    story = (
        Story() >> NAMED << LoadPosition << SetTimer >> LOADED << FollowFile << ReadFile >> FileMissing(AT)
    )
    story >> TimerFired(AT + SILENT, IDLE) << LeaveFile() << Retire()
    story = Story() >> NAMED << LoadPosition << SetTimer >> TimerFired(AT + SILENT, IDLE) << Retire()
    story.is_now(Ended)


@pytest.mark.spec("transcripts.shutdown")
def test_at_shutdown_what_was_read_is_published() -> None:
    story = following() >> CHANGED << ReadFile >> found(A) << Publish >> CHANGED << ReadFile >> found(A + B)
    story >> ShutdownRequested(AT) << LeaveFile()
    story.is_now(Draining) >> NAMED >> CHANGED >> ShutdownRequested(AT) >> LinesPublished(AT)
    assert [one.raw for one in story.takes().lines] == [B[:-1]]
    story >> LinesPublished(AT) << Retire()
    story.is_now(Ended)


@pytest.mark.spec("transcripts.shutdown")
def test_at_shutdown_a_bus_that_failed_is_tried_once_more() -> None:
    story = following() >> CHANGED << ReadFile >> found(A) << Publish >> BusFailed(AT, "down") << SetTimer
    story >> ShutdownRequested(AT) << LeaveFile() << Publish
    story.is_now(Draining) >> BusFailed(AT, "down") << Retire()
    assert story.is_now(Ended).notes[-1] == "1 lines are left to the next start: down"


@pytest.mark.parametrize("at", [place(A, len(A)), place(B, len(B))], ids=["ours", "another's"])
@pytest.mark.spec("transcripts.shutdown", "transcripts.overtaken")
def test_at_shutdown_nothing_is_published_behind_another(at: Position) -> None:
    story = following() >> CHANGED << ReadFile >> found(A) << Publish >> CHANGED << ReadFile >> found(A + B)
    story >> ShutdownRequested(AT) << LeaveFile() >> PositionFound(AT, at)
    if at == place(A, len(A)):
        story << Publish >> LinesPublished(AT)
    story << Retire()
    story.is_now(Ended)


@pytest.mark.parametrize("events", [[], [NAMED], [NAMED, LOADED]], ids=["idle", "loading", "waiting"])
@pytest.mark.spec("transcripts.shutdown")
def test_at_shutdown_who_has_read_nothing_ends(events: list[Event]) -> None:
    state: loom.State = Idle()
    for event in [*events, ShutdownRequested(AT)]:
        state, actions = loom.step(KEY, state, event)
    assert (state, actions[-1]) == (Ended(), Retire())


# ------------------------------------------------------------------ bounds


@pytest.mark.spec("transcripts.held", "transcripts.batch")
def test_with_enough_unpublished_nothing_more_is_read_until_there_is_room() -> None:
    many = b"".join(line(number, padding=900) for number in range(1_500))
    story = following() >> CHANGED
    at = batches = 0
    while isinstance(story.state, Open) and story.state.intake is Intake.READING:
        story << ReadFile
        known = story.state.tail.begins if isinstance(story.state, Following) else 0
        data = many[known : known + READ]
        story >> FileRead(AT, "1", known, data, len(many), is_current=True)
        if at == 0:
            story << Publish
        at = known + len(data)
    assert isinstance(story.state, Following)
    assert story.state.intake is Intake.HELD
    assert at < len(many) // 1.2
    story >> CHANGED >> NAMED
    while True:
        story >> LinesPublished(AT)
        batches += 1
        if not story._unnamed:
            break
        taken = story.takes()
        assert len(taken.lines) <= publication.MAX_LINES
        assert sum(len(one.raw) for one in taken.lines) <= publication.MAX_BYTES
        if story._unnamed:
            story << ReadFile
            break
    assert batches == 1
    story.is_now(Following)


@pytest.mark.spec("transcripts.long", "transcripts.bounded")
def test_a_line_of_50_mb_is_told_as_too_long_and_kept_by_nobody() -> None:
    story = following() >> CHANGED << ReadFile
    size, at = 50 * 1024 * 1024, 0
    whole = size + 1 + len(A)
    piece = b"x" * READ
    while at < size:
        known = story.state.tail.known if isinstance(story.state, Following) else b""
        story >> FileRead(AT, "1", at - len(known), known + piece, whole, is_current=True) << ReadFile
        at += len(piece)
        assert isinstance(story.state, Following)
        assert story.state.tail.reader.held.size <= jsonl.MAX_LINE
    known = story.state.tail.known if isinstance(story.state, Following) else b""
    story >> FileRead(AT, "1", at - len(known), known + b"\n" + A, whole, is_current=True)
    long, short = story.takes().lines
    assert (long.raw, long.offset, long.kind) == (b"", 0, "")
    assert (short.raw, short.offset) == (A[:-1], size + 1)


# ------------------------------------------------------------------ total

EACH_STATE = pytest.mark.parametrize(
    "state", transcript_samples.states().values(), ids=transcript_samples.states()
)


@EACH_STATE
@pytest.mark.parametrize("event", [*samples.events().values(), *transcript_samples.events().values()])
@pytest.mark.spec("transcripts.total")
def test_every_event_in_every_state_gives_a_state_and_actions(state: loom.State, event: Event) -> None:
    after, actions = loom.step(KEY, state, event)
    assert isinstance(after, loom.State)
    assert all(isinstance(action, Action) for action in actions)
    assert loom.step(KEY, state, event) == (after, actions)


@pytest.mark.spec("transcripts.total")
def test_an_event_that_does_not_fit_is_noted_and_changes_nothing() -> None:
    story = following(A) >> LinesPublished(AT) >> LOADED >> ShutdownRequested(AT) << LeaveFile << Retire
    assert story.notes == [
        "invalid transition: LinesPublished in Following",
        "invalid transition: PositionLoaded in Following",
    ]


data_ = st.binary(max_size=9) | st.sampled_from([A, B, A + B, b"\n", b"x" * 300])
offsets = st.integers(-5, 2**63) | st.sampled_from([0, len(A)])
positions = st.builds(
    Position, offsets, st.sampled_from(["", "1", "2"]), st.sampled_from(["", digest(A)]), st.integers(-3, 300)
)
times = st.integers(0, 2**63)
anything = st.one_of(
    st.builds(TranscriptNamed, times, st.text(max_size=3)),
    st.builds(PositionLoaded, times, positions),
    st.builds(FileChanged, times),
    st.builds(FileRead, times, st.sampled_from(["", "1", "2"]), offsets, data_, offsets, st.booleans()),
    st.builds(FileMissing, times),
    st.builds(ReadFailed, times, st.text(max_size=3)),
    st.builds(LinesPublished, times),
    st.builds(PositionFound, times, positions),
    st.builds(BusFailed, times, st.text(max_size=3)),
    st.builds(TimerFired, times, st.sampled_from([IDLE, BUS, READ_AGAIN, "other"])),
    st.builds(ShutdownRequested, times),
)


@EACH_STATE
@given(st.lists(anything, max_size=12))
@pytest.mark.spec("transcripts.total")
def test_any_events_from_any_state_give_states_and_actions(state: loom.State, events: list[Event]) -> None:
    for event in events:
        state, actions = loom.step(KEY, state, event)
        assert isinstance(state, loom.State)
        assert all(isinstance(action, Action) for action in actions)


# ------------------------------------------------------------------ whole worlds


@pytest.fixture(scope="module")
def small_bounds() -> Iterator[None]:
    """Bounds that a world of few bytes meets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "MAX_LINE", 120)
        patch.setattr(publication, "MAX_LINES", 3)
        patch.setattr(publication, "MAX_BYTES", 150)
        patch.setattr(publication, "ROOM_LINES", 6)
        patch.setattr(publication, "ROOM_BYTES", 300)
        patch.setattr(tail, "READ", 64)
        patch.setattr(transcript, "READ", 64)
        yield


MOST_HELD = 120 + 300 + 64 + 256
"""Bytes: a line that has no end, the room, what one read adds to it, what is known of the file."""

USUAL = ("write", "write", "write", "notice", "notice", "read", "read", "read", "answer", "answer", "answer")
TROUBLES = ("fail", "lose-answer", "unreadable", "crash", "shut-down", "truncate", "remove", "bus-loses")
steps = st.lists(
    st.tuples(
        st.sampled_from([*USUAL, *TROUBLES, "fire", "name", "verify"]),
        st.integers(0, 400),
        st.integers(0, 1),
    ),
    min_size=10,
    max_size=120,
)


class World:
    """Processes at one file and one bus. `sized` of what is written comes in pieces of that many bytes."""

    def __init__(self, count: int, *, reuses: bool) -> None:
        self.disk, self.bus = Disk(reuses=reuses), Bus()
        self.processes = [Process(self.disk, self.bus) for _ in range(count)]
        self.owed = b""
        self.numbers = 0

    def happens(self, what: str, size: int, who: int) -> None:
        process = self.processes[who % len(self.processes)]
        match what:
            case "write":
                self.write(size)
            case "notice":
                process.notice()
            case "read":
                process.read()
            case "unreadable" if process.held in {None, self.disk.file}:
                process.read(ok=False)
            case "answer" | "fail" | "lose-answer":
                process.answer(fails=what == "fail", is_lost=what == "lose-answer")
            case "fire" if process.waits_for_timer:
                process.fire()
            case "crash" if self.is_safe_of_old:
                process.crash()
            case "shut-down" if self.is_safe_of_old:
                process.shut_down()
            case "name":
                process.name()
            case "verify":
                process.verify()
            case "truncate" if self.is_all_read:
                self.changes(lambda: self.disk.truncate(size % (len(self.disk.parts[-1]) + 1)))
            case "remove" if self.is_all_open:
                self.changes(self.disk.remove)
            case "bus-loses" if len(self.disk.parts) == 1:
                self.bus.lose()
            case _:
                pass

    def changes(self, change: object) -> None:
        assert callable(change)
        change()
        for process in self.processes:
            process.changed = True

    def write(self, size: int) -> None:
        """Some bytes: whole lines, parts of them, several at once; now and then a long one."""
        while len(self.owed) < size:
            self.numbers += 1
            self.owed += line(
                self.numbers, padding=200 if self.numbers % 7 == 0 else 0, has_id=self.numbers % 3 == 0
            )
        self.changes(lambda: self.disk.append(self.owed[:size]))
        self.owed = self.owed[size:]

    @property
    def is_all_open(self) -> bool:
        """Whether nothing is lost if the file goes: whoever follows it has it open."""
        return self.disk.file is not None and all(it.held is self.disk.file for it in self.processes)

    @property
    def is_all_read(self) -> bool:
        """Whether nothing is lost if the file is cut."""
        if not self.is_all_open:
            return False
        states = [process.state for process in self.processes]
        size = len(self.disk.parts[-1])
        return all(isinstance(it, Following) and it.tail.reader.position == size for it in states)

    @property
    def is_safe_of_old(self) -> bool:
        """Whether the bus has all that is in no file any more: a process that dies has nowhere to find it."""
        parts = len(self.disk.parts) - (self.disk.file is not None)
        return Counter(wanted(self.disk.lines(parts))) <= Counter(one.raw for one in self.bus.taken)

    def settles(self) -> None:
        for _ in range(4):
            for process in self.processes:
                process.name()
                process.changed = True
                process.settle()
                process.verify()
                process.settle()

    def is_bounded(self) -> None:
        for process in self.processes:
            if isinstance(process.state, Following):
                state = process.state
                held = state.tail.reader.held.size + len(state.tail.known)
                lines = (*state.outlet.queue, *state.outlet.under_way)
                assert held + sum(len(one.line.raw) for one in lines) <= MOST_HELD


def wanted(lines: list[bytes]) -> list[bytes]:
    """The lines as they are to be published: of one too long only that it was."""
    return [one if len(one) <= 120 else b"" for one in lines if one.strip()]


def lived(story: list[tuple[str, int, int]], count: int = 1, *, reuses: bool = False) -> World:
    world = World(count, reuses=reuses)
    for process in world.processes:
        process.name()
    for what, size, who in story:
        world.happens(what, size, who)
        world.is_bounded()
    world.settles()
    return world


def without(story: list[tuple[str, int, int]], *words: str) -> list[tuple[str, int, int]]:
    return [it for it in story if it[0] not in words]


@pytest.mark.usefixtures("small_bounds")
@given(steps)
@settings(max_examples=150)
@pytest.mark.spec(
    "transcripts.order", "transcripts.split", "transcripts.resume", "transcripts.again", "transcripts.bounded"
)
def test_whatever_fails_each_line_is_published_once_and_in_order(story: list[tuple[str, int, int]]) -> None:
    world = lived(without(story, "truncate", "remove"))
    assert [one.raw for one in world.bus.taken] == wanted(world.disk.lines())


@pytest.mark.usefixtures("small_bounds")
@given(steps)
@settings(max_examples=150)
@pytest.mark.spec("transcripts.order", "transcripts.overtaken")
def test_two_processes_at_one_file_publish_each_line_once_and_in_order(
    story: list[tuple[str, int, int]],
) -> None:
    world = lived(without(story, "truncate", "remove"), 2)
    assert [one.raw for one in world.bus.taken] == wanted(world.disk.lines())


@pytest.mark.usefixtures("small_bounds")
@given(steps)
@settings(max_examples=150)
@pytest.mark.spec("transcripts.order", "transcripts.rotated")
def test_files_that_are_moved_away_or_deleted_are_published_to_their_end(
    story: list[tuple[str, int, int]],
) -> None:
    world = lived(without(story, "truncate", "unreadable", "bus-loses"))
    assert [one.raw for one in world.bus.taken] == wanted(world.disk.lines())


@pytest.mark.usefixtures("small_bounds")
@given(steps, st.booleans())
@settings(max_examples=150)
@pytest.mark.spec("transcripts.order", "transcripts.anew", "transcripts.id")
def test_of_a_file_that_is_cut_what_stays_keeps_its_ids_and_all_that_is_new_is_published(
    story: list[tuple[str, int, int]],
    reuses: bool,  # noqa: FBT001
) -> None:
    world = lived(without(story, "unreadable", "bus-loses"), reuses=reuses)
    expected = dict.fromkeys(it for it in wanted(world.disk.lines()) if it)
    assert list(dict.fromkeys(it for it in world.bus.once() if it)) == list(expected)


@pytest.mark.usefixtures("small_bounds")
@given(steps, st.lists(st.integers(1, 90), min_size=1, max_size=20))
@pytest.mark.spec("transcripts.split", "transcripts.id")
def test_any_chunks_give_the_same_published_lines(
    story: list[tuple[str, int, int]], sizes: list[int]
) -> None:
    world = World(1, reuses=False)
    for what, size, _ in story:
        if what == "write":
            world.write(size)
    text = bytes(world.disk.parts[-1]) if world.disk.parts else b""
    told = []
    for pieces in ([len(text) or 1], sizes):
        process = Process(Disk(), Bus())
        process.name()
        rest = text
        for number in range(len(text) + 1):
            size = pieces[number % len(pieces)]
            process.disk.append(rest[:size])
            process.changed, rest = True, rest[size:]
            process.settle()
            if not rest:
                break
        told.append(process.bus)
    assert told[0].taken == told[1].taken
    assert told[0].kept == told[1].kept
