import io
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from loom_shell.cli import serve as command
from loom_shell.cli.main import command_line
from loom_shell.config import Config, load
from loom_shell.settings import SETTINGS
from tests.support.child import environment
from tests.support.proxy import tokens


def screen(
    tmp_path: Path, port: int = 8080, environ: dict[str, str] | None = None, **flags: str | bool
) -> str:
    config = load(flags, {"HOME": str(tmp_path), **(environ or {})})
    out = io.StringIO()
    command.show(config, port, Console(file=out, width=40))
    return out.getvalue()


@pytest.fixture
def serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str, list[Config]]]:
    """Runs the command without serving: its exit code, what it printed, and with what it would serve."""
    would_serve: list[Config] = []

    def run(config: Config, sock: socket.socket, on_ready: Callable[[], None]) -> int:
        would_serve.append(config)
        on_ready()
        sock.close()
        return 0

    monkeypatch.setattr(command, "run", run)
    for name in [*environment(tmp_path)]:
        if name.startswith("LOOM_"):
            monkeypatch.delenv(name)

    def called(*arguments: str, **variables: str) -> tuple[int, str, str, list[Config]]:
        given = ["serve", *arguments]
        env = {"HOME": str(tmp_path), **variables}
        result = CliRunner().invoke(command_line(given), given, env=env)
        return result.exit_code, result.stdout, result.stderr, would_serve

    return called


@pytest.mark.spec("server.screen")
def test_the_screen_names_the_profiles_that_are_there_and_counts_the_broken(tmp_path: Path) -> None:
    home = tmp_path / "loom"
    assert "profiles   none: requests go on as they come\n" in screen(tmp_path, home=str(home))
    for name in ("alpha", "beta"):
        assert CliRunner().invoke(command_line(["profile"]), ["profile", "new", name, "--home", str(home)])
    assert "profiles   alpha, beta\n" in screen(tmp_path, home=str(home))
    (home / "profiles" / "beta" / "profile.toml").write_text("agents = 5\n")
    assert "profiles   alpha; 1 broken, see `loom profile check`\n" in screen(tmp_path, home=str(home))
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "profiles").symlink_to(tmp_path / "file" / "profiles")
    assert "cannot list" in screen(tmp_path, home=str(tmp_path / "file"))


@pytest.mark.spec("server.screen")
def test_the_screen_names_address_upstream_what_is_on_and_how_to_point_a_client_at_it(tmp_path: Path) -> None:
    shown = screen(tmp_path, 4711, upstream="https://upstream.test:8443", max_body_bytes="3kB", workers="4")
    assert "listening  http://127.0.0.1:4711 (4 workers)\n" in shown
    assert "upstream   https://upstream.test:8443\n" in shown
    assert "credential the client's own, passed through\n" in shown
    assert "retries    up to 3 attempts, before any answer only\n" in shown
    assert "body limit 3000 bytes\n" in shown
    assert "health     http://127.0.0.1:4711/loom/healthz  http://127.0.0.1:4711/loom/readyz\n" in shown
    assert "  ANTHROPIC_BASE_URL=http://127.0.0.1:4711 claude\n" in shown
    assert len(shown.splitlines()) < 24


@pytest.mark.parametrize(
    ("host", "listening", "reachable"),
    [
        ("::1", "http://[::1]:80", "http://[::1]:80"),
        ("0.0.0.0", "http://0.0.0.0:80", "http://127.0.0.1:80"),
        ("::", "http://[::]:80", "http://127.0.0.1:80"),
        ("localhost", "http://localhost:80", "http://localhost:80"),
    ],
)
@pytest.mark.spec("server.screen")
def test_the_address_for_the_client_is_one_that_can_be_reached(
    host: str, listening: str, reachable: str, tmp_path: Path
) -> None:
    shown = screen(tmp_path, 80, host=host, allow_open=True)
    assert f"  listening  {listening}\n" in shown
    assert f"ANTHROPIC_BASE_URL={reachable} claude\n" in shown


@pytest.mark.spec("server.screen")
def test_the_screen_says_whose_credential_goes_upstream_and_never_shows_it(tmp_path: Path) -> None:
    key = {"LOOM_UPSTREAM_API_KEY": "sk-ant-secret"}
    assert "credential the Loom's key, for every caller\n" in screen(tmp_path, environ=key)
    file = tokens(tmp_path, anna="loom_a", ben="loom_b")
    shown = screen(tmp_path, environ=key, client_tokens_file=file)
    assert "credential the Loom's key; 2 client tokens known\n" in shown
    assert "secret" not in shown


@pytest.mark.spec("server.options")
def test_every_setting_with_a_flag_is_an_option_and_is_taken(
    serve: Callable[..., tuple[int, str, str, list[Config]]], tmp_path: Path
) -> None:
    _, _, _, served = serve(
        "--port=0", "--upstream=http://127.0.0.1:1", "--workers=3", "--drain-seconds=1.5", "--allow-open",
        "--max-body-bytes=5MB", "--log=json", "--retry-statuses=429,529", "--home", str(tmp_path / "home"),
    )  # fmt: skip
    (config,) = served
    assert (config.port, config.origin.url, config.workers) == (0, "http://127.0.0.1:1", 3)
    assert (config.drain_seconds, config.allow_open, config.log) == (1.5, True, "json")
    assert config.rules.max_body == 5_000_000
    assert config.rules.retry.statuses == {429, 529}
    assert config.home == tmp_path / "home"
    code, helped, _, _ = serve("--help", COLUMNS="200", TERMINAL_WIDTH="200")
    assert code == 0
    for setting in SETTINGS:
        if setting.flag:
            assert setting.option in helped
            assert setting.default in (None, "false") or f"[{setting.default}]" in helped


@pytest.mark.spec("server.options")
def test_a_variable_and_a_file_set_what_no_flag_does(
    serve: Callable[..., tuple[int, str, str, list[Config]]], tmp_path: Path
) -> None:
    file = tmp_path / "loom.toml"
    file.write_text(
        'upstream = "http://127.0.0.1:2"\nworkers = 2\n[retry]\nmax_attempts = 7\n', encoding="utf-8"
    )
    code, shown, _, (config,) = serve("--port", "0", "--config", str(file), LOOM_WORKERS="5")
    assert code == 0
    assert (config.origin.url, config.workers, config.rules.retry.max_attempts) == (
        "http://127.0.0.1:2",
        5,
        7,
    )
    assert "http://127.0.0.1:2" in shown


@pytest.mark.parametrize(
    ("arguments", "variables", "line"),
    [
        (("--port", "x"), {}, "loom: --port is 'x': port must be 0..=65535 (0: any free port)\n"),
        (("--workers", "0"), {}, "loom: --workers is '0': workers must be 1..=64\n"),
        (
            (),
            {"LOOM_RETRY_MAX_ATTEMPTS": "21"},
            "loom: LOOM_RETRY_MAX_ATTEMPTS is '21': retry.max_attempts must be 1..=20\n",
        ),
    ],
)
@pytest.mark.spec("server.wrong-value")
def test_a_wrong_value_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...],
    variables: dict[str, str],
    line: str,
    serve: Callable[..., tuple[int, str, str, list[Config]]],
) -> None:
    assert serve(*arguments, **variables) == (2, "", line, [])


@pytest.mark.spec("server.wrong-value")
def test_a_brackets_in_a_wrong_value_are_shown_as_they_are(
    serve: Callable[..., tuple[int, str, str, list[Config]]],
) -> None:
    _, _, said, _ = serve("--upstream", "[bold]x[/bold]")
    assert "'[bold]x[/bold]'" in said


@pytest.mark.spec("server.bind")
def test_a_port_in_use_is_one_line_and_exit_code_2(
    serve: Callable[..., tuple[int, str, str, list[Config]]],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, shown, said, _ = serve("--port", str(port))
    assert (code, shown) == (2, "")
    assert said == (
        f"loom: cannot listen on 127.0.0.1:{port}: Address already in use; choose another --host or --port\n"
    )


@pytest.mark.spec("server.screen")
def test_warnings_come_before_the_screen(serve: Callable[..., tuple[int, str, str, list[Config]]]) -> None:
    code, shown, said, _ = serve("--port", "0", LOOM_UPSTRAEM="http://x.test")
    assert code == 0
    assert said.startswith("loom: LOOM_UPSTRAEM is not a setting (did you mean LOOM_UPSTREAM?)")
    assert "ANTHROPIC_BASE_URL" in shown


@pytest.mark.spec("server.wrong-value", "server.bind")
def test_the_real_command_says_the_same(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "loom_shell", "serve", "--port", str(port)],
            env=environment(tmp_path),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"loom: cannot listen on 127.0.0.1:{port}: ")
    assert len(ended.stderr.splitlines()) == 1
