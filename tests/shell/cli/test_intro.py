import signal
import sys
from pathlib import Path

import pytest
import typer
from redis import Redis as Direct
from typer.testing import CliRunner

from loom_shell.bus import Bus
from loom_shell.cli.intro import intro
from loom_shell.redis_url import Redis
from tests.support.child import started
from tests.support.heard import published
from tests.support.model import envelope, simulated_model
from tests.support.store import valkey
from tests.support.wire import until

COMMAND = (sys.executable, "-c", "import typer; from loom_shell.cli.intro import intro; typer.run(intro)")


@pytest.mark.anyio
@pytest.mark.spec("intro.command", "intro.key")
async def test_it_reads_along_until_a_signal(tmp_path: Path) -> None:
    with valkey() as server:
        place = Redis("127.0.0.1", server.port, 0, "", None)
        async with simulated_model() as model:
            direct = Direct(port=server.port, protocol=2)
            model.says = lambda _: envelope("Ann's whippet Pebble is nine.")
            variables = {
                "LOOM_INTRO_URL": model.url,
                "LOOM_INTRO_MODEL": "small",
                "LOOM_INTRO_KEY": "intro-key-123",
                "LOOM_REDIS_URL": f"redis://127.0.0.1:{server.port}",
            }
            async with started(*COMMAND, home=tmp_path, **variables) as child:
                await child.until("reads along")
                bus = Bus(place)
                # More than is waited for: it is asked at once.
                await bus.publish([published(i, f"Pebble is nine. {'x' * 3_000}") for i in range(4)])
                await bus.aclose()
                await until(lambda: direct.llen("intro:memorables:s") == 1, 15)
                child.signal(signal.SIGTERM)
                assert await child.ended() == 0
            assert model.asked[0].headers["authorization"] == "Bearer intro-key-123"
            direct.close()
    assert "intro-key-123" not in child.screen + child.raw_log.decode()
    assert child.raw_log == b""


@pytest.mark.spec("intro.command-off")
def test_without_a_model_it_says_how_to_configure_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "LOOM_CONFIG", "LOOM_INTRO_URL", "LOOM_INTRO_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    command = typer.Typer()
    command.command()(intro)
    for words, told in (
        ((), "set LOOM_INTRO_URL and LOOM_INTRO_MODEL"),
        (("--config", "none.toml"), "cannot read"),
    ):
        result = CliRunner().invoke(command, words)
        assert (result.exit_code, result.stdout) == (2, "")
        (line,) = result.stderr.splitlines()
        assert line.startswith("loom intro: ")
        assert told in line
