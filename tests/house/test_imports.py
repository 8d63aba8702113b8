"""Import direction: the contracts stand in `[tool.importlinter]` of pyproject.toml."""

import subprocess
import sys
import tomllib
from pathlib import Path

from tests.house.tree import ROOT

RUN = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def lint(folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_imports_go_one_way() -> None:
    code, report = lint(ROOT)
    assert code == 0, report
    assert "3 kept, 0 broken" in report


def test_an_import_against_the_direction_is_found(tmp_path: Path) -> None:
    for package, source in (("loom_core", "import loom_shell"), ("loom_shell", "")):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(source, encoding="utf-8")
    whole = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    first = whole[whole.index("[tool.importlinter]") :].split("[[tool.importlinter.contracts]]")[:2]
    (tmp_path / "pyproject.toml").write_text("[[tool.importlinter.contracts]]".join(first), encoding="utf-8")
    code, report = lint(tmp_path)
    assert code == 1, report
    assert "BROKEN" in report


def test_a_new_file_must_find_its_place_in_the_order() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    exhaustive = {contract["containers"][0] for contract in linter["contracts"] if contract.get("exhaustive")}
    assert exhaustive == {"loom_core", "loom_shell"}
