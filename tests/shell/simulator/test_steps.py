import asyncio
import time

import pytest

from loom_shell.simulator.steps import Finish, Paced, Reset, Script, Send, Spoil, Wait, perform
from loom_shell.simulator.wire import ClientLeft
from tests.shell.simulator.pairs import pair

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("end", [Finish(), Reset(), Spoil(), None])
async def test_steps_are_done_in_order_up_to_the_one_that_ends_the_connection(end: object) -> None:
    rest = [end, Send(b"never")] if end else []
    async with pair() as it:
        script = [Send(b"a"), Wait(), Wait(0.001), Send(b"b"), *rest]
        assert await perform(script, it.wire) == end
        await it.wire.finish(discard=False)
        assert await it.reader.read() == b"ab"


@pytest.mark.parametrize("step", [Wait(60), Send(b"x" * 32_000_000), Paced(b"a", b"b", 100_000, 1000)])
async def test_a_client_that_leaves_ends_the_script(step: object) -> None:
    async with pair() as it:
        script: Script = [Send(b"begun"), step]
        performing = asyncio.ensure_future(perform(script, it.wire))
        await it.reader.readexactly(5)
        it.leave()
        with pytest.raises(ClientLeft):
            await performing


@pytest.mark.spec("simulator.paced")
async def test_paced_writes_carry_the_time_they_went_out() -> None:
    async with pair() as it:
        started = time.monotonic_ns()
        await perform([Paced(b"<", b">", 5, 500)], it.wire)
        ended = time.monotonic_ns()
        raw = await it.reader.readexactly(5 * 22)
    times = [int(raw[i + 1 : i + 21]) for i in range(0, len(raw), 22)]
    assert raw[::22] + raw[21::22] == b"<<<<<>>>>>"
    assert started <= times[0] < times[-1] <= ended
    assert times == sorted(times)
    # Five writes at 500 a second keep four gaps of 2 ms; a clock may round a wait down a little.
    assert times[-1] - times[0] >= 4 * 2_000_000 - 1_000_000


async def test_pacing_waits_for_a_client_that_does_not_read() -> None:
    async with pair() as it:
        big = Paced(b"<" * 4_000_000, b">", 4, 1000)
        performing = asyncio.ensure_future(perform([big], it.wire))
        await it.reader.readexactly(1)
        assert not performing.done()
        await it.reader.readexactly(4 * 4_000_021 - 1)
        assert await performing is None
