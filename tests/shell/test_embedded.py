import asyncio
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from loom_core.lookup import Entry
from loom_shell import embedded
from loom_shell.embedded import LONGEST_SOCKET, Embedded, EmbeddedError
from loom_shell.store import Store
from tests.support.embedded import (
    direct,
    environment_of,
    is_running,
    leave,
    mode,
    pid,
    running,
    socket_of,
    user,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with a short path; what a failed test leaves running there is ended."""
    with TemporaryDirectory(prefix="loom-") as folder:
        home = Path(folder, "home")
        yield home
        if (path := home / "valkey" / "socket.sock").is_socket():
            with suppress(Exception):
                os.kill(pid(path), signal.SIGKILL)


async def refusal(home: Path, binary: Path | None = None) -> str:
    """Why it does not start: one line."""
    with pytest.raises(EmbeddedError) as error:
        await Embedded(home, binary).start()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.spec("store.embedded.one", "store.embedded.last")
async def test_processes_that_start_at_the_same_time_share_one_server(home: Path) -> None:
    async with AsyncExitStack() as stack:
        users = [await stack.enter_async_context(user(home)) for _ in range(3)]
        paths = {await socket_of(one) for one in users}
        assert paths == {home / "valkey" / "socket.sock"}
        assert (home / "valkey" / "log").read_text().count("Ready to accept") == 1
        for one in users:
            assert is_running(home)
            await leave(one)
        assert not is_running(home)


@pytest.mark.spec("store.embedded.last", "store.embedded.data")
async def test_the_starter_may_be_killed_and_the_last_still_ends_it(home: Path) -> None:
    async with user(home) as starter:
        path = await socket_of(starter)
        server = pid(path)
        async with user(home) as other:
            assert await socket_of(other) == path
            with direct(path) as one:
                one.set("k", "written")
            starter.process.kill()
            await starter.process.wait()
            assert pid(path) == server
            await leave(other)
    assert not is_running(home)
    async with running(home) as path:
        with direct(path) as one:
            assert one.get("k") == "written"


@pytest.mark.spec("store.embedded.data")
async def test_a_store_works_on_it_and_finds_its_ledger_again(home: Path) -> None:
    for value in ("first", "second"):
        async with running(home) as path:
            store = Store(path, deadline=5)
            assert await store.decide("s", [Entry("a:1", value)]) == (("first",), "")
            await store.aclose()


async def test_a_server_that_died_is_started_anew(home: Path) -> None:
    one = Embedded(home)
    path = await one.start()
    with direct(path) as client:
        client.set("k", "v")
        client.execute_command("WAITAOF", "1", "0", "5000")
    os.kill(pid(path), signal.SIGKILL)
    assert await one.start() == path
    with direct(path) as client:
        assert client.get("k") == "v"
    assert await one.aclose() == ""
    assert await one.aclose() == ""
    assert not is_running(home)


@pytest.mark.spec("store.embedded.last", "store.embedded.data")
async def test_where_no_snapshot_can_be_saved_it_ends_all_the_same(home: Path) -> None:
    async with running(home) as path:
        with direct(path) as one:
            one.set("k", "v")
        (home / "valkey" / "dump.rdb" / "x").mkdir(parents=True)
    assert not is_running(home)
    async with running(home) as path:
        with direct(path) as one:
            assert one.get("k") == "v"


@pytest.mark.spec("store.embedded.private")
async def test_it_is_this_users_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-dummy")
    (home / "valkey").mkdir(parents=True, mode=0o755)
    async with running(home) as path:
        with direct(path) as one:
            assert one.config_get("port") == {"port": "0"}
            one.set("k", "v")
        assert environment_of(pid(path)) == b""
    found = [home / "valkey", *(home / "valkey").rglob("*")]
    assert len(found) > 5
    for each in found:
        assert mode(each) == (0o700 if each.is_dir() else 0o600), each


@pytest.mark.spec("store.embedded.private")
async def test_a_folder_may_be_called_anything(home: Path) -> None:
    home = home / 'a "b"\n$c \\x é'
    async with running(home) as path:
        assert path == home / "valkey" / "socket.sock"
        assert mode(path) == 0o600
        with direct(path) as one:
            assert one.config_get("dir") == {"dir": str(home / "valkey")}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:
    """The folder for sockets of homes that lie too deep."""
    base = home.parent / "t"
    base.mkdir()
    monkeypatch.setattr(embedded.tempfile, "gettempdir", lambda: str(base))
    monkeypatch.setattr(embedded, "RUNTIME", str(home.parent / "none"))
    return base / f"loom-{os.getuid()}"


@pytest.fixture
def linked(short: Path, tmp_path: Path) -> Path:
    """Another user has put a link there."""
    (tmp_path / "of another").mkdir()
    short.symlink_to(tmp_path / "of another")
    return short


@pytest.mark.spec("store.embedded.socket")
async def test_a_home_too_deep_has_its_socket_elsewhere(
    tmp_path: Path, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / ("d" * LONGEST_SOCKET)
    async with running(home) as path:
        assert path.parent == short
        assert mode(short) == 0o700
        monkeypatch.setattr(embedded.tempfile, "gettempdir", lambda: "elsewhere")
        async with running(home) as other:
            assert other == path
    assert not path.exists()
    assert "too long a path for a socket: set a shorter home" in await refusal(home)


@pytest.mark.spec("store.embedded.socket")
async def test_a_folder_for_the_socket_that_is_a_link_is_refused(tmp_path: Path, linked: Path) -> None:
    said = await refusal(tmp_path / ("d" * LONGEST_SOCKET))
    assert f"cannot use {linked}: it is not a folder" in said


@pytest.mark.spec("store.embedded.refused")
async def test_what_keeps_it_from_starting_is_one_line(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot use" in await refusal(tmp_path / "file")
    assert Embedded(tmp_path / "file").place.is_relative_to(tmp_path)
    assert "No such file" in await refusal(home, tmp_path / "none")
    assert "ended at its start: it said nothing" in await refusal(home, Path("/bin/false"))
    async with running(home):
        pass
    (log,) = (home / "valkey" / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(b"nonsense\r\n" * 10)
    assert "Bad file format" in await refusal(home)
    (home / "valkey" / "socket.sock").unlink(missing_ok=True)
    (home / "valkey" / "socket.sock" / "x").mkdir(parents=True)
    assert "Failed opening Unix socket" in await refusal(home)
    monkeypatch.setattr(embedded, "find_spec", lambda _name: None)
    assert "there is no Valkey for this machine" in await refusal(home)
    assert not is_running(home)


async def test_one_that_is_long_in_loading_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def loading(path: Path, command: bytes) -> bytes:
        return b"-LOADING it is\r\n"

    with monkeypatch.context() as patched:
        patched.setattr(embedded, "_asked", loading)
        patched.setattr(embedded, "START_SECONDS", 0.1)
        one = Embedded(home)
        await one.start()
    assert is_running(home)
    assert await one.aclose() == ""


@pytest.mark.spec("store.embedded.refused")
async def test_a_server_that_hangs_is_told_and_left(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Embedded(home)
    server = pid(await one.start())
    for name in ("START_SECONDS", "ANSWER_SECONDS", "END_SECONDS"):
        monkeypatch.setattr(embedded, name, 0.05)
    os.kill(server, signal.SIGSTOP)
    try:
        assert "runs, but does not answer" in await refusal(home)
        assert "was left running: it does not answer" in await one.aclose()
    finally:
        os.kill(server, signal.SIGKILL)


@pytest.mark.spec("store.embedded.refused")
async def test_a_gate_that_is_held_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "GATE_SECONDS", 0.05)
    async with running(home):
        one = Embedded(home)
        await one.start()
        with (home / "valkey" / "gate").open("rb+") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            assert "another Loom holds" in await refusal(home)
            assert "another Loom holds" in await one.aclose()


@pytest.mark.spec("store.embedded.last")
async def test_a_start_that_is_cancelled_leaves_no_server(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched = asyncio.Event()

    async def never(path: Path, command: bytes) -> bytes:
        launched.set()
        await asyncio.Event().wait()
        return b""

    with monkeypatch.context() as patched:
        patched.setattr(embedded, "_asked", never)
        task = asyncio.ensure_future(Embedded(home).start())
        async with asyncio.timeout(10):
            await launched.wait()
        assert is_running(home)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not is_running(home)
    async with running(home):
        assert is_running(home)


@pytest.mark.spec("store.embedded.one")
async def test_a_copy_of_a_home_has_a_store_of_its_own(tmp_path: Path) -> None:
    one = Embedded(tmp_path / "one")
    place = await one.start()
    folder = tmp_path / "two" / "valkey"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "socket").write_bytes((tmp_path / "one" / "valkey" / "socket").read_bytes())
    copy = Embedded(tmp_path / "two")
    assert copy.place != place
    assert await copy.start() == copy.place != place
    assert (await copy.aclose(), await one.aclose()) == ("", "")
