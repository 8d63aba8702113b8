import re
import signal
import socket
import sys
from pathlib import Path

import httpx
import pytest
import typer
from typer.testing import CliRunner

from loom_shell.cli.cortex import cortex
from loom_shell.memory import NewMemory, RemoteMemory
from loom_shell.secret import Secret
from tests.support.child import Served, started

COMMAND = (sys.executable, "-c", "import typer; from loom_shell.cli.cortex import cortex; typer.run(cortex)")


async def url(child: Served) -> str:
    found = await child.until(r"LOOM_MEMORY_URL=(http://\S+) LOOM_MEMORY_KEY=(\S.*?) loom serve\n")
    return found[1]


@pytest.mark.spec("cortex.command", "cortex.key-file", "cortex.key-secret")
@pytest.mark.anyio
async def test_it_serves_the_memory_of_its_home_until_a_signal(tmp_path: Path) -> None:
    async with started(*COMMAND, "--port", "0", home=tmp_path) as child:
        place = await url(child)
        file = tmp_path / ".local/share/loom/cortex-key"
        key = file.read_text().strip()
        memory = RemoteMemory(place, Secret(key), lambda: 0)
        assert (await memory.put(NewMemory("The loom.", 1))).id == "1"
        await memory.aclose()
        child.signal(signal.SIGINT)
        assert await child.ended() == 0
    assert f'LOOM_MEMORY_KEY="$(cat {file})"' in child.screen
    assert str(file.parent / "cortex.sqlite3") in child.screen
    assert key not in child.screen + child.raw_log.decode()
    assert child.raw_log == b""


@pytest.mark.spec("cortex.command", "cortex.key-secret", "cortex.announce-trouble")
@pytest.mark.anyio
async def test_a_configured_key_is_used_and_not_shown(tmp_path: Path) -> None:
    variables = {"LOOM_MEMORY_KEY": "my-own-key", "LOOM_HOME": str(tmp_path / "home"), "LOOM_LOG": "json"}
    async with started(*COMMAND, "--port", "0", home=tmp_path, **variables) as child:
        place = await url(child)
        async with httpx.AsyncClient(base_url=place, headers={"x-api-key": "my-own-key"}) as client:
            answer = await client.post("/store", json={"content": "x"}, headers={"x-session-id": "s"})
            assert answer.status_code == 201
            assert (await client.get("/recent", headers={"x-api-key": "wrong"})).status_code == 401
        await child.until("nobody is told what the Cortex stores")
        child.signal(signal.SIGTERM)
        assert await child.ended() == 0
    assert re.search(r"key +the configured one\n", child.screen)
    assert "my-own-key" not in child.screen + child.raw_log.decode()
    assert not (tmp_path / "home" / "cortex-key").exists()


@pytest.mark.spec("cortex.command-refused")
def test_what_keeps_it_from_starting_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "LOOM_HOME", "LOOM_CONFIG", "LOOM_MEMORY_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").touch()
    command = typer.Typer()
    command.command()(cortex)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for words, told in (
            (("--port", port), f"cannot listen on 127.0.0.1:{port}"),
            (("--home", str(tmp_path / "file")), "cannot write"),
            (("--config", "nowhere.toml"), "cannot read nowhere.toml"),
        ):
            result = CliRunner().invoke(command, words)
            assert (result.exit_code, result.stdout) == (2, "")
            (line,) = result.stderr.splitlines()
            assert line.startswith("loom cortex: ")
            assert told in line
