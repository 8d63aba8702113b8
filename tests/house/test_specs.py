"""The spec guard, tried on small projects of its own."""

from pathlib import Path

import pytest

from tests.support import specs

INI = "[pytest]\ntestpaths = t\nxfail_strict = true\naddopts = --strict-markers -p no:cacheprovider\n"
HOLDS = "import pytest\n\n@pytest.mark.spec({ids})\ndef test_it(): {body}\n"


class Project:
    """A folder with spec pages and tests, and the guard run over it."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.root: Path = pytester.path
        (self.root / "specs").mkdir()
        (self.root / "t").mkdir()
        (self.root / "pytest.ini").write_text(INI, encoding="utf-8")

    def page(self, *lines: str, name: str = "area.md") -> None:
        (self.root / "specs" / name).write_text("\n".join(["# Area", "", *lines, ""]), encoding="utf-8")

    def test(self, source: str, name: str = "test_a.py") -> None:
        (self.root / "t" / name).write_text(source, encoding="utf-8")

    def run(self, *args: str) -> tuple[int, list[str]]:
        """The exit code, and the lines the guard printed."""
        result = self.pytester.runpytest_inprocess("-p", "tests.support.specs", *args)
        spoken = [
            line.removeprefix("SPEC ") for line in result.outlines if line.startswith(("SPEC ", "specs:"))
        ]
        return int(result.ret), spoken

    def verification(self) -> str:
        return (self.root / "verification.md").read_text(encoding="utf-8")


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    made = Project(pytester)
    made.page("- r[area.one] The Loom MUST relay.")
    made.test(HOLDS.format(ids="'area.one'", body="pass"))
    return made


def test_an_item_held_by_a_passing_test_is_written_and_then_found_up_to_date(project: Project) -> None:
    assert project.run("--verify=write")[0] == 0
    assert "| ✅ | area.one | The Loom MUST relay. | `t/test_a.py::test_it` |" in project.verification()
    assert project.run("--verify=check") == (
        0,
        ["specs: every item is accounted for, verification.md is up to date"],
    )


def test_the_same_run_writes_the_same_page(project: Project) -> None:
    project.page("- r[more.b] B MUST be.", "- r[more.a] A MUST be.", name="more.md")
    project.test(HOLDS.format(ids="'more.a', 'more.b'", body="pass"), name="test_b.py")
    project.run("--verify=write")
    first = project.verification()
    project.run("--verify=write")
    assert project.verification() == first
    assert first.index("specs/area.md") < first.index("specs/more.md")
    assert first.index("more.b") < first.index("more.a"), "items keep the order of their page"


def test_without_the_option_nothing_is_judged(project: Project) -> None:
    project.page("- r[area.one] No rule.")
    assert project.run() == (0, [])
    assert not (project.root / "verification.md").exists()


def test_a_missing_page_is_stale(project: Project) -> None:
    code, lines = project.run("--verify=check")
    assert code == 1
    assert lines == ["verification.md is stale: run `uv run just verify` and look at the difference"]


def test_a_changed_sentence_makes_the_page_stale(project: Project) -> None:
    project.run("--verify=write")
    before = project.verification()
    project.page("- r[area.one] The Loom MUST relay faithfully.")
    code, lines = project.run("--verify=check")
    assert code == 1
    assert lines[0].startswith("verification.md is stale")
    assert project.verification() == before, "a check writes nothing"


@pytest.mark.parametrize("mode", ["check", "write"])
@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (
            ["- r[area.one] It MUST.", "- r[area.two] It MUST."],
            "specs/area.md:4: area.two: no passing test holds it",
        ),
        (
            ["- r[area.one] (planned) It MUST."],
            "specs/area.md:3: area.one: planned, but held by t/test_a.py::test_it",
        ),
        (["- r[area.one] It should."], "specs/area.md:3: area.one: no MUST in the sentence"),
        (["- r[area.one] MUSTARD."], "specs/area.md:3: area.one: no MUST in the sentence"),
        (
            ["- r[area.one] It MUST.", "- r [area.two] It MUST."],
            "specs/area.md:4: not of the form `- r[area.name] One sentence with MUST.`",
        ),
        (
            ["- r[area.one] It MUST.", "  - r[area.two] It MUST."],
            "specs/area.md:4: not of the form `- r[area.name] One sentence with MUST.`",
        ),
        (["Words only."], "t/test_a.py::test_it: unknown id area.one"),
    ],
)
def test_a_fault_is_one_clear_line_and_nothing_is_written(
    project: Project, lines: list[str], fault: str, mode: str
) -> None:
    project.page(*lines)
    assert project.run(f"--verify={mode}") == (1, [fault])
    assert not (project.root / "verification.md").exists()


def test_an_id_used_twice_is_named_at_both_places(project: Project) -> None:
    project.page("- r[area.one] Again it MUST.", name="zone.md")
    assert project.run("--verify=check") == (
        1,
        ["specs/area.md:3: area.one: duplicate id", "specs/zone.md:3: area.one: duplicate id"],
    )


def test_a_mark_without_an_id_is_named(project: Project) -> None:
    project.test(HOLDS.format(ids="", body="pass"), name="test_b.py")
    assert project.run("--verify=check") == (1, ["t/test_b.py::test_it: unknown id (none)"])


@pytest.mark.parametrize(
    "body",
    [
        "assert False",
        "pytest.skip('no')",
        "pytest.xfail('imperative, so it proves nothing')",
    ],
)
def test_a_test_that_did_not_pass_holds_nothing(project: Project, body: str) -> None:
    project.test(HOLDS.format(ids="'area.one'", body=body))
    code, lines = project.run("--verify=check")
    assert code == 1
    assert lines == ["specs/area.md:3: area.one: no passing test holds it"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_test_whose_fixture_fails_holds_nothing(project: Project, when: str) -> None:
    broken = "assert False\n    yield" if when == "before" else "yield\n    assert False"
    project.test(
        f"import pytest\n\n@pytest.fixture\ndef it():\n    {broken}\n\n"
        "@pytest.mark.spec('area.one')\ndef test_it(it): pass\n"
    )
    assert project.run("--verify=check") == (1, ["specs/area.md:3: area.one: no passing test holds it"])


def test_a_strict_xfail_holds_with_a_warning_sign(project: Project) -> None:
    project.test(
        "import pytest\n\n@pytest.mark.xfail\n@pytest.mark.spec('area.one')\ndef test_it(): assert 0\n"
    )
    assert project.run("--verify=write")[0] == 0
    assert "| ⚠️ | area.one |" in project.verification()


@pytest.mark.parametrize(
    ("mark", "body"),
    [
        ("xfail(strict=False)", "assert 0"),
        ("xfail(strict=False)", "pass"),
        ("xfail(run=False)", "pass"),
        ("xfail", "pass"),
    ],
)
def test_an_xfail_that_cannot_turn_red_or_did_holds_nothing(project: Project, mark: str, body: str) -> None:
    project.test(
        f"import pytest\n\n@pytest.mark.{mark}\n@pytest.mark.spec('area.one')\ndef test_it(): {body}\n"
    )
    assert project.run("--verify=check") == (1, ["specs/area.md:3: area.one: no passing test holds it"])


def test_a_planned_item_needs_no_test(project: Project) -> None:
    project.page("- r[area.one] It MUST.", "- r[area.later] (planned) It MUST.")
    assert project.run("--verify=write")[0] == 0
    assert "| ⏳ | area.later | It MUST. |  |" in project.verification()


def test_a_test_with_parameters_is_named_once_and_holds_only_whole(project: Project) -> None:
    source = (
        "import pytest\n\n@pytest.mark.spec('area.one')\n@pytest.mark.parametrize('x', [1, 2])\n"
        "def test_it(x): assert x < {limit}\n"
    )
    project.test(source.format(limit=3))
    project.run("--verify=write")
    assert project.verification().count("test_it") == 1
    project.test(source.format(limit=2))
    assert project.run("--verify=check") == (1, ["specs/area.md:3: area.one: no passing test holds it"])


@pytest.mark.parametrize("args", [("t/test_a.py",), ("-k", "test_it")])
def test_a_part_of_the_tests_proves_nothing(project: Project, args: tuple[str, ...]) -> None:
    project.test("def test_other(): pass\n", name="test_b.py")
    wanted = (1, ["specs are verified by a run of all tests: no paths, no -k, no -m"])
    assert project.run("--verify=write", *args) == wanted
    assert not (project.root / "verification.md").exists()


@pytest.mark.parametrize(
    ("source", "args"), [("import nothing_of_this_name\n", ()), ("def test_x(): assert 0\n", ("-x",))]
)
def test_a_run_that_stops_early_proves_nothing(project: Project, source: str, args: tuple[str, ...]) -> None:
    project.test(source, name="test_0.py")
    code, lines = project.run("--verify=write", *args)
    assert code != 0
    assert lines == ["specs are not verified: the run did not come to its end"]
    assert not (project.root / "verification.md").exists()


def test_pages_that_explain_or_are_generated_hold_no_items(project: Project) -> None:
    project.page("- r[example.id] An item MUST look so.", name="README.md")
    assert project.run("--verify=write")[0] == 0
    assert "example.id" not in project.verification()


def test_a_bar_in_a_sentence_does_not_break_the_table() -> None:
    items, _ = specs.read_page("a.md", "- r[a.b] `x|y` MUST stand.")
    assert "`x\\|y` MUST stand." in specs.render(items, {})
