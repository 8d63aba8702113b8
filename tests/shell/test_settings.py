import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.settings import CONFIG, KEY, SETTINGS, Origin, RefusedError, Setting

BY_KEY = {setting.key: setting for setting in SETTINGS}
PAGE = Path(__file__).parents[2] / "specs" / "config.md"


def parse(key: str, value: object) -> object:
    return BY_KEY[key].parse(value)


@pytest.mark.parametrize(
    ("key", "value", "parsed"),
    [
        ("port", "0", 0),
        ("port", 65535, 65535),
        ("drain_seconds", "1.5", 1.5),
        ("drain_seconds", 0, 0.0),
        ("workers", "64", 64),
        ("max_body_bytes", "none", None),
        ("max_body_bytes", 1, 1),
        ("max_body_bytes", "200MB", 200_000_000),
        ("max_body_bytes", "32 MiB", 32 * 2**20),
        ("max_body_bytes", "1g", 10**9),
        ("max_body_bytes", "5kb", 5_000),
        ("max_body_bytes", "7B", 7),
        ("silence_timeout_seconds", "none", None),
        ("silence_timeout_seconds", "0.5", 0.5),
        ("redis.deadline_seconds", "0.001", 0.001),
        ("redis.deadline_seconds", 5, 5.0),
        ("memory.url", "https://h:9/cortex/", "https://h:9/cortex"),
        ("memory.key", " dummy\n", "dummy"),
        ("weave.headers", "off", False),
        ("weave.headers", True, True),
        ("retry.max_attempts", "20", 20),
        ("retry.factor", 1, 1.0),
        ("retry.statuses", "none", frozenset()),
        ("retry.statuses", [], frozenset()),
        ("retry.statuses", [429, 529], frozenset({429, 529})),
        ("retry.statuses", "429, 529", frozenset({429, 529})),
        ("gateway.allow_open", True, True),
        ("gateway.allow_open", "YES", True),
        ("gateway.allow_open", "0", False),
        ("log", "json", "json"),
        ("host", "localhost", "localhost"),
        ("host", "[::1]", "::1"),
        ("host", "0.0.0.0", "0.0.0.0"),
        ("host", "Box-1.example.org", "box-1.example.org"),
        ("home", "/a/b", Path("/a/b")),
        ("gateway.upstream_api_key", " sk-ant-1\n", "sk-ant-1"),
    ],
)
def test_a_right_value_is_read(key: str, value: object, parsed: object) -> None:
    assert parse(key, value) == parsed


@pytest.mark.spec("config.attempts")
@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        (
            "port",
            ["", "abc", "-1", "65536", "8_0", "\uff18\uff10", " 80", "1e3", True, 1.5, None, [], "9" * 5000],
        ),
        (
            "drain_seconds",
            ["", "-1", "3601", "nan", "inf", float("nan"), float("inf"), True, "1.", "1e1", []],
        ),
        ("workers", ["0", "65", 0]),
        ("redis.deadline_seconds", ["0", 0, "6", "none", True]),
        (
            "memory.url",
            ["", "none", "cortex", "ftp://h", "http://", "http://h:0", "http://h:x", "http://[", 1],
        ),
        ("memory.key", ["", "a b", "ä", 1]),
        ("weave.headers", ["", "none", 2]),
        ("max_body_bytes", ["", "0", 0, -1, "-1", "1TB", "lots", 1.5, True, "MB", "0 MB"]),
        ("connect_timeout_seconds", ["0", 0, "none", 601]),
        ("silence_timeout_seconds", ["0", "never", 86_401]),
        ("retry.max_attempts", ["0", "21", 0, 21, -3, "three"]),
        ("retry.factor", ["0.9", 0, 11]),
        ("retry.statuses", ["", "399", "600", "429,", [429, "x"], [True], [429.0], 429, {"a": 1}]),
        ("gateway.allow_open", ["", "maybe", 2, None, []]),
        ("log", ["", "JSON", "xml", 1]),
        ("home", ["", "  ", "a\0b", 1, None]),
        (
            "host",
            [
                "",
                " ",
                "a b",
                "http://x",
                "x:80",
                "127.1",
                "127.1.",
                "[localhost]",
                "::1%a b",
                "[::1",
                "1:2",
                "0",
                "256.1.1.1",
                "0x7f.0x1",
                "-a",
                "a..b",
                "ü",
                1,
                "x/y",
            ],
        ),
        ("gateway.upstream_api_key", ["", " ", "a b", "a\nb", "a\x00", "ä", "x" * 4097, 1]),
    ],
)
def test_a_wrong_value_is_refused(key: str, wrong: list[object]) -> None:
    for value in wrong:
        with pytest.raises(ValueError) as refused:
            parse(key, value)
        assert not isinstance(refused.value, RefusedError), value


@given(st.sampled_from(SETTINGS), st.one_of(st.text(), st.integers(), st.floats(), st.lists(st.integers())))
def test_no_value_raises_anything_but_value_error(setting: Setting, value: object) -> None:
    try:
        setting.parse(value)
    except ValueError:
        return
    assert isinstance(value, str | int | float | list)


@pytest.mark.spec("config.upstream")
@pytest.mark.parametrize(
    ("text", "origin", "url"),
    [
        ("https://api.anthropic.com", Origin("https", "api.anthropic.com", 443), "https://api.anthropic.com"),
        (
            "https://api.anthropic.com/",
            Origin("https", "api.anthropic.com", 443),
            "https://api.anthropic.com",
        ),
        ("HTTP://Some_Host:80", Origin("http", "some_host", 80), "http://some_host"),
        ("http://127.0.0.1:9", Origin("http", "127.0.0.1", 9), "http://127.0.0.1:9"),
        ("https://[::1]:8443", Origin("https", "::1", 8443), "https://[::1]:8443"),
        ("http://h:443", Origin("http", "h", 443), "http://h:443"),
    ],
)
def test_an_origin_is_read(text: str, origin: Origin, url: str) -> None:
    read = parse("upstream", text)
    assert read == origin
    assert isinstance(read, Origin)
    assert read.url == url
    assert read.authority == url.partition("://")[2]
    assert parse("upstream", read.url) == origin


@pytest.mark.spec("config.upstream")
@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "api.anthropic.com",
            "ftp://h",
            "https://",
            "https:///x",
            "https:/h",
            "https://h:",
            "https://h:0",
        ),
        *(
            "https://h:65536",
            "https://h:x",
            "https://[::1",
            "https://ü",
            "https://a b",
            "https://a\n",
            "https://a\\b",
            "https://h:\u0661",
        ),
        *("unix:/x", "https://a,b", "http://127.1", "javascript:alert", "//h", "https://[::1]x"),
    ],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse("upstream", text)


@pytest.mark.spec("config.upstream")
@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("https://user:pass@h", "user or password"),
        ("https://user@h", "user or password"),
        ("user:pass@h", "user or password"),
        ("https://h?key=1", "query or fragment"),
        ("https://h/#x", "query or fragment"),
        ("https://h/v1", "path"),
        ("https://h//", "path"),
        ("https://h/\x1b[31m", "path"),
    ],
)
def test_what_else_a_url_can_hold_is_refused_by_name(text: str, part: str) -> None:
    with pytest.raises(RefusedError, match=f"upstream must not hold a {part}"):
        parse("upstream", text)


def test_every_default_is_a_value_its_own_setting_takes() -> None:
    for setting in SETTINGS:
        if setting.default is not None:
            setting.parse(setting.default)


def test_no_two_settings_share_a_name() -> None:
    for names in ({s.key for s in SETTINGS}, {s.variable for s in SETTINGS}, {s.option for s in SETTINGS}):
        assert len(names) == len(SETTINGS)


@pytest.mark.spec("config.table")
def test_the_spec_page_lists_the_settings_as_they_are() -> None:
    rows = re.findall(r"^\| .*LOOM_.*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [row(setting) for setting in SETTINGS]


def row(setting: Setting) -> str:
    key = "–" if setting in (CONFIG, KEY) else f"`{setting.key}`"
    flag = f"`{setting.option}`" if setting.flag else "–"
    default = "–" if setting.default is None else f"`{setting.default}`"
    return f"| {key} | `{setting.variable}` | {flag} | {default} | {setting.allowed} |"
