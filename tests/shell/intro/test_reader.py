import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from attrs import define, field

from loom_shell import breaker
from loom_shell.intro import Intro, Pace, Parts, reader
from loom_shell.intro.model import ModelTroubleError
from loom_shell.intro.notebook import MOST_TRIES
from loom_shell.intro.reader import GARBAGE, Figures
from loom_shell.intro.shelf import ShelfTroubleError
from loom_shell.intro.stored import StoredTroubleError
from loom_shell.stream import BusTroubleError, Entry
from tests.support.heard import entry
from tests.support.model import Asked, envelope
from tests.support.wire import until

pytestmark = pytest.mark.anyio
SOON = Pace(quiet=0.01, longest=0.05, much=8_000)
WELL = "Intro, asking: well again"


@define
class Stream:
    coming: asyncio.Queue[list[Entry]] = field(factory=asyncio.Queue)
    acked: list[str] = field(factory=list)
    trouble: str = ""
    closed: int = 0

    async def next(self, most: int, wait_seconds: float) -> list[Entry]:
        assert (most > 0, wait_seconds > 0) == (True, True)
        if self.trouble:
            raise BusTroubleError(self.trouble)
        return await self.coming.get()

    async def ack(self, ids: Sequence[str]) -> None:
        self.acked += ids

    async def lag(self) -> int:
        return 7

    async def aclose(self) -> None:
        self.closed += 1


@define
class Shelves:
    texts: dict[str, tuple[str, ...]] = field(factory=dict)
    trouble: str = ""
    closed: int = 0

    async def read(self, session: str) -> tuple[str, ...]:
        if self.trouble:
            raise ShelfTroubleError(self.trouble)
        return self.texts.get(session, ())

    async def put(self, session: str, texts: Sequence[str]) -> None:
        self.texts[session] = tuple(texts)

    async def aclose(self) -> None:
        self.closed += 1


@define
class Channel:
    coming: asyncio.Queue[str] = field(factory=asyncio.Queue)
    closed: int = 0

    async def sessions(self) -> AsyncIterator[str]:
        yield ""
        while True:
            if (session := await self.coming.get()) == "trouble":
                raise StoredTroubleError("the store: gone")
            yield session

    async def aclose(self) -> None:
        self.closed += 1


@define
class Thinking:
    """`says` answers, raises, or waits."""

    says: Callable[[str], str] = lambda _: envelope()
    gate: asyncio.Event | None = None
    asked: list[str] = field(factory=list)
    closed: int = 0

    async def ask(self, instructions: str, question: str) -> str:
        assert "<memorables>" in instructions
        self.asked.append(question)
        if self.gate:
            await self.gate.wait()
        return self.says(question)

    async def aclose(self) -> None:
        self.closed += 1


@define
class Scene:
    stream: Stream = field(factory=Stream)
    shelves: Shelves = field(factory=Shelves)
    channel: Channel = field(factory=Channel)
    model: Thinking = field(factory=Thinking)
    notes: list[str] = field(factory=list)
    ahead: float = 0.0
    """Seconds that its clock is ahead of ours."""
    it: Intro = field(init=False)

    def __attrs_post_init__(self) -> None:
        parts = Parts(self.stream, self.shelves, self.channel, self.model)
        self.it = Intro(parts, self.notes.append, SOON, lambda: time.monotonic() + self.ahead)

    def hear(self, *entries: Entry) -> None:
        self.stream.coming.put_nowait(list(entries))


@asynccontextmanager
async def running(it: Intro) -> AsyncIterator[None]:
    task = asyncio.create_task(it.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(reader, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(reader, "AGAIN_SECONDS", 0.01)
    one = Scene()
    async with running(one.it):
        yield one


def down(_: str) -> str:
    raise ModelTroubleError("no model answers there")


def slow(_: str) -> str:
    raise ModelTroubleError("it is slow", is_ours=True)


@pytest.mark.spec("intro.ack", "intro.pace", "intro.figures")
async def test_what_is_said_is_asked_about_and_what_is_noted_laid_down(scene: Scene) -> None:
    scene.model.says = lambda _: envelope("Ann's whippet Pebble is nine.", "No.")
    scene.shelves.texts["s"] = ("Ann lives in Brno.",)
    scene.hear(
        entry(1, "Pebble is nine today!"),
        entry(2, "x", content=[{"type": "tool_result", "content": "never"}]),
        entry(3, "How lovely.", "assistant"),
    )
    await until(lambda: len(scene.stream.acked) == 3)
    assert (scene.stream.acked[0], {*scene.stream.acked[1:]}) == ("2-0", {"1-0", "3-0"})
    (asked,) = scene.model.asked
    assert "<noted>\n- Ann lives in Brno.\n</noted>" in asked
    assert "<new>\n[user] Pebble is nine today!\n\n[assistant] How lovely.\n</new>" in asked
    assert "never" not in asked
    assert scene.shelves.texts["s"] == ("Ann's whippet Pebble is nine.", "Ann lives in Brno.")
    assert scene.it.figures == Figures(
        sessions=1, waiting=0, heard=2, asked=1, failed=0, noted=1, forgotten=0, model="closed", trouble=""
    )
    assert scene.notes == []


@pytest.mark.spec("intro.ack")
async def test_nothing_is_acknowledged_before_the_model_was_asked(scene: Scene) -> None:
    scene.model.gate = asyncio.Event()
    scene.hear(entry(1, "Hello there."))
    await until(lambda: bool(scene.model.asked))
    assert (scene.stream.acked, scene.it.figures.waiting) == ([], 1)
    scene.hear(entry(2, "One more thing."))
    scene.model.gate.set()
    await until(lambda: scene.stream.acked == ["1-0", "2-0"])
    assert "<earlier>\n[user] Hello there.\n</earlier>" in scene.model.asked[1]


@pytest.mark.spec("intro.stored", "intro.figures")
async def test_what_was_stored_is_taken_away_and_not_noted_again(scene: Scene) -> None:
    scene.shelves.texts["s"] = ("Ann's whippet Pebble is nine.",)
    scene.shelves.texts["t"] = ("Bob is Ann's brother.",)
    scene.channel.coming.put_nowait("s")
    await until(lambda: scene.shelves.texts["s"] == ())
    scene.model.says = lambda _: envelope("Pebble, Ann's whippet, is nine.", "Ann moved to Brno.")
    scene.hear(entry(1, "Yes, nine."))
    await until(lambda: bool(scene.stream.acked))
    assert scene.shelves.texts == {"s": ("Ann moved to Brno.",), "t": ("Bob is Ann's brother.",)}
    assert scene.it.figures.forgotten == 1
    scene.channel.coming.put_nowait("unknown")
    scene.channel.coming.put_nowait("t")
    await until(lambda: scene.shelves.texts["t"] == ())
    assert scene.it.figures.sessions == 2


@pytest.mark.spec("intro.stored")
async def test_what_is_stored_while_the_model_thinks_does_not_come_back(scene: Scene) -> None:
    scene.shelves.texts["s"] = ("Ann's whippet Pebble is nine.",)
    scene.model.gate = asyncio.Event()
    scene.model.says = lambda _: envelope("Ann's whippet Pebble is nine.")
    scene.hear(entry(1, "Yes."))
    await until(lambda: bool(scene.model.asked))
    scene.channel.coming.put_nowait("s")
    await until(lambda: scene.shelves.texts["s"] == ())
    scene.model.gate.set()
    await until(lambda: bool(scene.stream.acked))
    assert scene.shelves.texts["s"] == ()


@pytest.mark.spec("intro.trouble", "intro.note", "intro.given-up", "intro.figures")
async def test_a_model_that_is_down_is_noted_once_and_its_lines_kept(scene: Scene) -> None:
    scene.model.says = down
    scene.hear(entry(1, "Hello there."))
    await until(lambda: scene.it.figures.failed >= MOST_TRIES + 1)
    assert (scene.stream.acked, scene.it.figures.trouble) == ([], "no model answers there")
    scene.model.says = lambda _: envelope("Ann said hello there.")
    await until(lambda: scene.stream.acked == ["1-0"])
    assert scene.shelves.texts["s"] == ("Ann said hello there.",)
    missed = "meanwhile memorables may be missed, and nothing else"
    assert scene.notes == [f"Intro, asking: no model answers there; {missed}", WELL]
    assert scene.it.figures.trouble == ""


@pytest.mark.spec("intro.breaker", "intro.figures")
async def test_a_model_that_fails_again_and_again_is_left_alone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "FIRST_WAIT", 1_000.0)
    scene.model.says = down
    scene.hear(entry(1, "Hello there."))
    await until(lambda: scene.it.figures.model == "open")
    asked = len(scene.model.asked)
    # Several rounds, each of which would ask.
    await asyncio.sleep(0.1)
    assert len(scene.model.asked) == asked
    scene.model.says = lambda _: envelope()
    scene.ahead = 1_001.0
    await until(lambda: scene.it.figures.model == "closed")
    assert len(scene.model.asked) == asked + 1


@pytest.mark.spec("intro.given-up", "intro.trouble")
@pytest.mark.parametrize(
    ("says", "told"),
    [
        (slow, "it is slow"),
        (lambda _: "no envelope", GARBAGE),
        (lambda _: str(1 / 0), "a fault of ours (ZeroDivisionError)"),
    ],
)
async def test_lines_that_the_model_fails_on_are_given_up(
    scene: Scene, says: Callable[[str], str], told: str
) -> None:
    scene.model.says = lambda question: (
        says(question) if "poison" in question else envelope("Bob is here now.")
    )
    scene.hear(entry(1, "poison"), entry(2, "Hello.", session="t"))
    await until(lambda: set(scene.stream.acked) == {"1-0", "2-0"})
    assert scene.it.figures.failed == MOST_TRIES
    assert scene.shelves.texts.get("t") == ("Bob is here now.",), "others have their turn"
    assert scene.notes[0].startswith(f"Intro, asking: {told}; ")
    assert len([note for note in scene.notes if told in note]) <= 2


@pytest.mark.spec("intro.trouble", "intro.note")
async def test_a_store_in_trouble_costs_no_question(scene: Scene) -> None:
    scene.shelves.trouble = "the store: gone"
    scene.hear(entry(1, "Hello there."))
    await until(lambda: scene.it.figures.failed >= 2)
    assert (scene.model.asked, scene.stream.acked) == ([], [])
    scene.channel.coming.put_nowait("s")
    await until(lambda: len(scene.notes) == 2)
    scene.shelves.trouble = ""
    await until(lambda: scene.stream.acked == ["1-0"])
    await until(lambda: scene.it.figures.trouble == "")
    assert len(scene.notes) == 4


@pytest.mark.spec("intro.trouble", "intro.note")
async def test_a_stream_and_a_channel_in_trouble_are_gone_back_to() -> None:
    scene = Scene()
    scene.stream.trouble = "the store: gone"
    scene.channel.coming.put_nowait("trouble")
    async with running(scene.it):
        await until(lambda: len(scene.notes) == 2)
        scene.stream.trouble = ""
        await until(lambda: len(scene.notes) == 3 and "what is stored: well again" in scene.notes[2])
        scene.hear(entry(1, "Hello there."))
        await until(lambda: scene.stream.acked == ["1-0"])
    assert "Intro, hearing: well again" in scene.notes


async def test_closing_lets_go_of_all_parts() -> None:
    scene = Scene()
    await scene.it.aclose()
    parts = (scene.stream, scene.shelves, scene.channel, scene.model)
    assert [part.closed for part in parts] == [1, 1, 1, 1]


def noticing(asked: Asked) -> str:
    return envelope("Ann's whippet Pebble turned nine.") if "nine" in asked.question else envelope()
