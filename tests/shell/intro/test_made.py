import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import cast

import pytest
from attrs import define, field
from redis import Redis as Direct

from loom_shell.bus import Bus
from loom_shell.cortex import Announcer
from loom_shell.intro import Intro, Pace, intro
from loom_shell.redis_url import Redis
from tests.support.heard import published
from tests.support.model import Asked, SimulatedModel, envelope, simulated_model
from tests.support.store import valkey
from tests.support.wire import until

pytestmark = pytest.mark.anyio
SOON = Pace(quiet=0.01, longest=0.05, much=8_000)


def noticing(asked: Asked) -> str:
    return envelope("Ann's whippet Pebble turned nine.") if "nine" in asked.question else envelope()


@asynccontextmanager
async def running(it: Intro) -> AsyncIterator[None]:
    task = asyncio.create_task(it.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@define
class Real:
    """Intro over a real store and a simulated model, as after each start anew."""

    place: Redis
    direct: Direct
    model: SimulatedModel
    bus: Bus
    notes: list[str] = field(factory=list)

    @asynccontextmanager
    async def running(self, kind: str) -> AsyncIterator[Intro]:
        it = intro(self.model.settings(kind), self.place, "one", self.notes.append, SOON)
        async with running(it):
            yield it
        await it.aclose()

    @property
    def texts(self) -> list[str]:
        return cast("list[str]", self.direct.lrange("intro:memorables:s", 0, -1))

    @property
    def pending(self) -> int:
        return int(cast("dict[str, int]", self.direct.xpending("loom:transcript", "intro"))["pending"])


@pytest.fixture
async def real() -> AsyncIterator[Real]:
    with valkey() as server, Direct(port=server.port, protocol=2, decode_responses=True) as direct:
        place = Redis("127.0.0.1", server.port, 0, "", None)
        async with simulated_model() as model:
            model.says = noticing
            one = Real(place, direct, model, Bus(place))
            yield one
            await one.bus.aclose()
    assert one.notes == []


@pytest.mark.spec("intro.ack", "intro.shelf", "intro.stored", "intro.once")
@pytest.mark.parametrize("kind", ["ollama", "messages"])
async def test_from_the_stream_to_the_shelf_and_away_again(real: Real, kind: str) -> None:
    await real.bus.publish([published(1, "Pebble is nine today!"), published(2, "Lovely.", "assistant")])
    async with real.running(kind):
        await until(lambda: real.texts == ["Ann's whippet Pebble turned nine."])
        await until(lambda: real.pending == 0)
    said = Announcer(real.place)
    async with real.running(kind) as it:
        while real.texts:
            # Whoever does not listen yet does not hear it.
            said.stored("s", "7")
            await asyncio.sleep(0.02)
        assert len(real.model.asked) == 1, "after the start anew there was nothing to ask"
        await real.bus.publish([published(3, "And yes, nine!")])
        await until(lambda: it.figures.asked == 1)
        assert len(real.model.asked) == 2
        await until(lambda: real.pending == 0)
    await said.aclose()
    assert real.texts == []


@pytest.mark.spec("intro.figures")
async def test_it_is_told_how_far_it_is_behind(real: Real) -> None:
    it = intro(real.model.settings(), real.place, "one", real.notes.append)
    assert await it.lag() == 0
    await real.bus.publish([published(1, "Hello."), published(2, "Hello?")])
    assert await it.lag() == 2
    await it.aclose()


@pytest.mark.spec("intro.ack")
async def test_what_was_not_asked_about_comes_again_after_a_start_anew(real: Real) -> None:
    await real.bus.publish([published(1, "Pebble is nine today!")])
    real.model.is_silent = True
    async with real.running("ollama"):
        await real.model.until(1)
        assert real.pending == 1
    real.model.is_silent = False
    async with real.running("ollama"):
        await until(lambda: real.pending == 0)
    assert len(real.model.asked) == 2
    assert real.texts == ["Ann's whippet Pebble turned nine."]
