"""One test file for each source file, and each small and well named."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.house import tree

MAX_LINES = 300
FORBIDDEN_WORDS = frozenset(
    {"manager", "handler", "processor", "helper", "helpers", "util", "utils", "service", "services"}
)
FORBIDDEN_IN_CLASSES = FORBIDDEN_WORDS | {"data", "info"}
TESTED = {"loom_core": "core", "loom_shell": "shell"}


def mirror(source: PurePosixPath) -> PurePosixPath:
    """`loom_shell/cli/x.py` -> `tests/shell/cli/test_x.py`."""
    package, *folders, file = source.parts
    return PurePosixPath("tests", TESTED[package], *folders, f"test_{file}")


def only_joins(source: str) -> bool:
    """Whether a file holds nothing to test: docstring, imports, names listed, a call to `main`."""

    def joins(node: ast.stmt) -> bool:
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant(value=str())):
                return True
            case ast.Assign(targets=[ast.Name(id="__all__")]):
                return True
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__")), body=[ast.Expr() | ast.Raise()]):
                return True
            case _:
                return False

    return all(map(joins, ast.parse(source).body))


def exempt(path: Path) -> bool:
    """`__init__.py` and `__main__.py` join files together; what they join is tested in those."""
    joining = path.name in {"__init__.py", "__main__.py"}
    return joining and only_joins(path.read_text(encoding="utf-8"))


def words(name: str) -> set[str]:
    """The words of a name in snake case or camel case, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)}


def badly_named(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ClassDef(name=name) if words(name) & FORBIDDEN_IN_CLASSES:
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if (
                words(name) & FORBIDDEN_WORDS
            ):
                yield name


@pytest.mark.parametrize("path", [it for it in tree.sources() if not exempt(it)], ids=tree.name)
def test_each_source_file_has_its_test_file(path: Path) -> None:
    wanted = mirror(PurePosixPath(tree.name(path)))
    assert (tree.ROOT / wanted).is_file(), f"{tree.name(path)} wants {wanted}"


def test_no_test_file_is_without_its_source() -> None:
    wanted = {str(mirror(PurePosixPath(tree.name(path)))) for path in tree.sources()}
    found = {
        tree.name(path)
        for part in TESTED.values()
        for path in (tree.ROOT / "tests" / part).rglob("test_*.py")
    }
    assert sorted(found - wanted) == []


@pytest.mark.parametrize("path", tree.sources(), ids=tree.name)
def test_a_source_file_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES, "it hides a noun: give it a file"


@pytest.mark.parametrize("path", tree.sources(), ids=tree.name)
def test_names_say_what_a_thing_is(path: Path) -> None:
    assert list(badly_named(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "class StreamManager: ...",
        "class HTTPHandler: ...",
        "class TurnData: ...",
        "class A:\n    def helper(self): ...",
        "def make_service(): ...",
        "async def string_utils(): ...",
    ],
)
def test_the_check_of_names_finds(source: str) -> None:
    assert list(badly_named(source))


@pytest.mark.parametrize("source", ["class Serviceable: ...", "class Database: ...", "def inform(): ...", ""])
def test_the_check_of_names_allows(source: str) -> None:
    assert list(badly_named(source)) == []


@pytest.mark.parametrize(
    ("source", "joins"),
    [
        ('"""Words."""\nfrom a import b\n\n__all__ = ["b"]\n', True),
        ('from a import main\n\nif __name__ == "__main__":\n    main()\n', True),
        ("", True),
        ("LIMIT = 1", False),
        ("def f(): ...", False),
        ("if DEBUG:\n    f()", False),
    ],
)
def test_only_joining_is_exempt(source: str, *, joins: bool) -> None:
    assert only_joins(source) is joins


def test_a_source_file_is_mapped_to_its_test_file() -> None:
    assert mirror(PurePosixPath("loom_core/x.py")) == PurePosixPath("tests/core/test_x.py")
    assert mirror(PurePosixPath("loom_shell/cli/x.py")) == PurePosixPath("tests/shell/cli/test_x.py")
