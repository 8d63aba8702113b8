import json
import re
from pathlib import Path

import pytest

from loom_shell.cli.show import place, show
from loom_shell.config import load
from loom_shell.scribe import FILE_NAME, Database
from loom_shell.scribe.database import Told
from tests.support.scribe_shell import ScribeShell
from tests.support.scribed import told


def spoken(number: int, role: str, *blocks: object, **more: object) -> Told:
    message = {"role": role, "content": list(blocks), **more}
    raw = {"type": role, "timestamp": f"2026-01-01T00:00:{number:02d}Z", "message": message}
    return told(number, raw=json.dumps(raw).encode(), role=role, session=more.get("session", "abc-1"))


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


CONVERSATION = (
    spoken(1, "user", text("List the files.")),
    spoken(
        2,
        "assistant",
        text("I look."),
        {"type": "tool_use", "name": "Bash", "input": {"command": "ls"}},
        id="msg_1",
        usage={"input_tokens": 12, "output_tokens": 5, "cache_read_input_tokens": 20_000},
    ),
    spoken(3, "user", {"type": "tool_result", "content": "\n".join(f"file {i}" for i in range(9))}),
    told(4, raw=b'{"type":"mode"}', role="", session="abc-1"),
    spoken(5, "assistant", text("There are nine.\nAll small.")),
)


class Shell(ScribeShell):
    def store(self, *lines: Told) -> None:
        database = Database(self.home / FILE_NAME)
        database.store(lines)
        database.close()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path, show, monkeypatch)


@pytest.mark.spec("scribe.show")
def test_a_session_is_shown_as_a_conversation(shell: Shell) -> None:
    shell.store(*CONVERSATION)
    shown = [line.rstrip() for line in shell.told("abc")]
    day, *heads = [line.split("  ")[0] for line in shown if line and not line.startswith(" ")]
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", day)
    assert heads == [
        *("user", "assistant", "tool", "assistant"),
        "abc-1: 12 tokens in, 20.0k read from the cache, 0 written there, 5 out",
    ]
    assert [line for line in shown if line.startswith(" ")] == [
        "  List the files.",
        "  I look.",
        '  → Bash {"command":"ls"}',
        "  ← file 0",
        "    file 1",
        "    file 2",
        "    file 3",
        "  … 5 more lines: --full",
        "  There are nine.",
        "  All small.",
    ]


@pytest.mark.spec("scribe.show")
def test_in_full_nothing_is_left_out(shell: Shell) -> None:
    shell.store(*CONVERSATION)
    shown = "\n".join(shell.told("abc-1", "--full"))
    assert "file 8" in shown
    assert "--full" not in shown
    assert "· line" in shown or "· mode" in shown or "· a line of no type" in shown


@pytest.mark.spec("scribe.show")
def test_json_is_a_line_for_each_and_in_full_with_the_raw_line(shell: Shell) -> None:
    shell.store(*CONVERSATION)
    lines = [json.loads(line) for line in shell.told("abc", "--json")]
    assert [one["place"] for one in lines] == [1_000, 2_000, 3_000, 4_000, 5_000]
    assert all("raw" not in one for one in lines)
    full = [json.loads(line) for line in shell.told("abc", "--json", "--full")]
    assert json.loads(full[0]["raw"])["message"]["content"] == [text("List the files.")]


@pytest.mark.spec("scribe.beginning")
def test_a_session_is_named_by_a_beginning_that_only_it_has(shell: Shell) -> None:
    shell.store(told(1, session="abc"), told(2, session="abcd"), told(3, session="b\x1b"))
    assert any("line 1" in line for line in shell.told("abc"))
    assert any("line 2" in line for line in shell.told("abcd"))
    assert shell.failed("ab") == ("loom: several sessions begin with 'ab': abcd, abc; give more of the id")
    for absent in ("x", "", "%"):
        assert shell.failed(absent) == (
            f"loom: no session begins with '{absent}'; the last ones are b\\x1b, abcd, abc"
        )
    shell.store(*(told(i, session=f"many-{i}") for i in range(10)))
    assert shell.failed("many").endswith("many-4, …; give more of the id")


@pytest.mark.spec("scribe.none")
def test_without_a_database_or_a_line_there_is_one_line(shell: Shell) -> None:
    assert "is not there yet: `loom serve` or `loom scribe` makes it" in shell.failed("abc")
    shell.store()
    assert shell.failed("abc") == (
        "loom: no session is stored yet: `loom serve` or `loom scribe` stores what is said"
    )
    assert "cannot read nowhere.toml" in shell.failed("abc", "--config", "nowhere.toml")


@pytest.mark.spec("scribe.terminal")
@pytest.mark.parametrize("how", [(), ("--full",), ("--json",), ("--json", "--full")])
def test_what_a_line_holds_is_shown_as_printable_text(shell: Shell, how: tuple[str, ...]) -> None:
    bad = "\x1b]0;owned\x07\x9b31m\u202egnp [bold]x[/bold]\ta\x85b\u2028c\r\nd"
    shell.store(
        told(1, bad, session="abc-1", role=f"us{bad}er"),
        spoken(
            2, "assistant", {"type": "tool_use", "name": bad, "input": {bad: bad}}, {"type": bad}, text(bad)
        ),
        spoken(3, "user", {"type": "tool_result", "content": [{"type": bad}, text(bad)]}),
        told(4, raw=b"\x1b[31m{", session="abc-1"),
    )
    lines = shell.told("abc", *how)
    assert all(line.isprintable() for line in lines)
    assert any("[bold]x[/bold]" in line for line in lines)


def test_long_lines_are_clipped_unless_all_is_asked_for(shell: Shell) -> None:
    shell.store(spoken(1, "user", text("x" * 5_000 + "\n" * 100 + "end")))
    assert "end" not in "".join(shell.told("abc"))
    assert "".join(shell.told("abc")).count("x") < 1_000
    full = "".join(shell.told("abc", "--full"))
    assert full.count("x") == 5_000
    assert "end" in full


@pytest.mark.spec("scribe.file")
def test_transcripts_are_kept_in_the_home_unless_a_url_is_given(tmp_path: Path) -> None:
    config = load({"home": str(tmp_path)}, {"HOME": str(tmp_path)})
    assert place(config) == tmp_path / FILE_NAME
