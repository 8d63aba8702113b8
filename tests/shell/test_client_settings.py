import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.client_settings import (
    BASE_URL,
    FEW,
    HEADERS,
    HINTS,
    SINCE,
    Record,
    Wanted,
    commands,
    digest,
    events,
    hook_command,
    installed,
    is_ours,
    read_record,
    shown,
    uninstalled,
    with_source,
    written,
)
from loom_shell.json_edit import JsonRefusedError

COMMAND = hook_command("/a/python", "/a/loom_shell/hook.py")
WANTED = Wanted(COMMAND, events((2, 1, 328)), "http://127.0.0.1:8080")
FULL = """{
    "model": "opus",   "odd" : [1,2],
    "env": {"A": "1", "ANTHROPIC_BASE_URL": "http://before", "ANTHROPIC_CUSTOM_HEADERS": "k: v"},
    "hooks": {
        "Stop": [
            {"hooks": [{"type": "command", "command": "mine"}]}
        ],
        "Notification": []
    }
}
"""


@pytest.mark.spec("install.keeps")
def test_only_ours_is_put_in() -> None:
    new, record = installed(FULL, WANTED, None)
    told, before = json.loads(new), json.loads(FULL)
    assert told["env"] == {**before["env"], BASE_URL: WANTED.url, HINTS: "1"}
    assert list(told) == list(before)
    assert told["hooks"]["Stop"][0] == before["hooks"]["Stop"][0]
    assert told["hooks"]["Notification"] == []
    entry = {"hooks": [{"type": "command", "command": COMMAND, "timeout": 10}]}
    assert told["hooks"]["Stop"][1] == told["hooks"]["PreCompact"][0] == entry
    assert new.startswith(FULL[: FULL.index('"env"')])
    assert record.env[BASE_URL] == ('"http://before"', WANTED.url)
    assert set(commands(new)) == set(SINCE)


@pytest.mark.spec("install.idempotent")
@pytest.mark.parametrize("text", ["", "{}", '{"a":1}', FULL, '{\r\n\t"env": {},\r\n\t"hooks": {}\r\n}'])
def test_a_second_time_changes_nothing(text: str) -> None:
    once, record = installed(text, WANTED, None)
    assert installed(once, WANTED, record) == (once, record)
    again, _record = installed(once, WANTED, None)
    assert again == once


@pytest.mark.spec("install.uninstall-changed")
@pytest.mark.parametrize(
    "text", ["{}", '{"a":1}', FULL, '{\r\n\t"env": {},\r\n\t"hooks": {}\r\n}', '{"hooks":{"Stop":[]}}']
)
def test_taken_out_it_is_as_before_without_any_backup(text: str) -> None:
    once, record = installed(text, Wanted(COMMAND, WANTED.events, WANTED.url, "me"), None)
    assert uninstalled(once, record) == (text, ())


@pytest.mark.spec("install.uninstall-changed")
def test_what_the_user_changed_since_is_left_and_told() -> None:
    once, record = installed(FULL, Wanted(COMMAND, WANTED.events, WANTED.url, "me"), None)
    told = json.loads(once)
    told["env"][BASE_URL] = "http://theirs"
    told["env"][HEADERS] += "\nnew: one"
    told["hooks"]["Stop"][1]["hooks"].append({"type": "command", "command": "theirs"})
    told["hooks"]["PreCompact"].append({"hooks": [{"type": "command", "command": "theirs"}]})
    text, notes = uninstalled(json.dumps(told), record)
    left = json.loads(text)
    assert notes == (f"env.{BASE_URL} was changed since: left as it is",)
    assert left["env"] == {"A": "1", BASE_URL: "http://theirs", HEADERS: "k: v\nnew: one"}
    assert list(left["hooks"]) == ["Stop", "Notification", "PreCompact"]
    assert left["hooks"]["Stop"][1]["hooks"] == [{"type": "command", "command": "theirs"}]
    assert COMMAND not in text


def test_without_a_record_hooks_go_and_the_url_is_told_of() -> None:
    once, _record = installed('{"a": 1}', WANTED, None)
    text, notes = uninstalled(once, None)
    assert json.loads(text) == {"a": 1, "env": {BASE_URL: WANTED.url, HINTS: "1"}}
    assert notes == (f"there is no record of an installation: env.{BASE_URL} left as it is",)


@pytest.mark.spec("install.uninstall-changed")
def test_a_second_installation_keeps_what_stood_there_before_the_first() -> None:
    once, record = installed(FULL, WANTED, None)
    other = Wanted(
        hook_command("/b/python", "/b/loom_shell/hook.py"), WANTED.events, "http://127.0.0.1:9", "me"
    )
    twice, record = installed(once, other, record)
    assert set(commands(twice).values()) == {other.command}
    assert COMMAND not in twice
    assert record.before == digest(FULL)
    assert uninstalled(twice, record) == (FULL, ())


def test_doubled_entries_become_one() -> None:
    once, record = installed("{}", WANTED, None)
    told = json.loads(once)
    told["hooks"]["Stop"] *= 2
    text, _record = installed(json.dumps(told), WANTED, record)
    assert text.count(COMMAND) == len(SINCE)


@pytest.mark.spec("install.events")
@pytest.mark.parametrize(
    ("version", "known"),
    [
        (None, FEW),
        ((1, 0, 37), set()),
        ((1, 0, 53), {"Stop", "PreCompact"}),
        ((1, 0, 128), FEW),
        ((2, 0, 76), FEW),
        ((2, 1, 8), FEW),
        ((2, 1, 9), set(SINCE) - {"PostCompact"}),
        ((2, 1, 328), set(SINCE)),
    ],
)
def test_only_events_the_client_knows(version: tuple[int, int, int] | None, known: set[str]) -> None:
    assert set(events(version)) == known
    new, record = installed(FULL, WANTED, None)
    older, _record = installed(new, Wanted(COMMAND, events(version), WANTED.url), record)
    assert set(commands(older)) == known
    assert set(json.loads(older)["hooks"]) == known | {"Stop", "Notification"}


@pytest.mark.spec("install.headers")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "x-loom-source: me"),
        ("a: b", "a: b\nx-loom-source: me"),
        ("a: b\nX-Loom-Source: you\nc: d", "a: b\nx-loom-source: me\nc: d"),
    ],
)
def test_headers_that_stand_there_are_kept(before: str, after: str) -> None:
    assert with_source(before, "me") == after
    assert with_source(after, "me") == after


@pytest.mark.spec("install.idempotent", "install.headers")
def test_the_profile_is_kept_until_another_is_named() -> None:
    once, record = installed(FULL, Wanted(COMMAND, WANTED.events, WANTED.url, "me"), None)
    assert json.loads(once)["env"][HEADERS] == "k: v\nx-loom-source: me"
    assert installed(once, WANTED, record) == (once, record)
    twice, record = installed(once, Wanted(COMMAND, WANTED.events, WANTED.url, "you"), record)
    assert json.loads(twice)["env"][HEADERS] == "k: v\nx-loom-source: you"
    assert uninstalled(twice, record) == (FULL, ())


@pytest.mark.spec("install.refuses")
@pytest.mark.parametrize(
    "text",
    [
        *(
            "[]",
            "1",
            '{"env": []}',
            '{"hooks": 1}',
            '{"hooks": {"Stop": {}}}',
            '{"env": {}, "env": {}}',
            "{,}",
        ),
        '{"env": {"ANTHROPIC_CUSTOM_HEADERS": null}}',
        '{"env": {"ANTHROPIC_BASE_URL": 1}}',
    ],
)
def test_settings_of_another_shape_are_refused(text: str) -> None:
    with pytest.raises(JsonRefusedError):
        installed(text, Wanted(COMMAND, WANTED.events, WANTED.url, "me"), None)


JSON_VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["env", "hooks", "Stop", "command", "type", HEADERS, BASE_URL, "x"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON_VALUES, st.sampled_from([None, 2, "\t"]))
def test_any_settings_are_refused_or_given_back(told: object, layout: int | str | None) -> None:
    text = json.dumps(told, indent=layout)
    try:
        once, record = installed(text, Wanted(COMMAND, WANTED.events, WANTED.url, "me"), None)
    except JsonRefusedError:
        return
    assert installed(once, WANTED, record) == (once, record)
    assert read_record(written(record)) == record
    assert uninstalled(once, record)[0] == text


@pytest.mark.spec("install.harmless")
@pytest.mark.parametrize(
    ("python", "script"), [("/gone/python", "/gone/loom_shell/hook.py"), (sys.executable, "/gone x/'")]
)
def test_a_hook_that_has_gone_blocks_nobody(python: str, script: str) -> None:
    ran = subprocess.run(
        ["sh", "-c", hook_command(python, script)], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, b"")


def test_our_command_is_known_by_its_form(tmp_path: Path) -> None:
    assert is_ours(hook_command("/a b/python", "/it's/loom_shell/hook.py"))
    assert shlex.split(hook_command("/a b/python", "/x/loom_shell/hook.py"))[0] == "/a b/python"
    for other in (
        "loom hook",
        "python /x/loom_shell/hook.py",
        "",
        None,
        1,
        "echo -S my_loom_shell/hook.py || false",
    ):
        assert not is_ours(other)
    assert os.sep in str(tmp_path)


def test_what_is_no_record_is_none() -> None:
    assert read_record(written(Record())) == Record()
    for wrong in (b"", b"[]", b'{"env": 1}', b"\xff"):
        assert read_record(wrong) is None


@pytest.mark.spec("install.dry-run")
def test_secrets_are_hidden_from_a_screen() -> None:
    told = {
        "env": {
            "ANTHROPIC_AUTH_TOKEN": 'dummy"1',
            "MY_API_KEY": "dummy2",
            "B": "plain",
            HEADERS: "a: dummy3\nx-loom-source: me",
        }
    }
    for layout in (None, 2):
        text = shown(json.dumps(told, indent=layout))
        assert "dummy" not in text
        assert "plain" in text
        assert "a: (hidden)\\nx-loom-source: me" in text
