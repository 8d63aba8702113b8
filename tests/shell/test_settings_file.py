import json
import os
from pathlib import Path

import pytest

from loom_shell.client_settings import Wanted, events, hook_command
from loom_shell.files import FileRefusedError
from loom_shell.settings_file import RECORD, commit, installing, read, uninstalling

WANTED = Wanted(
    hook_command("/a/python", "/a/loom_shell/hook.py"), events((2, 1, 328)), "http://127.0.0.1:8080", "me"
)
TEXT = '{ "odd" :1,\n  "hooks": { }\n}'


def folder(tmp_path: Path, content: str | bytes | None = TEXT, mode: int = 0o640) -> Path:
    if content is not None:
        file = tmp_path / "settings.json"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(mode)
    return tmp_path


def install(where: Path) -> Path | None:
    return commit(installing(read(where), WANTED))


def uninstall(where: Path) -> tuple[str, ...]:
    change = uninstalling(read(where))
    commit(change)
    return change.notes


def names(where: Path) -> list[str]:
    return sorted(path.name for path in where.iterdir())


@pytest.mark.spec("install.uninstall", "install.backup", "install.atomic")
@pytest.mark.parametrize(
    "content", [TEXT, "{}", "", " \n", "\ufeff" + TEXT, TEXT.replace("\n", "\r\n"), '{"é":"😀"}']
)
def test_in_and_out_gives_back_the_same_bytes(tmp_path: Path, content: str) -> None:
    where = folder(tmp_path, content)
    file = where / "settings.json"
    backup = install(where)
    assert backup
    assert backup.read_bytes() == content.encode()
    assert (backup.stat().st_mode & 0o777, (where / RECORD).stat().st_mode & 0o777) == (0o600, 0o600)
    assert file.stat().st_mode & 0o777 == 0o640
    assert json.loads(file.read_text("utf-8-sig"))["env"]
    assert names(where) == [RECORD, "settings.json", "settings.json.loom-backup"]
    assert uninstall(where) == ()
    assert file.read_bytes() == content.encode()
    assert file.stat().st_mode & 0o777 == 0o640
    assert names(where) == ["settings.json"]


@pytest.mark.spec("install.uninstall")
def test_a_file_and_folder_that_were_not_there_are_made_and_the_file_goes_again(tmp_path: Path) -> None:
    where = tmp_path / "new" / ".claude"
    assert install(where) is None
    assert (where / "settings.json").stat().st_mode & 0o777 == 0o600
    install(where)
    assert uninstall(where) == ()
    assert names(where) == []
    assert uninstall(where) == ()


@pytest.mark.spec("install.uninstall-changed", "install.backup")
def test_a_file_changed_since_keeps_the_change_and_gets_a_backup(tmp_path: Path) -> None:
    where = folder(tmp_path)
    file = where / "settings.json"
    install(where)
    file.write_text(file.read_text().replace('"odd" :1', '"odd" :2'))
    changed = file.read_text()
    uninstall(where)
    assert file.read_text() == '{ "odd" :2,\n  "hooks": {}\n}'
    assert (where / "settings.json.loom-backup").read_text() == TEXT
    assert (where / "settings.json.loom-backup-2").read_text() == changed
    assert RECORD not in names(where)


@pytest.mark.spec("install.uninstall-changed")
def test_one_that_was_not_there_and_got_more_since_stays(tmp_path: Path) -> None:
    install(tmp_path)
    file = tmp_path / "settings.json"
    file.write_text(file.read_text().replace("{", '{"theirs": 1,', 1))
    uninstall(tmp_path)
    assert json.loads(file.read_text()) == {"theirs": 1}


@pytest.mark.spec("install.idempotent")
def test_a_second_time_writes_nothing(tmp_path: Path) -> None:
    where = folder(tmp_path)
    install(where)
    before = [(path.name, path.stat().st_ino, path.read_bytes()) for path in sorted(where.iterdir())]
    change = installing(read(where), WANTED)
    assert change.is_none
    assert commit(change) is None
    after = [(path.name, path.stat().st_ino, path.read_bytes()) for path in sorted(where.iterdir())]
    assert [it for it in after if it[0] != RECORD] == [it for it in before if it[0] != RECORD]


@pytest.mark.spec("install.atomic")
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real = folder(tmp_path)
    where = tmp_path / "claude"
    where.mkdir()
    (where / "settings.json").symlink_to("../settings.json")
    install(where)
    assert (where / "settings.json").is_symlink()
    assert json.loads((real / "settings.json").read_text())["env"]
    uninstall(where)
    assert (where / "settings.json").is_symlink()
    assert (real / "settings.json").read_text() == TEXT


@pytest.mark.spec("install.atomic")
def test_another_programs_change_in_between_is_not_lost(tmp_path: Path) -> None:
    where = folder(tmp_path)
    change = installing(read(where), WANTED)
    (where / "settings.json").write_text('{"newer": 1}')
    with pytest.raises(FileRefusedError, match="another program is changing it"):
        commit(change)
    assert (where / "settings.json").read_text() == '{"newer": 1}'
    assert names(where) == ["settings.json"]


@pytest.mark.spec("install.atomic")
def test_a_write_that_fails_leaves_the_old_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = folder(tmp_path)
    change = installing(read(where), WANTED)

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchmod", fails)
    with pytest.raises(FileRefusedError, match="no space left"):
        commit(change)
    assert (where / "settings.json").read_text() == TEXT
    assert not [name for name in names(where) if name.startswith(".")]


@pytest.mark.spec("install.refuses")
@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{\n// why\n}", "line 2: a comment, which JSON does not have: take it out, and run this again"),
        (b"\xff", "not UTF-8"),
        ("{" + " " * 1024 * 1024 + "}", "larger than"),
    ],
)
def test_what_cannot_be_edited_stays_as_it_is(tmp_path: Path, content: str | bytes, told: str) -> None:
    where = folder(tmp_path, content)
    with pytest.raises(FileRefusedError, match=told):
        install(where)
    assert names(where) == ["settings.json"]
    if isinstance(content, str) and "//" in content:
        with pytest.raises(FileRefusedError, match=told):
            uninstall(where)


@pytest.mark.parametrize("broken", ["changed", "gone"])
def test_a_backup_that_is_not_what_it_was_is_not_used(tmp_path: Path, broken: str) -> None:
    where = folder(tmp_path)
    install(where)
    backup = where / "settings.json.loom-backup"
    backup.write_text('{"wrong": 1}') if broken == "changed" else backup.unlink()
    uninstall(where)
    assert (where / "settings.json").read_text() == '{ "odd" :1,\n  "hooks": {}\n}'


def test_a_broken_record_counts_as_none(tmp_path: Path) -> None:
    where = folder(tmp_path)
    install(where)
    (where / RECORD).write_text("{")
    assert uninstall(where) == (
        "there is no record of an installation: env.ANTHROPIC_BASE_URL left as it is",
    )
