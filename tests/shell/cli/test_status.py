import json
import os
from pathlib import Path

import anyio.to_thread
import pytest
import typer
from typer.testing import CliRunner

from loom_shell.cli.status import lines, status
from loom_shell.simulator import Simulator
from tests.support.answering import answering
from tests.support.proxy import loom

APP = typer.Typer()
APP.command()(status)
TOLD = {
    "exchanges": 3,
    "is_draining": False,
    "profiles": ["ann", "b\x1b[2J"],
    "store": {"place": "x", "state": "in trouble", "trouble": "no answer"},
    "transcripts": {"files": 2, "waiting": 1, "published": 4_000, "behind": 0, "refused": 0, "bus": "well"},
    "scribe": {"stored": 4_000, "lag": -1, "trouble": ""},
    "intro": None,
    "memories": {"memories": 7, "forgotten": 1},
}
ODD = {
    "exchanges": "many",
    "profiles": 5,
    "is_draining": True,
    "store": {"state": "left alone"},
    "scribe": [],
}


@pytest.mark.spec("readers.status-command")
def test_each_part_is_a_line_and_says_whether_it_is_well() -> None:
    found = {name: (text, is_well) for name, text, is_well in lines(TOLD)}
    assert found["exchanges"] == ("3 under way", True)
    assert found["store"] == ("in trouble · no answer", False)
    assert found["transcripts"][0].startswith("well · 2 followed, 1 not there yet, 4,000 lines published")
    assert found["scribe"] == ("4,000 lines stored, ? to come", True)
    assert found["intro"] == ("not running", True)
    assert found["memories"] == ("7 kept, 1 forgotten", True)
    assert "\x1b" not in found["profiles"][0]


@pytest.mark.spec("readers.status-command")
def test_what_is_odd_is_shown_as_far_as_it_can_be() -> None:
    found = {name: (text, is_well) for name, text, is_well in lines(ODD)}
    assert found["exchanges"] == ("? under way, draining", False)
    assert found["store"] == ("left alone", False)
    assert found["scribe"] == ("not running", True)


@pytest.mark.spec("readers.status-command")
def test_where_no_loom_answers_it_says_so_in_one_line() -> None:
    ran = CliRunner().invoke(APP, ["--url", "http://127.0.0.1:1"])
    assert ran.exit_code == 1
    with answering({"/loom/status?": (200, b"[]")}) as (url, _):
        assert CliRunner().invoke(APP, ["--url", url]).exit_code == 1


@pytest.mark.anyio
@pytest.mark.spec("readers.status-command", "readers.status")
async def test_it_shows_a_running_loom(tmp_path: Path) -> None:
    async with Simulator() as sim, loom(sim.origin, home=str(tmp_path)) as running:
        url = f"http://127.0.0.1:{running.port}"
        for arguments in (["--url", url], ["--url", url, "--json"]):
            ran = await anyio.to_thread.run_sync(CliRunner().invoke, APP, arguments)
            assert ran.exit_code == 0, ran.output
    told = json.loads(ran.output)
    assert (told["exchanges"], told["profiles"], told["intro"]) == (0, [], None)
    assert not any(os.scandir(tmp_path)), "nobody named a session: nothing is made"
