"""The whole loop: what is said comes back in the session's next prompt, in other sessions, and on asking."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest
from redis import Redis as Direct
from typer.testing import CliRunner

from loom_core.block import CANARY
from loom_shell import readers
from loom_shell.cli.main import command_line
from loom_shell.cortex import CortexKey
from loom_shell.embedded import Embedded
from loom_shell.intro import Pace, intro
from loom_shell.scribe import FILE_NAME, Database
from loom_shell.simulator import Simulator
from loom_shell.stream import STREAM
from tests.support.embedded import direct, is_running
from tests.support.model import SimulatedModel, envelope, simulated_model
from tests.support.proxy import RunningLoom, loom
from tests.support.scribed import written
from tests.support.store import valkey
from tests.support.told import AMPLE, TOML, Told, breaks, furnished, of_session
from tests.support.writer import WITHIN, holds, writer

pytestmark = pytest.mark.anyio

ONE, OTHER = "10000000-0000-4000-8000-000000000001", "20000000-0000-4000-8000-000000000002"
NOTED = "Kim pours the tea from the blue kettle."
SAID = (
    ("user", "Kim here. I pour my tea from the blue kettle and from no other one."),
    ("assistant", "The blue kettle it is."),
)
PROFILE = TOML.replace("[memorables]\non = false\n", "")


@contextmanager
def store(kind: str) -> Iterator[str]:
    """Where the one store is: "" for the embedded one."""
    with ExitStack() as stack:
        yield f"redis://127.0.0.1:{stack.enter_context(valkey()).port}" if kind == "shared" else ""


@asynccontextmanager
async def looped(sim: Simulator, home: Path, url: str, model: SimulatedModel) -> AsyncIterator[RunningLoom]:
    """A Loom as `loom serve` is one; of what it is not by default there is the model."""
    flags = {"transcripts_roots": str(home.parent / "projects"), **({"redis_url": url} if url else {})}
    named = {"intro_url": model.url, "intro_model": "small"}
    async with loom(sim.origin, home=str(home), **flags, **named, **AMPLE) as running:
        yield running
        await running.idle()
        assert (running.faults, running.notes) == ([], [])


@contextmanager
def looked_at(url: str, home: Path) -> Iterator[Direct]:
    if url:
        with Direct.from_url(url, decode_responses=True) as one:
            yield one
    else:
        with direct(Embedded(home).place) as one:
            yield one


def line(number: int, role: str, words: str, session: str) -> bytes:
    return written(number, words, role=role, session=session) + b"\n"


def block(session: str, path: Path) -> str:
    """What the hook puts into a prompt, and the client into its transcript."""
    mark = CANARY.decode()
    told = {"canary": mark, "session_id": session, "transcript_path": str(path)}
    return f"UserPromptSubmit hook additional context: {mark} {json.dumps(told)} {mark}"


async def stored(running: RunningLoom, home: Path, session: str, text: str) -> None:
    """The assistant keeps a memory, with a tool of its own."""
    headers = {"x-api-key": CortexKey(home).get().expose(), "x-session-id": session}
    async with httpx.AsyncClient(trust_env=False, headers=headers) as client:
        answer = await client.post(f"{running.origin}/loom/cortex/store", json={"content": text})
    assert answer.status_code == 201, answer.text


async def settled(running: RunningLoom) -> None:
    """All was done that there was to do, and no more."""
    told: tuple[object, ...] = ()
    async with asyncio.timeout(WITHIN), httpx.AsyncClient(trust_env=False) as client:
        while told != (4, 4, 1, 1, 1):
            parts = (await client.get(f"{running.origin}/loom/status")).json()
            noted, memories = parts["intro"], parts["memories"]["memories"]
            so_far = parts["transcripts"]["published"], parts["scribe"]["stored"]
            told = (*so_far, noted["noted"], noted["forgotten"], memories)
            await asyncio.sleep(0.02)


def command(home: Path, *words: str) -> str:
    """What a `loom` command prints."""
    given = [*words, "--home", str(home)]
    clean = dict.fromkeys((name for name in os.environ if name.startswith(("LOOM_", "XDG_"))), None)
    result = CliRunner().invoke(command_line(given), given, env={**clean, "HOME": str(home), "TZ": "UTC"})
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def newest(body: bytes) -> str:
    """The last prompt as it went up."""
    content = msgspec.json.decode(body)["messages"][-1]["content"]
    return "\n".join(part["text"] for part in content)


def raws(home: Path, session: str) -> list[str]:
    database = Database(home / FILE_NAME)
    found = [one.raw for one in database.lines(session)]
    database.close()
    return found


@pytest.mark.parametrize("kind", ["embedded", "shared"])
@pytest.mark.spec("readers.loop", "readers.asked", "readers.canary")
async def test_what_is_said_comes_back_in_the_session_in_others_and_on_asking(
    kind: str, sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = await furnished(tmp_path / "home", (), profile=PROFILE)
    projects = tmp_path / "projects" / "-work"
    monkeypatch.setattr(readers, "intro", partial(intro, pace=Pace(quiet=0.1)))
    one, other = Told(ONE), Told(OTHER)
    async with writer() as client, simulated_model() as model:
        model.says = lambda asked: envelope(*([NOTED] if "I pour my tea" in asked.question else []))
        with store(kind) as url:
            async with looped(sim, home, url, model) as running:
                # Only the session is named, and its file is there a moment later.
                one.prompt(SAID[0][1])
                assert (await one.ask(running)).status == 200
                lines = [line(number, *said, ONE) for number, said in enumerate(SAID)]
                await client.append(projects / f"{ONE}.jsonl", b"".join(lines))
                await model.until(1)
                with looked_at(url, home) as redis:
                    noted = f"intro:memorables:{ONE}"
                    await holds(lambda: redis.lrange(noted, 0, -1) == [NOTED])

                    one.answered(SAID[1][1])
                    one.prompt("Well then.")
                    assert (await one.ask(running)).status == 200

                    await holds(lambda: redis.pubsub_numpat() == 1)
                    await stored(running, home, ONE, NOTED)
                    await holds(lambda: not redis.exists(noted))

                # Here the metadata block names the file, whose name is not the session's.
                path = projects / "another.jsonl"
                other.prompt(block(OTHER, path))
                other.messages[-1]["content"].append({"type": "text", "text": "Which kettle is Kim's?"})
                assert (await other.ask(running)).status == 200
                hidden = line(0, "user", f"{block(OTHER, path)}\n\nWhich kettle is Kim's?", OTHER)
                await client.append(path, hidden, line(1, "assistant", "The blue one.", OTHER))

                one.answered("Good.")
                one.prompt("And now?")
                assert (await one.ask(running)).status == 200
                await settled(running)
                with looked_at(url, home) as redis:
                    assert CANARY.decode() not in str(redis.xrange(STREAM))
    assert kind == "shared" or not is_running(home)

    first, second, third = of_session(sim, ONE)
    assert NOTED not in first.decode()
    assert NOTED in newest(second)
    assert breaks([first, second, third]) == []
    (asked,) = of_session(sim, OTHER)
    assert NOTED in newest(asked)
    assert CANARY not in asked

    _given_back(home, lines)


def _given_back(home: Path, lines: list[bytes]) -> None:
    assert raws(home, ONE) == [it.decode().rstrip("\n") for it in lines]
    assert CANARY.decode() not in "".join(raws(home, OTHER))
    found = command(home, "search", "pouring kettles", "--json").splitlines()
    assert [(it["session"], it["text"]) for it in map(json.loads, found)] == [(ONE, SAID[0][1])]
    shown = command(home, "show", ONE[:8])
    assert shown.index(SAID[0][1]) < shown.index(SAID[1][1])
    assert "Which kettle is Kim's?" in command(home, "show", OTHER[:8])
