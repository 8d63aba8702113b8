import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from loom_core.lookup import Provenance
from loom_core.profile import Life
from loom_shell.profile_keys import COMPACTION, MEMORABLES, MEMORIES, NAME, OWN, PIECE, Key

PAGE = Path(__file__).parents[2] / "specs" / "profiles.md"
TABLES: Mapping[str, Mapping[str, Key]] = {
    "": OWN,
    "pieces.": PIECE,
    "memorables.": MEMORABLES,
    "memories.": MEMORIES,
    "compaction.": COMPACTION,
}
ALL = {f"{table}{name}": key for table, keys in TABLES.items() for name, key in keys.items()}


@pytest.mark.spec("profiles.table")
def test_the_page_has_the_table_of_keys() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(name, key.allowed) for name, key in ALL.items()]


@pytest.mark.parametrize(
    ("name", "value", "parsed"),
    [
        ("agents", True, True),
        ("placeholder", "two\nlines", "two\nlines"),
        ("identity_budget", 30_000, 30_000),
        ("pieces.life", "sticky", Life.STICKY),
        ("pieces.budget", 0, 0),
        ("pieces.heading", "", ""),
        ("pieces.key", "systemprompt:past:to_self", "systemprompt:past:to_self"),
        ("pieces.key", "lo{o}m:x", "lo{o}m:x"),
        ("pieces.pattern", "hud:*", "hud:*"),
        ("pieces.pattern", "looms:*", "looms:*"),
        ("memories.min_score", 1, 1.0),
        ("memories.provenance", ["web", "web", "user"], frozenset({Provenance.WEB, Provenance.USER})),
        ("memories.deadline_ms", 1_000, 1_000),
        ("compaction.identity", "who.md", "who.md"),
        ("compaction.must_survive", [], ()),
        ("compaction.must_survive", ["x" * 200, "né"], ("x" * 200, "né")),
        ("compaction.must_survive", ["x"] * 64, ("x",) * 64),
        ("compaction.tells_missing", True, True),
    ],
)
def test_a_value_that_is_allowed_is_parsed(name: str, value: object, parsed: object) -> None:
    found = ALL[name].parse(value)
    assert found == parsed
    assert type(found) is type(parsed)


@pytest.mark.spec("profiles.strict")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("agents", 1),
        ("agents", "true"),
        ("placeholder", 5),
        ("placeholder", "x" * 1_001),
        ("placeholder", "\x1b[31m"),
        ("identity_budget", "20"),
        ("identity_budget", True),
        ("identity_budget", 1.0),
        ("identity_budget", 0),
        ("pieces.budget", -1),
        ("pieces.name", "Big"),
        ("pieces.name", ""),
        ("pieces.name", ["a"]),
        ("pieces.file", ""),
        ("pieces.file", "a\0"),
        ("pieces.heading", "# x"),
        ("pieces.heading", "a\nb"),
        ("pieces.heading", " x"),
        ("pieces.life", "forever"),
        ("pieces.life", {"a": 1}),
        ("memories.min_score", float("nan")),
        ("memories.min_score", float("inf")),
        ("memories.min_score", True),
        ("memories.min_score", "1"),
        ("memories.provenance", []),
        ("memories.provenance", "user"),
        ("memories.provenance", ["nobody"]),
        ("memories.provenance", [[]]),
        ("compaction.prompt", ""),
        ("compaction.continuation", ["a.md"]),
        ("compaction.must_survive", "a phrase"),
        ("compaction.must_survive", {"a": "b"}),
        ("compaction.must_survive", [1]),
        ("compaction.must_survive", [["a"]]),
        ("compaction.must_survive", [""]),
        ("compaction.must_survive", [" a"]),
        ("compaction.must_survive", ["a\nb"]),
        ("compaction.must_survive", ["a\u200bb"]),
        ("compaction.must_survive", ["x" * 201]),
        ("compaction.must_survive", ["x"] * 65),
        ("compaction.tells_missing", "yes"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError):
        ALL[name].parse(value)


@pytest.mark.spec("profiles.keys")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pieces.key", ""),
        ("pieces.key", 7),
        ("pieces.key", "loom:ledger:{x}"),
        ("pieces.key", "hud:*"),
        ("pieces.key", "hud:?"),
        ("pieces.key", "hud:[a]"),
        ("pieces.key", "hud\\:a"),
        ("pieces.key", "two words"),
        ("pieces.key", "a\u200bb"),
        ("pieces.key", "x" * 201),
        ("pieces.pattern", "*"),
        ("pieces.pattern", "hud*"),
        ("pieces.pattern", "hud:"),
        ("pieces.pattern", "hud:*:x*"),
        ("pieces.pattern", "hud:**"),
        ("pieces.pattern", "hud:?*"),
        ("pieces.pattern", "loom*"),
        ("pieces.pattern", "loom:*"),
        ("pieces.pattern", "loom:turns:*"),
        ("pieces.pattern", None),
    ],
)
def test_keys_that_are_ours_and_patterns_that_are_too_wide_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError):
        ALL[name].parse(value)


@pytest.mark.spec("profiles.name")
def test_a_name_is_a_short_lower_case_word() -> None:
    assert all(map(NAME.fullmatch, ("a", "0", "a-b_c", "x" * 64)))
    assert not any(map(NAME.fullmatch, ("", "-a", "_a", "A", "a.b", "a/b", "é", "x" * 65, "a\n")))
