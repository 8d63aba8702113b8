"""Claude Code's settings.json on the disk, the backup of it, and the record of what was installed.

A change is planned, shown, and written in one step, or not at all.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from attrs import evolve, frozen

from loom_shell.client_settings import Record, Wanted, digest, installed, read_record, uninstalled, written
from loom_shell.files import FileRefusedError, is_missing, named, read_whole, sole_writer, write_private
from loom_shell.json_edit import JsonRefusedError, value

NAME = "settings.json"
RECORD = "loom-install.json"
BACKUPS = 99
BOM = "\ufeff"


@frozen
class Stands:
    """What is on the disk. `content` is None for no file; `text` is without a byte order mark."""

    path: Path
    content: bytes | None
    mode: int
    text: str
    record: Record | None

    @property
    def mark(self) -> str:
        return BOM if (self.content or b"").startswith(BOM.encode()) else ""


@frozen
class Change:
    """What is to stand there: `content` None for no file. Lines that tell what was left are `notes`."""

    stands: Stands
    content: bytes | None
    record: Record | None
    notes: tuple[str, ...] = ()

    @property
    def is_none(self) -> bool:
        return self.content == self.stands.content and self.record == self.stands.record


def read(folder: Path) -> Stands:
    """FileRefusedError for what cannot be read or is not UTF-8 text."""
    path = folder / NAME
    content, mode = (None, 0o600) if is_missing(path) else read_whole(path)
    try:
        text = (content or b"").decode().removeprefix(BOM)
    except UnicodeDecodeError:
        raise FileRefusedError(f"cannot read {named(path)}: it is not UTF-8 text") from None
    record_path = folder / RECORD
    record = None if is_missing(record_path) else read_record(read_whole(record_path)[0])
    return Stands(path, content, mode, text, record)


def installing(stands: Stands, wanted: Wanted) -> Change:
    """FileRefusedError, with the line and what to do, for settings that cannot be edited."""
    try:
        text, record = installed(stands.text, wanted, stands.record)
    except JsonRefusedError as error:
        raise FileRefusedError(f"{named(stands.path)}: {error}, and run this again") from None
    if text == stands.text:
        return Change(stands, stands.content, record)
    return Change(stands, (stands.mark + text).encode(), record)


def uninstalling(stands: Stands) -> Change:
    """The file as it was, to the byte, if nobody changed it since; else without what was put in."""
    record = stands.record
    if not stands.text.strip():
        return Change(stands, stands.content, None)
    if record is not None and record.after == digest(stands.text) and record.before:
        before = _backup(stands, record)
        if before is not None or record.created:
            return Change(stands, before, None)
    try:
        text, notes = uninstalled(stands.text, record)
        if record is not None and record.created and value(text, ()) == {}:
            return Change(stands, None, None, notes)
    except JsonRefusedError as error:
        raise FileRefusedError(f"{named(stands.path)}: {error}, and run this again") from None
    return Change(stands, (stands.mark + text).encode(), None, notes)


def _backup(stands: Stands, record: Record) -> bytes | None:
    """The content before the first installation, if its backup is still what it was."""
    if not record.backup or "/" in record.backup:
        return None
    try:
        content, _mode = read_whole(stands.path.resolve().parent / record.backup)
        same = digest(content.decode().removeprefix(BOM)) == record.before
    except (FileRefusedError, UnicodeDecodeError):
        return None
    return content if same else None


def commit(change: Change) -> Path | None:
    """Write it: backup, record, settings, each in one step. The backup's path, None where none was needed.

    FileRefusedError when it cannot be written, or when the file is no longer what was planned for.
    """
    path = change.stands.path
    with sole_writer(path):
        now = None if is_missing(path) else read_whole(path)[0]
        if now != change.stands.content:
            raise FileRefusedError(
                f"cannot write {named(path)}: another program is changing it; run this again"
            )
        target, record = path.resolve(), change.record
        backup, changed = None, change.content != now
        if changed and now is not None and not (record and record.backup) and not _restores(change):
            backup = _keep(target, now)
            record = _with_backup(record, backup.name)
        if record is not None:
            write_private(path.parent / RECORD, written(record))
        if changed and change.content is None:
            target.unlink()
        elif changed and change.content is not None:
            replace(target, change.content, change.stands.mode)
        if record is None:
            (path.parent / RECORD).unlink(missing_ok=True)
        if _restores(change) and change.stands.record is not None and change.stands.record.backup:
            (target.parent / change.stands.record.backup).unlink(missing_ok=True)
    return backup


def _restores(change: Change) -> bool:
    """Whether this puts back what was there before the installation, so that no backup is needed."""
    old = change.stands.record
    if change.record is not None or old is None:
        return False
    if change.content is None:
        return old.created and old.after == digest(change.stands.text)
    return _backup(change.stands, old) == change.content


def _with_backup(record: Record | None, name: str) -> Record | None:
    return None if record is None else evolve(record, backup=name)


def _keep(target: Path, content: bytes) -> Path:
    """A backup beside the file, under a name nothing has; one that says the same is as good."""
    for number in range(1, BACKUPS + 1):
        path = target.with_name(f"{target.name}.loom-backup" + (f"-{number}" if number > 1 else ""))
        if is_missing(path):
            write_private(path, content)
            return path
        with suppress(FileRefusedError):
            if read_whole(path)[0] == content:
                return path
    raise FileRefusedError(f"cannot write {named(target)}: there are {BACKUPS} backups of it; remove some")


def replace(target: Path, content: bytes, mode: int) -> None:
    """Write the file whole or not at all, with these permission bits and, where we may, its owner."""
    descriptor, fresh = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            with suppress(OSError):
                stat = target.stat()
                os.fchown(descriptor, stat.st_uid, stat.st_gid)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        Path(fresh).replace(target)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
