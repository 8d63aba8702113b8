from pathlib import Path

import pytest

from loom_shell.given import ConfigError, gather, unknown_variables, xdg_folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def wrong(flags: dict[str, object | None], environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as refused:
        gather(flags, environ)
    (line,) = str(refused.value).splitlines()
    assert line.isprintable()
    return line


def write(path: Path, text: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


@pytest.mark.spec("config.precedence")
def test_flag_wins_over_variable_over_file_over_default(home: Path) -> None:
    environ = {"HOME": str(home)}
    assert gather({}, environ)[1]["port"].value == 8080
    environ["LOOM_CONFIG"] = write(home / "x.toml", "port = 1\n[retry]\nmax_attempts = 4\n")
    file, found = gather({}, environ)
    assert file == home / "x.toml"
    assert (found["port"].value, found["port"].where) == (1, f"port in {file}")
    assert found["retry.max_attempts"].value == 4
    environ["LOOM_PORT"] = "2"
    assert (given := gather({"port": None}, environ)[1]["port"]).value == 2
    assert given.where == "LOOM_PORT"
    assert (given := gather({"port": "3"}, environ)[1]["port"]).value == 3
    assert given.where == "--port"


def test_the_file_is_the_flags_then_the_variables_then_the_usual_one_if_present(home: Path) -> None:
    environ = {"HOME": str(home)}
    assert gather({}, environ)[0] is None
    write(home / ".config/loom/loom.toml", "port = 1")
    assert gather({}, environ)[1]["port"].value == 1
    environ["XDG_CONFIG_HOME"] = str(home / "xdg")
    assert gather({}, environ)[0] is None
    write(home / "xdg/loom/loom.toml", "port = 2")
    assert gather({}, environ)[1]["port"].value == 2
    environ["LOOM_CONFIG"] = write(home / "3.toml", "port = 3")
    assert gather({}, environ)[1]["port"].value == 3
    flags: dict[str, object | None] = {"config": write(home / "4.toml", "port = 4")}
    assert gather(flags, environ)[1]["port"].value == 4


def test_a_file_in_the_current_folder_is_not_read_unasked(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "loom.toml", "port = 1")
    monkeypatch.chdir(tmp_path)
    assert gather({}, {"HOME": str(home)})[0] is None


@pytest.mark.spec("config.wrong")
def test_a_wrong_value_names_where_it_stands_the_value_and_what_is_allowed(home: Path) -> None:
    environ = {"HOME": str(home)}
    file = write(home / "x.toml", "[retry]\nmax_attempts = 21\n")
    assert wrong({"port": "x"}, environ) == "--port is 'x': port must be 0..=65535 (0: any free port)"
    assert (
        wrong({"drain_seconds": "-1"}, environ) == "--drain-seconds is '-1': drain_seconds must be 0..=3600"
    )
    assert wrong({}, environ | {"LOOM_WORKERS": ""}) == "LOOM_WORKERS is '': workers must be 1..=64"
    told = f"retry.max_attempts in {file} is 21: retry.max_attempts must be 1..=20"
    assert wrong({"config": file}, environ) == told
    assert wrong({"config": file, "retry_max_attempts": "2"}, environ) == told
    assert wrong({}, environ | {"LOOM_LOG": "a\nb\x1b[31m"}).startswith(
        "LOOM_LOG is 'a\\nb\\x1b[31m': log must be"
    )
    assert len(wrong({"host": "x" * 100_000}, environ)) < 200


@pytest.mark.spec("config.secret-errors", "config.key-file")
@pytest.mark.parametrize("key", ["", "two words", "a\nb", "caf\xe9-secret", "\x7fsecret"])
def test_a_wrong_key_is_not_shown(home: Path, key: str) -> None:
    line = wrong({}, {"HOME": str(home), "LOOM_UPSTREAM_API_KEY": key})
    told = "gateway.upstream_api_key must be one word of visible ASCII characters"
    assert line == f"LOOM_UPSTREAM_API_KEY: {told}"


@pytest.mark.spec("config.secret-errors")
@pytest.mark.parametrize("text", ["https://me:hunter2@h", "me:hunter2@h", "https://h/?key=hunter2"])
def test_an_upstream_that_may_hold_a_password_is_not_shown(home: Path, text: str) -> None:
    line = wrong({"upstream": text}, {"HOME": str(home)})
    assert line.startswith("--upstream: upstream must not hold a ")
    assert "hunter2" not in line


@pytest.mark.spec("config.key-file", "config.secret-errors")
@pytest.mark.parametrize(
    "text",
    [
        '[gateway]\nupstream_api_key = "sk-hunter2"',
        '[gateway]\nupstream_api_kee = "sk-hunter2"',
        'upstream_api_key = "sk-hunter2"',
        'gateway = "sk-hunter2"',
        '[gateway]\nupstream_api_key = "sk-hunter2',
        "[gateway]\nupstream_api_key = sk-hunter2",
    ],
)
def test_a_key_in_the_file_is_refused_and_not_shown(home: Path, text: str) -> None:
    line = wrong({"config": write(home / "x.toml", text)}, {"HOME": str(home)})
    assert "hunter2" not in line
    assert f"{home}/x.toml" in line


@pytest.mark.spec("config.unknown-key")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prot = 1", "prot in FILE is not a setting (did you mean port?)"),
        ("max-body-bytes = 1", "max-body-bytes in FILE is not a setting (did you mean max_body_bytes?)"),
        ("max_attempts = 1", "max_attempts in FILE is not a setting (did you mean retry.max_attempts?)"),
        ("[retry]\nmax = 1", "retry.max in FILE is not a setting (did you mean retry.factor?)"),
        ("[retri]\nfactor = 1", "retri in FILE is not a setting (did you mean retry?)"),
        ("[empty]", "empty in FILE is not a setting"),
        ("config = 'x'", "config in FILE is not a setting"),
        ('"a\\nb" = 1', "a\\nb in FILE is not a setting"),
        ("[[retry]]\nfactor = 1", "retry in FILE must be a table: [retry]"),
    ],
)
def test_a_key_that_is_no_setting_is_refused(home: Path, text: str, told: str) -> None:
    file = write(home / "x.toml", text)
    line = wrong({"config": file}, {"HOME": str(home)})
    assert line.startswith(told.replace("FILE", file).partition(" (did you mean retry.factor")[0])


@pytest.mark.spec("config.unknown-variable")
def test_a_variable_that_is_no_setting_is_a_warning(home: Path) -> None:
    environ = {
        "HOME": str(home),
        "LOOM_PROT": "1",
        "LOOM_XYZZY_FOO": "2",
        "LOOMING": "3",
        "LOOM_HOST": "localhost",
    }
    gather({}, environ)
    assert [*unknown_variables(environ)] == [
        "LOOM_PROT is not a setting (did you mean LOOM_PORT?): it is ignored",
        "LOOM_XYZZY_FOO is not a setting: it is ignored",
    ]


@pytest.mark.spec("config.file")
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"port = ", "as TOML: Invalid value"),
        (b"port = 1\nport = 2", "as TOML: Cannot overwrite"),
        (b"port = " + b"9" * 5000, "as TOML: "),
        (b"\x7fELF\x00\x01\xff", "it is not UTF-8 text"),
        (b"\x00\x01", "as TOML: "),
        (b"a = " + b"[" * 100_000, "it is nested too deeply"),
        (b"#" * (1024 * 1024 + 1), "it is larger than 1048576 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(home: Path, content: bytes, told: str) -> None:
    file = write(home / "x.toml", content)
    line = wrong({}, {"HOME": str(home), "LOOM_CONFIG": file})
    assert line.startswith(f"LOOM_CONFIG: cannot read {file}")
    assert told in line
    assert len(line) < 400


@pytest.mark.spec("config.file")
def test_a_named_file_must_be_there_and_the_usual_one_must_be_readable_if_it_is(home: Path) -> None:
    environ = {"HOME": str(home)}
    assert wrong({"config": "/nowhere/x"}, environ) == (
        "--config: cannot read /nowhere/x: no such file or directory"
    )
    assert wrong({"config": ""}, environ) == "--config is '': config must be the path of a TOML file"
    (home / ".config/loom/loom.toml").mkdir(parents=True)
    assert wrong({}, environ) == f"cannot read {home}/.config/loom/loom.toml: is a directory"


def test_an_endless_number_is_a_wrong_value_like_any_other(home: Path) -> None:
    file = write(home / "x.toml", "port = 0x" + "f" * 20_000)
    assert " is a very large number: port must be" in wrong({"config": file}, {"HOME": str(home)})


@pytest.mark.spec("config.paths")
def test_paths_start_where_their_writer_stood(home: Path) -> None:
    environ = {"HOME": str(home)}
    file = write(home / "etc" / "x.toml", "home = 'data'\n[gateway]\nclient_tokens_file = '~/tokens'")
    found = gather({"config": file, "upstream_api_key_file": "key"}, environ)[1]
    assert found["home"].value == home / "etc" / "data"
    assert found["gateway.client_tokens_file"].value == home / "tokens"
    assert found["gateway.upstream_api_key_file"].value == Path("key")
    assert gather({"home": "."}, environ)[1]["home"].value == Path()
    assert gather({"home": "~"}, environ)[1]["home"].value == home


def test_xdg_folders_that_are_empty_or_relative_count_as_not_set(home: Path) -> None:
    for text in ("", "relative/x"):
        environ = {"HOME": str(home), "XDG_DATA_HOME": text}
        assert xdg_folder(environ, "XDG_DATA_HOME", ".local/share") == home / ".local/share"


def test_without_home_the_user_database_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert xdg_folder({}, "XDG_DATA_HOME", "x").is_absolute()
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    with pytest.raises(ConfigError, match="HOME is not set"):
        xdg_folder({}, "XDG_DATA_HOME", "x")


def test_a_flag_that_does_not_exist_is_our_own_fault() -> None:
    with pytest.raises(TypeError, match="no such flag: colour"):
        gather({"colour": "red"}, {})
