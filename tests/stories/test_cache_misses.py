"""Who broke the cache: a real client, a real Loom, and the simulator's cache, whose figures show the miss."""

from typing import Any

import pytest

from loom_shell.recent import KEPT
from loom_shell.simulator import Simulator
from tests.support.hooked import ASK, SYSTEM, Prompt, answered, ask, named, traced

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.spec("miss.shown", "miss.first", "miss.expected")
async def test_the_span_of_the_call_that_missed_names_who_broke_the_cache(
    *, streamed: bool, sim: Simulator
) -> None:
    prompt = Prompt(1)
    headers, turn = prompt.headers(), [prompt.hooked]
    other = [{"type": "text", "text": "Answer in many words. " * 400, "cache_control": {"type": "ephemeral"}}]
    changes: list[dict[str, Any]] = [{}, {}, {"system": other}, {"system": other}, {"system": SYSTEM}]
    async with traced(sim) as told, told.sdk() as client:
        for change in changes:
            asks = await ask(client, turn, headers, streamed=streamed, **{**ASK, **change})
            turn = answered(asks, turn)
        assert await told.stop(prompt) == 204
    chats = sorted(named(told.spans, "chat"), key=lambda span: span.start)
    words = [span.attributes.get("loom.cache.miss") for span in chats]
    # The last one found what the second had cached.
    assert words == [None, None, "system block 1 changed (client)", None, None]
    assert chats[2].attributes["loom.cache.miss_cause"] == "system"
    assert chats[2].attributes["loom.cache.miss_tokens"] > 1_000
    assert {"loom.cache.miss", "loom.cache.miss_tokens"} <= KEPT
