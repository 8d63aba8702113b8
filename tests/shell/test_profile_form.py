import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.lookup import Provenance
from loom_core.profile import Life, MemorableRules, MemoryRules
from loom_shell.profile_form import MAX_PIECES, MAX_SLOTS, Form, GivenCompaction, GivenPiece, read_form

WHOLE = """
agents = true
placeholder = "I am {{name}}"
identity_budget = 100

[slots]
name = "Alpha"
where = "here"

[[pieces]]
name = "a"
file = "a.md"
life = "identity"
heading = "About {{name}} {{{{x}}"
budget = 5

[[pieces]]
name = "b"
pattern = "hud:{{where}}:*"
life = "ephemeral"

[[pieces]]
name = "c"
key = "of:{{profile}}"
life = "sticky"

[memorables]
on = false
most = 1
words = "{{name}} noticed:"

[memories]
deadline_ms = 100
min_score = 2
provenance = ["web"]

[compaction]
prompt = "p.md"
must_survive = ["{{name}}", "the {{{{x}} of {{where}}"]
tells_missing = true
"""


def form(toml: str) -> Form:
    return read_form(tomllib.loads(toml), "FILE", "alpha")


def fault(toml: str) -> str:
    (line,) = form(toml).faults
    return line


@pytest.mark.spec("profiles.value", "profiles.slots", "profiles.braces")
def test_a_whole_file_becomes_values_with_their_slots_filled() -> None:
    assert form(WHOLE) == Form(
        own={"agents": True, "placeholder": "I am {{name}}", "identity_budget": 100},
        slots={"profile": "alpha", "name": "Alpha", "where": "here"},
        pieces=(
            (1, GivenPiece("a", Life.IDENTITY, "About Alpha {{x}}", 5, file="a.md")),
            (2, GivenPiece("b", Life.EPHEMERAL, pattern="hud:here:*")),
            (3, GivenPiece("c", Life.STICKY, key="of:alpha")),
        ),
        memorables=MemorableRules(on=False, most=1, words="Alpha noticed:"),
        memories=MemoryRules(deadline=100_000_000, min_score=2.0, provenance=frozenset({Provenance.WEB})),
        compaction=GivenCompaction(
            prompt="p.md", must_survive=("Alpha", "the {{x}} of here"), tells_missing=True
        ),
        faults=(),
    )


@pytest.mark.spec("profiles.value")
def test_an_empty_file_is_a_profile_of_nothing() -> None:
    nothing = Form({}, {"profile": "alpha"}, (), MemorableRules(), MemoryRules(), GivenCompaction(), ())
    assert form("") == nothing


@pytest.mark.spec("profiles.strict")
@pytest.mark.parametrize(
    ("toml", "line"),
    [
        (
            "agent = true",
            (
                "agent in FILE is no key: allowed are agents, placeholder, identity_budget, "
                "slots, pieces, memorables, memories, compaction"
            ),
        ),
        ('agents = "true"', "agents in FILE is 'true': it must be true or false"),
        ("memories = 1", "memories in FILE must be a table: [memories]"),
        ("[[memorables]]", "memorables in FILE must be a table: [memorables]"),
        ("[memories]\nmost = '5'", "memories.most in FILE is '5': it must be 1..=20 at one prompt"),
        (
            "[memorables]\nmany = 5",
            "memorables.many in FILE is no key: allowed are on, budget, most, words",
        ),
        (
            '[memorables]\n"a\\u001b" = 1',
            "memorables.a\\x1b in FILE is no key: allowed are on, budget, most, words",
        ),
        ("compaction = 'x'", "compaction in FILE must be a table: [compaction]"),
        (
            "[compaction]\nsummary = 'x'",
            (
                "compaction.summary in FILE is no key: allowed are identity, prompt, continuation, "
                "must_survive, tells_missing"
            ),
        ),
        (
            "[compaction]\nmust_survive = 'x'",
            (
                "compaction.must_survive in FILE is 'x': "
                "it must be a list of at most 64 phrases, each one line of 1 to 200 characters"
            ),
        ),
        ("slots = []", "slots in FILE must be a table: [slots]"),
        ("[slots]\na = 1", "slots.a in FILE is 1: it must be text of at most 1000 printable characters"),
        (
            "[slots]\nA = ''",
            (
                "slot 'A' in FILE has no name that is free: allowed are "
                "1 to 64 small letters, digits and _, first a letter, and profile is built in"
            ),
        ),
        ("pieces = {}", "pieces in FILE must be tables: [[pieces]] for each"),
        ("pieces = [1]", "pieces in FILE must be tables: [[pieces]] for each"),
        (
            "[[pieces]]\nname = 'a'\nlife = 'always'\nkey = 'k'",
            "life of piece 1 in FILE is 'always': it must be identity, sticky or ephemeral",
        ),
    ],
)
def test_each_fault_names_key_and_file_and_says_what_is_allowed(toml: str, line: str) -> None:
    assert fault(toml) == line


@pytest.mark.spec("profiles.strict")
def test_the_built_in_slot_cannot_be_given() -> None:
    assert "profile is built in" in fault("[slots]\nprofile = 'x'")
    assert form("[slots]\nprofile = 'x'").slots == {"profile": "alpha"}


@pytest.mark.spec("profiles.source")
@pytest.mark.parametrize(
    ("piece", "line"),
    [
        ("life = 'sticky'\nkey = 'k'", "piece 1 in FILE has no name: it needs one"),
        ("name = 'a'\nkey = 'k'", "piece 1 in FILE has no life: it needs one"),
        (
            "name = 'a'\nlife = 'sticky'",
            "piece 1 in FILE must have exactly one of file, key and pattern",
        ),
        (
            "name = 'a'\nlife = 'sticky'\nkey = 'k'\nfile = 'f'",
            "piece 1 in FILE must have exactly one of file, key and pattern",
        ),
    ],
)
def test_a_piece_has_a_name_a_life_and_one_source(piece: str, line: str) -> None:
    assert fault(f"[[pieces]]\n{piece}") == line


@pytest.mark.spec("profiles.source")
def test_two_pieces_of_one_name_are_refused() -> None:
    piece = "[[pieces]]\nname = 'a'\nlife = 'sticky'\nkey = 'k'\n"
    assert fault(piece * 2) == (
        "name of piece 2 in FILE is 'a': another piece has that name, and each must have its own"
    )


@pytest.mark.spec("profiles.slot-unknown")
def test_an_unknown_slot_is_told_once_with_the_slots_there_are() -> None:
    assert fault("[[pieces]]\nname = 'a'\nlife = 'sticky'\nkey = 'k:{{who}}'\n[slots]\nname = ''") == (
        "key of piece 1 in FILE: {{who}} is no slot: "
        "allowed are {{name}}, {{profile}}, and {{{{ for two braces"
    )


@pytest.mark.spec("profiles.slots", "profiles.slot-unknown")
def test_the_phrases_of_a_list_have_slots_too() -> None:
    assert fault("[compaction]\nmust_survive = ['{{profile}}', '{{who}} is']") == (
        "compaction.must_survive in FILE: {{who}} is no slot: "
        "allowed are {{profile}}, and {{{{ for two braces"
    )
    long = "[slots]\na = '" + "x" * 201 + "'\n[compaction]\nmust_survive = ['{{a}}']"
    assert fault(long).startswith("compaction.must_survive in FILE is ['{{a}}']: it must be a list")


@pytest.mark.spec("profiles.keys")
def test_a_slot_cannot_smuggle_in_a_key_that_is_ours() -> None:
    toml = "[slots]\na = 'loom'\n[[pieces]]\nname = 'a'\nlife = 'sticky'\nkey = '{{a}}:x'"
    assert fault(toml).startswith("key of piece 1 in FILE is '{{a}}:x': it must be a key of the store")


def test_pieces_and_slots_are_bounded() -> None:
    piece = "[[pieces]]\nname = 'a{}'\nlife = 'sticky'\nkey = 'k'\n"
    many = "".join(piece.format(number) for number in range(MAX_PIECES + 1))
    assert fault(many) == "pieces in FILE are 65: at most 64 are allowed"
    assert len(form(many).pieces) == MAX_PIECES
    slots = "[slots]\n" + "".join(f"a{number} = ''\n" for number in range(MAX_SLOTS + 1))
    assert fault(slots) == "slots in FILE are 65: at most 64 are allowed"


@pytest.mark.spec("profiles.faults")
def test_all_faults_are_found_in_one_look() -> None:
    assert len(form("a = 1\nagents = 1\n[[pieces]]\n[memories]\nx = 1").faults) == 6


KEYS = st.text(max_size=5) | st.sampled_from(
    (
        *("pieces", "slots", "memories", "memorables", "compaction"),
        *("agents", "name", "life", "key", "file", "words", "most", "must_survive", "prompt"),
    )
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from("ab"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_no_tables_make_it_raise_and_each_fault_is_one_line(tables: dict[str, object]) -> None:
    assert all(line.isprintable() for line in read_form(tables, "FILE", "alpha").faults)
