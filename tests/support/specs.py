"""Specs that cannot drift: `specs/*.md` items, the tests that hold them, and `verification.md`.

An item is one line, `- r[exchange.status] The client MUST receive the status upstream sent.`;
`- r[id] (planned) …` is one not built yet. A test holds it by `@pytest.mark.spec("exchange.status")`.
The first part of this file is pure (pages and results in, faults and a page out), the last is the
pytest plug-in. `specs/README.md` describes the use.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Mapping
from enum import Enum
from pathlib import Path

import pytest
from attrs import frozen

ITEM = re.compile(
    r"- r\[(?P<id>[a-z0-9_-]+(?:\.[a-z0-9_-]+)+)\] (?P<planned>\(planned\) )?(?P<sentence>\S.*)"
)
LOOKS_LIKE_AN_ITEM = re.compile(r"\s*[-*] +r\s*\[")
WITHOUT_ITEMS = frozenset({"README.md", "transitions.md"})
"""Pages that explain or are generated."""


class Outcome(Enum):
    """How one test ended. Only the first two hold an item."""

    PASSED = "passed"
    XFAILED = "failed as a strict xfail says it must"
    OTHER = "failed, skipped, or not run to its end"


@frozen
class Item:
    id: str
    page: str
    line: int
    sentence: str
    planned: bool


@frozen
class Mark:
    """One test says that it holds one item. `test` names the function, without parameters."""

    id: str
    test: str
    outcome: Outcome


def read_page(page: str, text: str) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """The items of one page in its order, and a fault for each line that only resembles one."""
    items, faults = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if found := ITEM.fullmatch(line):
            planned = found["planned"] is not None
            items.append(Item(found["id"], page, number, found["sentence"], planned))
        elif LOOKS_LIKE_AN_ITEM.match(line):
            faults.append(f"specs/{page}:{number}: not of the form `- r[area.name] One sentence with MUST.`")
    return tuple(items), tuple(faults)


def read_folder(folder: Path) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """Items and faults of every page, pages in the order of their names."""
    items: list[Item] = []
    faults: list[str] = []
    for path in sorted(folder.glob("*.md")):
        if path.name not in WITHOUT_ITEMS:
            found, wrong = read_page(path.name, path.read_text(encoding="utf-8"))
            items += found
            faults += wrong
    return tuple(items), tuple(faults)


def held_by(marks: Iterable[Mark]) -> dict[str, dict[str, Outcome]]:
    """Item id -> test -> how it ended.

    A test with parameters counts once: as `OTHER` if one of them did, else as an xfail if one was.
    """
    worst = [Outcome.OTHER, Outcome.XFAILED, Outcome.PASSED]
    held: dict[str, dict[str, Outcome]] = defaultdict(dict)
    for mark in marks:
        before = held[mark.id].get(mark.test, mark.outcome)
        held[mark.id][mark.test] = min(before, mark.outcome, key=worst.index)
    return {
        id_: {test: outcome for test, outcome in tests.items() if outcome is not Outcome.OTHER}
        for id_, tests in held.items()
    }


def faults(items: tuple[Item, ...], marks: tuple[Mark, ...]) -> tuple[str, ...]:
    """What is wrong between pages and tests: one line each, sorted."""
    found = set()
    known = {item.id: item for item in items}
    held = held_by(marks)
    times = Counter(item.id for item in items)
    for item in items:
        where = f"specs/{item.page}:{item.line}: {item.id}"
        if times[item.id] > 1:
            found.add(f"{where}: duplicate id")
        if not re.search(r"\bMUST\b", item.sentence):
            found.add(f"{where}: no MUST in the sentence")
        if item.planned and held.get(item.id):
            found.add(f"{where}: planned, but held by {min(held[item.id])}")
        if not item.planned and not held.get(item.id):
            found.add(f"{where}: no passing test holds it")
    found |= {f"{mark.test}: unknown id {mark.id}" for mark in marks if mark.id not in known}
    return tuple(sorted(found))


def render(items: tuple[Item, ...], held: Mapping[str, Mapping[str, Outcome]]) -> str:
    """The text of `verification.md`: a table for each spec page, in the order of the pages."""
    rows: dict[str, list[str]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for item in items:
        tests = held.get(item.id, {})
        sign = "⏳" if item.planned else "⚠️" if Outcome.XFAILED in tests.values() else "✅"
        counts[sign] += 1
        names = "<br>".join(f"`{test}`" for test in sorted(tests))
        rows[item.page].append(f"| {sign} | {item.id} | {_cell(item.sentence)} | {names} |")
    out = [
        "# Verification",
        "",
        "Written by `uv run just verify` from `specs/` and a run of the tests, compared by `uv run just ci`.",
        "",
        f"- ✅ held by passing tests: {counts['✅']}",
        f"- ⚠️ held by a strict xfail, a known fault: {counts['⚠️']}",
        f"- ⏳ planned: {counts['⏳']}",
    ]
    for page, lines in rows.items():
        out += ["", f"## [{page.removesuffix('.md')}](specs/{page})", ""]
        out += ["| | item | rule | held by |", "| --- | --- | --- | --- |", *lines]
    return "\n".join(out) + "\n"


def _cell(text: str) -> str:
    """Text fit for a table cell."""
    return text.replace("|", "\\|")


# ------------------------------------------------------------------ the pytest plug-in


class Guard:
    """Watches one run: which tests say they hold what, and how each ended.

    The tests may run in several processes (pytest-xdist): what is found there comes with their reports.
    """

    def __init__(self, mode: str, root: Path) -> None:
        self.mode = mode
        self.root = root
        self.claims: dict[str, tuple[str, ...]] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.faults: tuple[str, ...] = ()

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # outermost, to see what the xfail mark made of it
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        ids = [id_ for mark in item.iter_markers("spec") for id_ in mark.args or ("(none)",)]
        report.specs = [ids, _outcome(item, report).name]  # type: ignore[attr-defined]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        ids, name = getattr(report, "specs", ((), ""))
        if not ids:
            return
        self.claims[report.nodeid] = tuple(ids)
        ended = Outcome[name]
        # Setup and teardown can only spoil what the call found.
        if report.when == "call":
            self.outcomes.setdefault(report.nodeid, ended)
        elif ended is not Outcome.PASSED:
            self.outcomes[report.nodeid] = ended

    def marks(self) -> tuple[Mark, ...]:
        return tuple(
            Mark(id_, nodeid.partition("[")[0], self.outcomes.get(nodeid, Outcome.OTHER))
            for nodeid, ids in self.claims.items()
            for id_ in ids
        )

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput"):
            return
        self.faults = self.judge(session)
        if self.faults and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def judge(self, session: pytest.Session) -> tuple[str, ...]:
        """The faults of this run; in mode `write` a run without any writes the page."""
        asked = session.config.option
        is_part = bool(asked.keyword or asked.markexpr or asked.deselect)
        if is_part or session.config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
            return ("specs are verified by a run of all tests: no paths, no -k, no -m",)
        stopped = session.shouldstop or session.shouldfail
        if stopped or session.exitstatus not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
            return ("specs are not verified: the run did not come to its end",)
        items, wrong = read_folder(self.root / "specs")
        marks = self.marks()
        if wrong := wrong + faults(items, marks):
            return wrong
        page = self.root / "verification.md"
        text = render(items, held_by(marks))
        if self.mode == "write":
            page.write_text(text, encoding="utf-8")
        elif not page.exists() or page.read_text(encoding="utf-8") != text:
            return ("verification.md is stale: run `uv run just verify` and look at the difference",)
        return ()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.faults:
            terminalreporter.section("specs", red=True)
            for fault in self.faults:
                terminalreporter.line(f"SPEC {fault}", red=True)
        else:
            did = "written" if self.mode == "write" else "up to date"
            terminalreporter.line(f"specs: every item is accounted for, verification.md is {did}")


def _outcome(item: pytest.Item, report: pytest.TestReport) -> Outcome:
    if report.passed:
        # What passes under an xfail that is not strict could fail unseen.
        return Outcome.OTHER if hasattr(report, "wasxfail") else Outcome.PASSED
    if not (report.skipped and hasattr(report, "wasxfail")):
        return Outcome.OTHER
    default = item.config.getini("xfail_strict")
    strict = any(
        mark.kwargs.get("strict", default) and mark.kwargs.get("run", True)
        for mark in item.iter_markers("xfail")
    )
    return Outcome.XFAILED if strict else Outcome.OTHER


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--verify",
        choices=["check", "write", "off"],
        default="off",
        help="compare verification.md with this run of all tests, write it, or neither (default)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "spec(id, ...): this test holds the items of specs/*.md with these ids"
    )
    if (mode := config.getoption("verify")) != "off":
        config.pluginmanager.register(Guard(mode, config.rootpath), "loom-specs")
