"""The demonstration from its first line to its last."""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import anthropic
import httpx2

from loom_shell.demo import conversation
from loom_shell.demo.compare import differences
from loom_shell.demo.conversation import Call, Outcome, Wanted
from loom_shell.demo.places import places
from loom_shell.demo.screen import Report, Screen
from loom_shell.demo.stage import DemoFailed, Stage, stage
from loom_shell.demo.tap import Passed, Tap
from loom_shell.demo.turns import turns

END_SECONDS = 2.5
"""Kept back from the deadline for ending what was started."""


async def show(screen: Screen, pace: float, seconds: float) -> None:
    """All of it, `pace` seconds between two frames, within `seconds`. Raises `DemoFailed`."""
    try:
        async with asyncio.timeout(max(0.0, seconds - END_SECONDS)):
            async with stage(pace) as playing:
                await _play(screen, playing)
    except TimeoutError:
        raise DemoFailed(f"not done after {seconds:g} seconds; is this machine very busy?") from None


async def _play(screen: Screen, playing: Stage) -> None:
    began = time.monotonic()
    screen.opened(anthropic.__version__, playing.loom, playing.behind.origin)
    async with _Caller(playing.loom) as through, _Caller(playing.twin.origin) as direct:
        asking = _Asking(screen, playing, through, direct)
        prompt = conversation.opening()
        results = conversation.results(prompt, await asking.ask(prompt))
        final = await asking.ask(results)
        more = conversation.follow_up(results, final, "A follow-up, not streamed", Wanted.WHOLE)
        await asking.ask(more)
        await asking.ask(conversation.again(more, "Its tokens, counted", Wanted.COUNT))
        await asking.ask(conversation.again(more, "A refusal, passed on to the letter", Wanted.REFUSAL))
        await asking.ask(conversation.again(more, "An upstream that breaks in mid-stream", Wanted.BREAK))
        screen.followed(await turns(playing.loom, conversation.SESSION))
        screen.woven(asking.edits, places(conversation.SYSTEM, more.messages))
        screen.closed(through.tap.passed, time.monotonic() - began)


class _Caller:
    """The SDK's client for one origin, and the tap on its wire."""

    def __init__(self, origin: str) -> None:
        self.watch: Callable[[Passed], None] = lambda _: None
        """Is told what passes, as it passes."""

        self.tap = Tap(httpx2.AsyncHTTPTransport(trust_env=False), self._news)
        self.client = conversation.caller(origin, self.tap)

    def _news(self, passed: Passed) -> None:
        self.watch(passed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.client.close()


class _Asking:
    """Makes each call twice, through the Loom and directly, and shows the first."""

    def __init__(self, screen: Screen, playing: Stage, through: _Caller, direct: _Caller) -> None:
        self._screen, self._playing = screen, playing
        self._through, self._direct = through, direct
        self._count = 0
        self.edits = 0
        """Requests that reached upstream with another body than the client wrote."""

    async def ask(self, call: Call) -> Outcome:
        place, playing = self._count, self._playing
        self._count += 1
        with self._screen.watching(self._count, call) as watch:
            self._through.watch = watch.passing
            got = await conversation.perform(self._through.client, call, watch.text)
        conversation.expect(self._count, call, got)
        await conversation.perform(self._direct.client, call, lambda _: None)
        passed, twin = self._through.tap.passed[place], self._direct.tap.passed[place]
        behind, beside = playing.behind.requests[place], playing.twin.requests[place]
        self.edits += behind.body != passed.up
        if found := differences(passed, twin, behind, beside):
            raise DemoFailed(
                f"request {self._count} differs from the same call made directly: {', '.join(found)}"
            )
        self._screen.finished(Report(self._count, call, got, passed, await playing.logged(place)))
        return got
