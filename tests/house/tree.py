"""The files of the repository, as the house tests see them."""

import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("loom_core", "loom_shell")


def name(path: Path) -> str:
    """The path below the root, with slashes: what a person would say."""
    return path.relative_to(ROOT).as_posix()


def sources(*packages: str) -> list[Path]:
    """The Python files of the packages (of both by default), sorted."""
    return sorted(path for package in packages or PACKAGES for path in (ROOT / package).rglob("*.py"))


def ignored() -> tuple[str, ...]:
    """The patterns of `.gitignore`, which here are names and globs of names only."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    return (".git", *(line.strip().rstrip("/") for line in lines if line.strip() and line[0] != "#"))


def files() -> list[Path]:
    """Every file that belongs to the repository: those `.gitignore` does not name, sorted.

    Read from the folders and not from git, so that a copy without `.git` is kept as clean.
    """
    return sorted(_walk(ROOT, ignored()))


def _walk(root: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    def kept(entry: str) -> bool:
        return not any(fnmatch.fnmatch(entry, pattern) for pattern in patterns)

    for folder, folders, names in os.walk(root):
        folders[:] = filter(kept, folders)
        yield from (Path(folder, entry) for entry in filter(kept, names))


def texts() -> Iterator[tuple[Path, str]]:
    """Every file that is text, with its text."""
    for path in files():
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
