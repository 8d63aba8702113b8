import asyncio

import pytest

from loom_shell.demo.stage import DemoFailed
from loom_shell.demo.turns import turns
from loom_shell.simulator import Simulator
from tests.support.proxy import loom


@pytest.mark.spec("demo.turns")
def test_what_answers_with_no_turns_fails_the_demonstration_in_one_sentence() -> None:
    async def run() -> None:
        async with Simulator("ok") as upstream:
            await turns(upstream.origin, "a session")

    with pytest.raises(DemoFailed, match=r"did not tell of its turns \(status 404\)"):
        asyncio.run(run())


@pytest.mark.spec("demo.turns")
def test_a_loom_nobody_talked_to_has_none() -> None:
    async def run() -> int:
        async with Simulator("ok") as upstream, loom(upstream.origin) as proxy:
            return len(await turns(proxy.origin, "a session"))

    assert asyncio.run(run()) == 0
