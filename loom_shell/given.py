"""What the user gave: flags, environment and `loom.toml`, each value checked by its own setting.

A flag wins over a variable, a variable over the file, the file over the default; a value that is
wrong is refused even where another wins over it.
"""

import os
import pwd
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from attrs import frozen

from loom_shell.files import FileRefusedError, is_missing, named, read_whole
from loom_shell.parsing import RefusedError
from loom_shell.printable import printable, shown
from loom_shell.settings import CONFIG, KEY, KEY_FILE, SETTINGS, Setting

Flags = Mapping[str, object | None]
Variables = Mapping[str, str]

OF_THE_HOOK = frozenset({"LOOM_URL", "LOOM_HOOK_TOKEN"})
"""Variables that `loom hook` reads by itself, in the environment of the client."""


class ConfigError(Exception):
    """Why the Loom cannot start: one line that names the setting, the value and what is allowed."""


@frozen
class Given:
    """A setting's value, and where the user wrote it: a flag, a variable, `key in FILE`, or nowhere."""

    value: Any
    where: str | None


Found = dict[str, Given]


def gather(flags: Flags, environ: Variables) -> tuple[Path | None, Found]:
    strange = set(flags) - {setting.flag for setting in SETTINGS}
    if strange:
        raise TypeError(f"no such flag: {', '.join(sorted(strange))}")
    named_by, file = _config_file(flags, environ)
    table = {} if file is None else _table(file, named_by)
    found = {}
    for setting in SETTINGS:
        # The first one counts. The others are parsed as well, so that a wrong one is not overlooked.
        given = [*_given(setting, flags, environ, table, file)]
        found[setting.key] = given[0] if given else Given(_default(setting), None)
    return file, found


def _default(setting: Setting) -> object:
    return None if setting.default is None else setting.parse(setting.default)


def _given(
    setting: Setting, flags: Flags, environ: Variables, table: Mapping[str, object], file: Path | None
) -> Iterator[Given]:
    """The values the user gave a setting, the strongest first."""
    flag = flags.get(setting.flag) if setting.flag else None
    if flag is not None:
        yield _parsed(setting, flag, setting.option, Path(), environ)
    if setting.variable in environ:
        yield _parsed(setting, environ[setting.variable], setting.variable, Path(), environ)
    if file is not None and setting.key in table:
        where = f"{setting.key} in {named(file)}"
        if setting is KEY:
            raise ConfigError(
                f"{where}: a key does not belong in this file; put it into a file that only you can read "
                f"and name that with {KEY_FILE.key}, or set {KEY.variable}"
            )
        yield _parsed(setting, table[setting.key], where, file.parent, environ)


def _parsed(setting: Setting, raw: object, where: str, folder: Path, environ: Variables) -> Given:
    try:
        value = setting.parse(raw)
    except RefusedError as error:
        raise ConfigError(f"{where}: {error}") from None
    except (ValueError, OverflowError):
        told = "" if setting.secret else f" is {shown(raw)}"
        raise ConfigError(f"{where}{told}: {setting.key} must be {setting.allowed}") from None
    if isinstance(value, tuple):
        value = tuple(_placed(it, folder, environ) if isinstance(it, Path) else it for it in value)
    return Given(_placed(value, folder, environ) if isinstance(value, Path) else value, where)


def _placed(path: Path, folder: Path, environ: Variables) -> Path:
    """A path as the user meant it: `~` is their home; a relative one in a file starts at the file."""
    in_home = path.parts[:1] == ("~",)
    return _user_home(environ).joinpath(*path.parts[1:]) if in_home else folder / path


# The file


def _config_file(flags: Flags, environ: Variables) -> tuple[str, Path | None]:
    """What named the file (with a colon, for a message) and the file, None where there is none."""
    given = next(_given(CONFIG, flags, environ, {}, None), None)
    if given:
        return f"{given.where}: ", Path(given.value)
    usual = xdg_folder(environ, "XDG_CONFIG_HOME", ".config") / "loom" / "loom.toml"
    return "", None if is_missing(usual) else usual


def _table(file: Path, named_by: str) -> dict[str, object]:
    """The file's settings by full key. Keys that are no setting's are refused."""
    try:
        content, _mode = read_whole(file)
        tables = tomllib.loads(content.decode("utf-8"))
    except FileRefusedError as error:
        raise ConfigError(f"{named_by}{error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{named_by}cannot read {named(file)}: it is not UTF-8 text") from None
    except RecursionError:
        raise ConfigError(f"{named_by}cannot read {named(file)}: it is nested too deeply") from None
    except ValueError as error:
        # What tomllib says gives the place and at most one character, never a value.
        reason = printable(str(error), 200)
        raise ConfigError(f"{named_by}cannot read {named(file)} as TOML: {reason}") from None
    return dict(_flattened(tables, file))


def _flattened(tables: Mapping[str, object], file: Path) -> Iterator[tuple[str, object]]:
    known = {setting.key for setting in SETTINGS}
    sections = {key.partition(".")[0] for key in known if "." in key}
    for name, value in tables.items():
        if name not in sections:
            pairs = {name: value}
        elif isinstance(value, dict):
            pairs = {f"{name}.{key}": one for key, one in value.items()}
        else:
            raise ConfigError(f"{name} in {named(file)} must be a table: [{name}]")
        for key in pairs:
            if key not in known - {CONFIG.key}:
                hint = _did_you_mean(key, (known | sections) - {KEY.key, CONFIG.key})
                raise ConfigError(f"{printable(key, 80)} in {named(file)} is not a setting{hint}")
        yield from pairs.items()


def _did_you_mean(name: str, known: set[str]) -> str:
    close = get_close_matches(name[:80], sorted(known), 1)
    return f" (did you mean {close[0]}?)" if close else ""


def unknown_variables(environ: Variables) -> Iterator[str]:
    known = {setting.variable for setting in SETTINGS}
    for name in sorted(environ):
        if name.startswith("LOOM_") and name not in known | OF_THE_HOOK:
            yield f"{printable(name, 80)} is not a setting{_did_you_mean(name, known)}: it is ignored"


# Folders


def _user_home(environ: Variables) -> Path:
    home = Path(environ.get("HOME", ""))
    if home.is_absolute():
        return home
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        raise ConfigError("HOME is not set, and this user has no home folder: set HOME") from None


def xdg_folder(environ: Variables, variable: str, usual: str) -> Path:
    # XDG Base Directory Specification: a path that is empty or relative counts as not set.
    folder = Path(environ.get(variable, ""))
    return folder if folder.is_absolute() else _user_home(environ) / usual
