"""What stands in the repository, and what must not."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.house import tree
from tests.house.tree import ROOT

LOCKS = frozenset({"uv.lock", "poetry.lock", "Pipfile.lock", "package-lock.json", "yarn.lock", "pylock.toml"})
# Put together here, so that this file does not hold the words it looks for.
LEFT_OPEN = re.compile("|".join(rf"\b{a}{b}\b" for a, b in (("TO", "DO"), ("FIX", "ME"), ("XX", "X"))))
MACHINE_PATH = re.compile(r"(?<![\w:/.~-])/(?:(?:work|farm|root)\b|(?:tmp|home|Users)/[\w.])")
TICKET = re.compile(r"\bissues? #?\d", re.IGNORECASE)
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
COMMANDS = ["pip install uv && uv run loom serve", "pip install uv && uv run just ci"]


def places(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{tree.name(path)}:{number}: {line.strip()[:100]}"
        for path, text in tree.texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_no_lock_file_is_in_the_repository() -> None:
    assert {"uv.lock", "package-lock.json"} <= set(tree.ignored())
    assert [tree.name(path) for path in tree.files() if path.name in LOCKS] == []
    if (ROOT / ".git").exists() and (git := shutil.which("git")):
        tracked = subprocess.run(
            [git, "-c", "safe.directory=*", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert sorted(LOCKS & {Path(line).name for line in tracked.stdout.splitlines()}) == []


def test_no_work_is_left_open_in_a_comment() -> None:
    assert places(LEFT_OPEN) == []


def test_no_path_of_one_machine_is_written_down() -> None:
    assert places(MACHINE_PATH) == []


def test_the_text_stands_without_a_tracker() -> None:
    assert places(TICKET) == []


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (LEFT_OPEN, "# TO" + "DO: later"),
        (LEFT_OPEN, "FIX" + "ME"),
        (MACHINE_PATH, "see /" + "work/main"),
        (MACHINE_PATH, "`/" + "root`"),
        (MACHINE_PATH, "open('/" + "tmp/x')"),
        (MACHINE_PATH, "/" + "home/someone"),
        (TICKET, "see issue " + "12"),
    ],
)
def test_the_check_finds(pattern: re.Pattern[str], line: str) -> None:
    assert pattern.search(line)


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (LEFT_OPEN, "a mastodon"),
        (MACHINE_PATH, "https://host/work/x"),
        (MACHINE_PATH, "framework/rooted"),
        (MACHINE_PATH, "tests/support"),
        (MACHINE_PATH, "~/.local/share/loom"),
        (MACHINE_PATH, "/v1/messages"),
        (TICKET, "headroom#1042"),
    ],
)
def test_the_check_allows(pattern: re.Pattern[str], line: str) -> None:
    assert not pattern.search(line)


def test_readme_opens_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"pip install[^`\n#]*", text)
    assert [" ".join(line.split()) for line in shown[:2]] == COMMANDS
    assert text[: text.index(COMMANDS[1])].count("\n") <= 20, "the two commands head the README"


def test_every_relative_link_leads_somewhere() -> None:
    broken = [
        f"{tree.name(path)}: {target}"
        for path, text in tree.texts()
        if path.suffix == ".md"
        for target in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        if not re.match(r"[a-z]+:|#", target) and not (path.parent / target.partition("#")[0]).exists()
    ]
    assert broken == []


def test_the_newest_entry_of_the_changelog_is_this_version_or_unreleased() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    headings = re.findall(
        r"^## \[?v?([\w.]+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert headings
    assert headings[0] in {version, "Unreleased"}


def test_the_guard_of_a_bare_machine_is_the_guard_of_everyone() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111, ".ci/run is executable"
    assert script.read_text(encoding="utf-8").rstrip().splitlines()[-1] == COMMANDS[1].partition("&& ")[2]


def test_the_map_of_the_specs_names_every_page() -> None:
    pages = {path.name for path in (ROOT / "specs").glob("*.md")} - {"README.md"}
    assert pages == set(LINK.findall((ROOT / "specs" / "README.md").read_text("utf-8"))) - {
        "../verification.md"
    }
