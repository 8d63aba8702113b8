import os
import re
import stat
import tomllib
from importlib import resources
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from loom_core.profile import Profile
from loom_core.wrapper import NOW, tokens
from loom_shell.cli.main import command_line
from loom_shell.files import sole_writer
from loom_shell.profile_file import read_profile
from loom_shell.profile_keys import COMPACTION, MEMORABLES, MEMORIES, OWN, PIECE, TABLES

TEMPLATE = Path(str(resources.files("loom_shell") / "templates" / "alpha"))


class Shell:
    """A user at a prompt, with a home folder of their own."""

    def __init__(self, home: Path) -> None:
        self.profiles = home / ".local/share/loom/profiles"

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(command_line(["profile"]), ["profile", *words])

    def refused(self, *words: str) -> str:
        result = self.run(*words)
        assert result.exit_code == 2
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        return line

    def write(self, name: str, file: str, text: str) -> None:
        (self.profiles / name / file).write_text(text, encoding="utf-8")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in [name for name in os.environ if name.startswith(("LOOM_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return Shell(tmp_path)


@pytest.mark.spec("profiles.new", "profiles.template")
def test_a_new_profile_is_in_order_and_bears_its_name(shell: Shell) -> None:
    result = shell.run("new", "old-ben")
    assert result.exit_code == 0
    folder = shell.profiles / "old-ben"
    assert str(folder) in result.stdout
    assert sorted(one.name for one in folder.iterdir()) == [
        "compact_identity.md",
        "compact_prompt.md",
        "context.md",
        "continuation.md",
        "identity.md",
        "profile.toml",
    ]
    made = read_profile(folder)
    assert made.pieces[0].text.startswith("You are Old Ben. ")
    assert made.compaction.identity.startswith("You are Old Ben, ")
    assert made.compaction.must_survive == ("Old Ben",)
    assert [one.name for one in shell.profiles.iterdir()] == ["old-ben"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.spec("profiles.new")
def test_a_folder_that_is_there_is_left_alone(shell: Shell) -> None:
    (shell.profiles / "alpha").mkdir(parents=True)
    assert "is there already" in shell.refused("new", "alpha")
    (shell.profiles / "beta").symlink_to("nowhere")
    assert "is there already" in shell.refused("new", "beta")
    assert list((shell.profiles / "alpha").iterdir()) == []


@pytest.mark.spec("profiles.new", "profiles.name")
@pytest.mark.parametrize("name", ["Alpha", "../x", "", "a b", ".x", "x" * 65])
def test_a_name_that_is_none_is_refused(shell: Shell, name: str) -> None:
    assert "is no name: 1 to 64 small letters" in shell.refused("new", name)
    assert not shell.profiles.exists()


@pytest.mark.spec("profiles.new")
def test_a_profile_that_cannot_be_written_whole_leaves_nothing(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    assert shell.refused("new", "alpha").endswith("profiles/alpha: no space left on device")
    assert list(shell.profiles.iterdir()) == []
    with sole_writer(shell.profiles / "x"):
        assert "another command is changing it" in shell.refused("new", "alpha")


@pytest.mark.spec("profiles.list")
def test_the_list_tells_pieces_tokens_and_state(shell: Shell) -> None:
    assert shell.run("list").stdout.startswith("There are no profiles in ")
    shell.run("new", "alpha")
    shell.run("new", "beta")
    toml = "[[pieces]]\nname = 'a'\nlife = 'sticky'\nfile = 'identity.md'\n[compaction]\nprompt = 'p.md'\n"
    shell.write("alpha", "profile.toml", toml)
    shell.write("alpha", "identity.md", "x" * 4_000)
    shell.write("alpha", "p.md", "x" * 400)
    shell.write("beta", "profile.toml", "odd = 1")
    result = shell.run("list")
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["profile", "pieces", "tokens", "state"],
        ["alpha", "1", "1100", "in", "order"],
        ["beta", "–", "–", "broken:", "see", "`loom", "profile", "check`"],
    ]


@pytest.mark.spec("profiles.check")
def test_check_tells_every_fault_and_exits_with_1(shell: Shell) -> None:
    result = shell.run("check")
    assert (result.exit_code, result.stdout) == (0, f"There are no profiles in {shell.profiles}.\n")
    shell.run("new", "alpha")
    shell.run("new", "beta")
    result = shell.run("check")
    assert (result.exit_code, result.stdout) == (0, "alpha is in order.\nbeta is in order.\n")
    shell.write("beta", "profile.toml", "odd = 1\nagents = 1")
    result = shell.run("check")
    assert (result.exit_code, result.stdout) == (1, "alpha is in order.\n")
    assert [line.split(" in ")[0] for line in result.stderr.splitlines()] == ["odd", "agents"]
    assert shell.run("check", "alpha").exit_code == 0
    assert shell.run("check", "beta").exit_code == 1


@pytest.mark.spec("profiles.check", "profiles.show")
@pytest.mark.parametrize("command", ["check", "show"])
def test_a_profile_that_is_not_there_is_told(shell: Shell, command: str) -> None:
    result = shell.run(command, "alpha")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"there is no profile 'alpha' in {shell.profiles}: see `loom profile list`\n"


SHOWN = """\
[slots]
name = "Al"
[[pieces]]
name = "who"
file = "identity.md"
life = "identity"
[[pieces]]
name = "today"
key = "systemprompt:past:today"
heading = "{{name}} today"
life = "identity"
budget = 7
[[pieces]]
name = "hud"
pattern = "hud:*"
life = "ephemeral"
"""


@pytest.mark.spec("profiles.show")
def test_show_has_the_files_texts_and_names_what_is_in_the_store(shell: Shell) -> None:
    shell.run("new", "alpha")
    shell.write("alpha", "profile.toml", SHOWN)
    shell.write("alpha", "identity.md", "I am {{name}}.\n\x1b[31m")
    result = shell.run("show", "alpha")
    assert result.exit_code == 0
    assert result.stdout == (
        "--- Identity, after the client's own system prompt: 4 of 20000 tokens from files\n\n"
        "I am Al.\n[31m\n\n"
        "## Al today\n\n"
        "[from the store: systemprompt:past:today, at most 7 tokens]\n\n"
        "--- Ephemeral, at the newest prompt only: 0 of 20000 tokens from files\n\n"
        f"<system-reminder>\n{NOW}\n\n[from the store: hud:*]\n</system-reminder>\n\n"
    )
    shell.write("alpha", "profile.toml", "odd = 1")
    result = shell.run("show", "alpha")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "odd in" in result.stderr


COMPACTING = """\
[compaction]
identity = "i.md"
prompt = "p.md"
continuation = "c.md"
must_survive = ["{{profile}}", "the deploy"]
tells_missing = true
"""


@pytest.mark.spec("profiles.show")
def test_show_has_the_texts_for_compaction_and_what_they_take_the_place_of(shell: Shell) -> None:
    shell.run("new", "alpha")
    shell.write("alpha", "profile.toml", COMPACTING)
    shell.write("alpha", "i.md", "I am {{profile}}.")
    shell.write("alpha", "p.md", "Write:\n\x1b[31mwhat was.")
    shell.write("alpha", "c.md", "Back.")
    assert shell.run("show", "alpha").stdout == (
        "--- Compaction, identity: in place of the summariser's system prompt, where the client has one: "
        "3 of 8000 tokens\n\nI am alpha.\n\n"
        "--- Compaction, prompt: in place of the client's instruction, before the demand for text and tags: "
        "5 of 8000 tokens\n\nWrite:\n[31mwhat was.\n\n"
        "--- Compaction, continuation: in place of the client's words on how to go on: "
        "2 of 1000 tokens\n\nBack.\n\n"
        "--- Compaction, must survive: what a summary lacks is noted, and told after the continuation\n\n"
        "- alpha\n- the deploy\n\n"
    )
    shell.write("alpha", "profile.toml", "[compaction]\nmust_survive = ['a']")
    assert shell.run("show", "alpha").stdout == (
        "--- Compaction, must survive: what a summary lacks is noted\n\n- a\n\n"
    )


@pytest.mark.spec("profiles.check", "profiles.compaction")
def test_check_tells_what_is_wrong_with_a_text_for_compaction(shell: Shell) -> None:
    shell.run("new", "alpha")
    (shell.profiles / "alpha" / "continuation.md").unlink()
    result = shell.run("check", "alpha")
    assert result.exit_code == 1
    assert result.stderr == (
        f"compaction.continuation in {shell.profiles}/alpha/profile.toml: "
        f"cannot read {shell.profiles}/alpha/continuation.md: no such file or directory\n"
    )


def test_the_home_is_the_one_of_the_settings(shell: Shell, tmp_path: Path) -> None:
    shell.run("new", "a", "--home", str(tmp_path / "h"))
    assert (tmp_path / "h" / "profiles" / "a").is_dir()
    (tmp_path / "x.toml").write_text("home = 'there'\nhost = '0.0.0.0'")
    assert shell.run("new", "b", "--config", str(tmp_path / "x.toml")).exit_code == 0
    assert (tmp_path / "there" / "profiles" / "b").is_dir()
    assert "cannot read /nowhere" in shell.refused("list", "--config", "/nowhere")
    shell.profiles.parent.mkdir(parents=True)
    shell.profiles.symlink_to("profiles")
    assert shell.refused("list").startswith("loom profile: cannot list ")


@pytest.mark.spec("profiles.template")
def test_the_template_says_every_key_and_says_it_as_the_code_does() -> None:
    text = (TEMPLATE / "profile.toml").read_text(encoding="utf-8")
    said = tomllib.loads(text)
    assert set(said) == {*OWN, *TABLES}
    assert all(key in text for key in (*OWN, *PIECE, *MEMORABLES, *MEMORIES, *COMPACTION))
    found = read_profile(TEMPLATE)
    as_left_out = Profile("alpha", found.version, found.pieces, compaction=found.compaction)
    assert found == as_left_out, "what is left out is as the comments say"
    assert {piece.key or piece.pattern for piece in found.pieces} - {""} == {
        "systemprompt:past:to_self",
        "systemprompt:past:today",
        "systemprompt:future:*",
        "hud:*",
    }


@pytest.mark.spec("profiles.template")
def test_the_template_names_nobody_but_by_slots() -> None:
    assert (TEMPLATE / "identity.md").read_text(encoding="utf-8").startswith("You are {{name}}. ")
    for file in TEMPLATE.glob("*.md"):
        assert "Alpha" not in file.read_text(encoding="utf-8")


@pytest.mark.spec("profiles.template-compaction")
def test_the_templates_texts_for_compaction_are_short_and_calm_and_in_their_own_words() -> None:
    rules = read_profile(TEMPLATE).compaction
    assert rules.must_survive == ("Alpha",)
    assert not rules.tells_missing
    for text, most in ((rules.identity, 500), (rules.prompt, 1_000), (rules.continuation, 300)):
        assert 0 < tokens(text) < most
        assert "Alpha" in text
        assert "the person who writes here" in text
        # Words in capitals are taken for an attack (weaving.md, "Safety of woven text").
        assert not re.findall(r"\b[A-Z]{2,}\b|!", text)
        # The client reads the answer: what form it has is the Loom's to say.
        assert "<" not in text
    assert "\n\n" not in rules.continuation, "it takes the place of one paragraph"


@pytest.mark.spec("profiles.template")
def test_what_is_commented_out_in_the_template_is_in_order_too(tmp_path: Path) -> None:
    folder = tmp_path / "alpha"
    folder.mkdir()
    for file in TEMPLATE.iterdir():
        text = file.read_text(encoding="utf-8")
        for line in ("[[pieces]]", "name = ", "key = ", "heading = ", "life = ", "budget = ", "words = "):
            text = text.replace(f"# {line}", line)
        (folder / file.name).write_text(text, encoding="utf-8")
    found = read_profile(folder)
    assert found.pieces[-1].key == "systemprompt:present:weather"
    assert found.memories.words
