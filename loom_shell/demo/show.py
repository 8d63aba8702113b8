"""The demonstration from its first line to its last."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import anthropic
import httpx2

from loom_shell.demo import conversation
from loom_shell.demo.compare import differences
from loom_shell.demo.conversation import Call, Outcome, Wanted
from loom_shell.demo.home import PROFILE
from loom_shell.demo.places import parts
from loom_shell.demo.screen import Report, Screen
from loom_shell.demo.stage import DemoFailed, Stage, stage
from loom_shell.demo.tap import Instead, Passed, Tap
from loom_shell.demo.turns import turns
from loom_shell.demo.woven import Woven, cache_of, fault

END_SECONDS = 2.5
"""Kept back from the deadline for ending what was started."""


async def show(screen: Screen, pace: float, seconds: float, journal: Path | None = None) -> None:
    """All of it, `pace` seconds between two frames, within `seconds`. Raises `DemoFailed`.

    `journal`: the folder in which the Loom records it.
    """
    try:
        async with asyncio.timeout(max(0.0, seconds - END_SECONDS)):
            async with stage(pace, journal) as playing:
                await _play(screen, playing)
    except TimeoutError:
        raise DemoFailed("it was not done in time; is this machine very busy?") from None


async def _play(screen: Screen, playing: Stage) -> None:
    began = time.monotonic()
    screen.opened(anthropic.__version__, playing.loom, playing.behind.origin)
    screen.lacks(playing.troubles)
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
        await _weave(screen, asking)
        screen.closed(through.tap.passed, len(asking.woven), time.monotonic() - began)


async def _weave(screen: Screen, asking: "_Asking") -> None:
    """The conversation once more, from a profile, and what that has changed."""
    screen.headed("The same conversation, from a profile")
    prompt = conversation.opening("The prompt, and who speaks", PROFILE)
    results = conversation.results(prompt, await asking.ask(prompt))
    await asking.ask(results)
    await asking.ask(conversation.again(results, "The same once more", results.wanted))
    screen.woven(asking.woven)


class _Caller:
    """The SDK's client for one origin, and the tap on its wire."""

    def __init__(self, origin: str) -> None:
        self.watch: Callable[[Passed], None] = lambda _: None
        """Is told what passes, as it passes."""

        self.instead = Instead(httpx2.AsyncHTTPTransport(trust_env=False))
        self.tap = Tap(self.instead, self._news)
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
    """Makes each call twice, through the Loom and directly, and shows the first.

    What the Loom wove into a call, the direct one has in it as well: then their answers must be the same.
    """

    def __init__(self, screen: Screen, playing: Stage, through: _Caller, direct: _Caller) -> None:
        self._screen, self._playing = screen, playing
        self._through, self._direct = through, direct
        self._count = 0
        self.woven: list[Woven] = []
        """Each request that was woven into."""

    async def ask(self, call: Call) -> Outcome:
        place, playing = self._count, self._playing
        self._count += 1
        with self._screen.watching(self._count, call) as watch:
            self._through.watch = watch.passing
            got = await conversation.perform(self._through.client, call, watch.text)
        conversation.expect(self._count, call, got)
        passed, behind = self._through.tap.passed[place], playing.behind.requests[place]
        found = parts(passed.up, behind.body) if call.profile else ()
        self._direct.instead.body = behind.body if call.profile else None
        await conversation.perform(self._direct.client, call, lambda _: None)
        differing = differences(
            passed, self._direct.tap.passed[place], behind, playing.twin.requests[place], found
        )
        if differing:
            raise DemoFailed(
                f"request {self._count} differs from the same call made directly: {', '.join(differing)}"
            )
        line = await playing.logged(place)
        if call.profile:
            self._keep(Woven(self._count, passed.up, behind.body, found, cache_of(line)))
        self._screen.finished(Report(self._count, call, got, passed, line, found))
        return got

    def _keep(self, woven: Woven) -> None:
        """Raises `DemoFailed` unless something was woven, and upstream's cache kept what it had."""
        if why := fault(woven, self.woven):
            raise DemoFailed(f"request {woven.number} {why}")
        self.woven.append(woven)
