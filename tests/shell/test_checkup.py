import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell import checkup, hook
from loom_shell.checkup import Finding, block_size
from loom_shell.client_settings import BASE_URL, HINTS, Wanted, events, hook_command, installed
from loom_shell.config import Cortex
from loom_shell.endpoints import Endpoint
from loom_shell.memory.schema import FILE_NAME
from loom_shell.redis_url import redis
from loom_shell.secret import Secret
from tests.support.answering import Answers, answering
from tests.support.deaf import write_profile
from tests.support.embedded import is_running, pid, running
from tests.support.store import valkey

NEW, OLD = (2, 1, 328), (2, 0, 76)
REAL = hook_command(sys.executable, str(Path(hook.__file__).resolve()))


def settings(
    url: str = "http://127.0.0.1:8080", command: str = REAL, version: tuple[int, int, int] = NEW
) -> str:
    return installed("", Wanted(command, events(version), url), None)[0]


def look(folder: Path, text: str | bytes, version: tuple[int, int, int] | None = NEW) -> Finding:
    (folder / "settings.json").write_bytes(text.encode() if isinstance(text, str) else text)
    return checkup.settings(folder, version)[0]


@pytest.mark.spec("doctor.chain")
def test_settings_with_all_of_ours_are_well(tmp_path: Path) -> None:
    finding = look(tmp_path, settings())
    assert finding.state == "ok"
    assert "UserPromptSubmit" in finding.found
    assert look(tmp_path, settings(version=OLD), OLD).state == "ok"
    assert look(tmp_path, settings(), None).state == "ok"


@pytest.mark.spec("doctor.chain")
@pytest.mark.parametrize(
    ("text", "version", "found", "todo"),
    [
        ("{}", NEW, "no hook of ours for SessionStart, UserPromptSubmit", "loom install"),
        (
            settings(version=OLD),
            NEW,
            "no hook of ours for SubagentStop, PostCompact, SessionEnd",
            "loom install",
        ),
        (settings(), OLD, "names PostCompact, for which this client ignores the whole file", "loom install"),
        (settings().replace(HINTS, "OTHER"), NEW, f"does not set env.{HINTS}", "loom install"),
        (
            settings().replace("{", '{"disableAllHooks": true,', 1),
            NEW,
            "switches all hooks off",
            "disableAllHooks",
        ),
        ("{\n// why\n}", NEW, "line 2: a comment", "correct it"),
        ('{"hooks": []}', NEW, "hooks must be an object", "correct it"),
        (b"\xff", NEW, "not UTF-8", "correct it"),
    ],
)
def test_what_is_wrong_with_settings_is_told(
    tmp_path: Path, text: str | bytes, version: tuple[int, int, int], found: str, todo: str
) -> None:
    finding = look(tmp_path, text, version)
    assert finding.state == "wrong"
    assert found in finding.found
    assert todo in finding.todo


def test_settings_that_are_not_there_are_wrong(tmp_path: Path) -> None:
    finding, text = checkup.settings(tmp_path, NEW)
    assert (finding.state, text) == ("wrong", "")
    assert "is not there" in finding.found


def test_the_client_is_named_or_absent() -> None:
    assert checkup.client(NEW) == Finding("client", "ok", "Claude Code 2.1.328")
    assert checkup.client(None).state == "absent"


@pytest.mark.spec("doctor.hook")
def test_the_installed_hook_is_run_and_timed() -> None:
    finding = checkup.hook(settings())
    assert finding.state == "ok"
    assert "a valid block of " in finding.found
    assert " ms" in finding.found


@pytest.mark.spec("doctor.hook")
def test_a_hook_that_gives_no_block_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = checkup.hook(settings(command=hook_command("/gone/python", "/gone/loom_shell/hook.py")))
    assert gone == Finding(
        "hook", "wrong", "it gives no valid block: /gone/python is gone", "run `loom install`"
    )
    monkeypatch.setattr(checkup, "HOOK_SECONDS", 0.1)
    hangs = checkup.hook(settings(command="exec sleep 20; -S loom_shell/hook.py || true"))
    assert hangs.state == "wrong"
    assert "did not end" in hangs.found
    assert checkup.hook("").state == checkup.hook("{}").state == "absent"


@given(
    st.binary()
    | st.recursive(st.text(), lambda it: st.dictionaries(st.text(), it)).map(
        lambda it: json.dumps(it).encode()
    )
)
def test_no_output_is_taken_for_a_block_by_accident(output: bytes) -> None:
    assert block_size(output) is None


@pytest.mark.spec("doctor.chain")
def test_a_loom_that_is_ready_is_well() -> None:
    with answering({"/loom/healthz": (200, b'{"status":"ok"}'), "/loom/readyz": (200, b"{}")}) as (
        url,
        _asked,
    ):
        assert checkup.proxy(settings(url)).state == "ok"


@pytest.mark.spec("doctor.chain")
@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ({"/loom/healthz": (200, b'{"status":"ok"}'), "/loom/readyz": (503, b"{}")}, "not ready (503)"),
        ({"/loom/healthz": (200, b"<html>")}, "is no Loom"),
        ({}, "is no Loom"),
    ],
)
def test_what_answers_in_the_looms_place_is_told(answers: Answers, found: str) -> None:
    with answering(answers) as (url, _asked):
        finding = checkup.proxy(settings(url))
    assert finding.state == "wrong"
    assert found in finding.found
    gone = checkup.proxy(settings(url))
    assert (gone.state, gone.todo) == ("wrong", "start it: `loom serve`")


@pytest.mark.spec("doctor.secrets")
@pytest.mark.parametrize("text", ["", "{}", '{"env": []}', json.dumps({"env": {BASE_URL: 1}})])
def test_settings_without_a_base_url_are_told(text: str) -> None:
    assert BASE_URL in checkup.proxy(text).found


@pytest.mark.spec("doctor.secrets")
@pytest.mark.parametrize(
    "url",
    [
        "http://u:dummy@127.0.0.1:1",
        "ftp://u:dummy@h",
        "u:dummy@h",
        "http://127.0.0.1:1/?k=dummy",
        "http://h:x",
    ],
)
def test_a_url_is_shown_without_a_password(url: str) -> None:
    finding = checkup.proxy(json.dumps({"env": {BASE_URL: url}}))
    assert finding.state == "wrong"
    assert "dummy" not in str(finding)


@pytest.mark.spec("doctor.chain", "doctor.secrets")
def test_the_store_is_asked() -> None:
    home = Path("none")
    with valkey("dummy-password") as server:
        right, wrong = (
            redis(f"redis://:{word}@127.0.0.1:{server.port}") for word in ("dummy-password", "dummy-2")
        )
        assert checkup.store(right, home).state == "ok"
        refused, gone = checkup.store(wrong, home), redis(f"redis://:dummy-password@127.0.0.1:{server.port}")
    assert refused.state == "wrong"
    assert "WRONGPASS" in refused.found
    silent = checkup.store(gone, home)
    assert (silent.state, "does not answer" in silent.found) == ("wrong", True)
    assert "dummy" not in f"{refused}{silent}"


@pytest.fixture
def home() -> Iterator[Path]:
    """One whose path leaves room for a socket."""
    with TemporaryDirectory(prefix="loom-") as folder:
        yield Path(folder, "home")


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.anyio
@pytest.mark.spec("doctor.chain", "doctor.starts-nothing")
async def test_the_embedded_store_is_asked_where_it_runs_and_never_started(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unused = checkup.store(None, home)
    assert (unused.state, unused.found[:24]) == ("absent", "embedded, not used yet: ")
    assert names_in(home.parent) == []
    async with running(home) as path:
        well = checkup.store(None, home)
        assert (well.state, well.found) == ("ok", f"the embedded store in {home}/valkey answers")
        monkeypatch.setattr(checkup, "SECONDS", 0.05)
        server = pid(path)
        os.kill(server, signal.SIGSTOP)
        hangs = checkup.store(None, home)
        os.kill(server, signal.SIGCONT)
    assert (hangs.state, hangs.found) == ("wrong", f"the embedded store in {home}/valkey says nothing")
    ended = checkup.store(None, home)
    assert (ended.state, "`loom serve` starts it" in ended.found) == ("absent", True)
    assert not is_running(home)
    monkeypatch.setattr(checkup, "server_binary", lambda: None)
    assert checkup.store(None, home).todo == "set LOOM_REDIS_URL"


@pytest.mark.spec("doctor.chain")
def test_profiles_are_counted_and_the_broken_ones_named(tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    assert checkup.profiles(tmp_path) == Finding("profiles", "absent", f"none in {folder}: nothing is woven")
    for name in ("ann", "bob"):
        write_profile(tmp_path, "I am.", name)
    assert checkup.profiles(tmp_path) == Finding("profiles", "ok", f"2 in order in {folder}")
    for number in range(7):
        (folder / f"bad-{number}").mkdir()
    found = checkup.profiles(tmp_path)
    assert (found.state, found.todo) == ("wrong", "run `loom profile check`")
    assert found.found == "7 of 9 broken: bad-0, bad-1, bad-2, bad-3, bad-4 and 2 more"


@pytest.mark.spec("doctor.chain", "doctor.starts-nothing", "doctor.secrets")
def test_the_memory_is_asked_how_it_is(tmp_path: Path) -> None:
    assert checkup.memory(None, tmp_path) == Finding("memory", "absent", "nothing is remembered yet")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / FILE_NAME).touch()
    well = checkup.memory(None, tmp_path)
    assert (well.state, well.found) == ("ok", f"the Cortex in {tmp_path / FILE_NAME} is well")
    (tmp_path / FILE_NAME).write_bytes(b"nonsense" * 1_000)
    damaged = checkup.memory(None, tmp_path)
    assert (damaged.state, "is damaged" in damaged.found) == ("wrong", True)
    with answering({"/health": (200, b'{"status":"healthy"}')}) as (url, _asked):
        away = Cortex(url, Secret("dummy-key"))
        assert checkup.memory(away, tmp_path).state == "ok"
    gone = checkup.memory(away, tmp_path)
    assert (gone.state, gone.todo) == ("wrong", "start it, or correct LOOM_MEMORY_URL")
    assert "dummy" not in str(gone)


@pytest.mark.spec("doctor.chain", "doctor.secrets")
@pytest.mark.parametrize(
    ("status", "state", "found"),
    [
        (200, "ok", "takes exports"),
        (401, "wrong", "refuses our headers"),
        (404, "wrong", "takes no export (404)"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/traces", "/v1/metrics"])
def test_an_exporter_is_asked_with_nothing_to_export(path: str, status: int, state: str, found: str) -> None:
    with answering({path: (status, b"")}) as (url, asked):
        headers = (("api-key", Secret("dummy key")), ("b", Secret("dummy")))
        traces, metrics = (f"{url}{path}", "") if path == "/v1/traces" else ("", f"{url}{path}")
        endpoint = Endpoint("phoenix", traces, metrics, headers)
        finding = checkup.exporter(endpoint)
    assert finding.state == state
    assert finding.found.startswith("phoenix at ")
    assert found in finding.found
    ((asked_for, sent, body),) = asked
    assert (asked_for, body, sent["content-type"]) == (path, b"", "application/x-protobuf")
    assert (sent["api-key"], sent["b"]) == ("dummy key", "dummy")
    gone = checkup.exporter(endpoint)
    assert (gone.state, "nothing answers" in gone.found) == ("wrong", True)
    assert "dummy" not in f"{finding}{gone}"
