import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from loom_core.redaction import redacted
from loom_shell.cortex import CortexKey
from loom_shell.files import FileRefusedError
from loom_shell.secret import Secret


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.spec("cortex.key-file", "cortex.key-secret")
def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "made" / "here"
    mask = os.umask(0)
    try:
        key = CortexKey(home).get()
    finally:
        os.umask(mask)
    file = home / "cortex-key"
    assert file.read_text() == f"{key.expose()}\n"
    assert (mode(file), mode(home)) == (0o600, 0o700)
    assert [one.name for one in home.iterdir()] == ["cortex-key"]
    assert CortexKey(home).get() == key
    assert key.expose() not in redacted(f"it is {key.expose()}")
    assert key.expose() not in repr(vars(CortexKey(home)))


@pytest.mark.spec("cortex.key-file")
def test_a_configured_key_needs_no_file(tmp_path: Path) -> None:
    key = CortexKey(tmp_path / "none", Secret("given"))
    assert (key.get(), key.is_given) == (Secret("given"), True)
    assert list(tmp_path.iterdir()) == []
    assert not CortexKey(tmp_path).is_given


@pytest.mark.spec("cortex.key-file")
def test_of_several_at_once_the_first_ones_key_stands(tmp_path: Path) -> None:
    begin = threading.Barrier(8)

    def get(_: int) -> str:
        begin.wait(10)
        return CortexKey(tmp_path / "home").get().expose()

    with ThreadPoolExecutor(8) as threads:
        said = {*threads.map(get, range(8))}
    assert said == {(tmp_path / "home" / "cortex-key").read_text().strip()}
    assert len(list((tmp_path / "home").iterdir())) == 1


@pytest.mark.spec("cortex.key-file")
def test_a_key_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    file = tmp_path / "cortex-key"
    file.write_text("mine\n")
    file.chmod(0o644)
    assert CortexKey(tmp_path).get() == Secret("mine")
    assert mode(file) == 0o600


@pytest.mark.spec("cortex.key-file", "cortex.key-secret")
@pytest.mark.parametrize("content", [b"", b"two words", b"line\nline", b"\xff\xfe", b"x" * 2_000_000])
def test_a_file_that_holds_no_key_is_refused_without_its_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cortex-key").write_bytes(content)
    with pytest.raises(FileRefusedError) as refused:
        CortexKey(tmp_path).get()
    assert "two words" not in str(refused.value)
    assert "cortex-key" in str(refused.value)
    assert (tmp_path / "cortex-key").read_bytes() == content


@pytest.mark.spec("cortex.key-file", "cortex.unwell")
def test_a_folder_that_cannot_be_is_told_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    key = CortexKey(tmp_path / "home")
    with pytest.raises(FileRefusedError, match="cannot write"):
        key.get()
    (tmp_path / "home").unlink()
    assert key.get().expose().startswith("loom_cortex_")
