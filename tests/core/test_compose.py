import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core import compose
from loom_core.block import CANARY
from loom_core.compose import NOTHING, ephemeral, identity, sticky, wanted
from loom_core.ledger import Decision, decode, encode
from loom_core.lookup import Answers, Memory, Provenance, Recalled
from loom_core.profile import Life, MemorableRules, MemoryRules, Piece, Profile
from loom_core.wrapper import BACKGROUND, EARLIER, NOTED, is_reminder, memory, tokens
from tests.support.conversations import hostile

SECRET = "sk-ant-api03-Abcdefgh1234567890_-xyz"
YEAR = 1_767_225_600 * 10**9
NONE = Answers()
SELF = Piece("self", Life.IDENTITY, heading="Who you are", text="You are Alpha.\n")
TODAY = Piece("today", Life.IDENTITY, heading="Today", key="past:today")
PLANS = Piece("plans", Life.IDENTITY, pattern="future:*")
HUD = Piece("hud", Life.STICKY, heading="Weather", key="hud:weather")
CLOCK = Piece("clock", Life.EPHEMERAL, key="clock")
PROFILE = Profile("alpha", "v1", (SELF, HUD, TODAY, CLOCK, PLANS))
ANSWERS = Answers(
    texts={"past:today": "We wove.", "clock": "12:00", "hud:weather": "Rain."},
    matched={"future:*": (("future:a", "One.\n"), ("future:b", " "), ("future:c", "Three."))},
)


def remembers(*memories: Memory) -> Recalled:
    return Recalled(memories)


def plain(
    name: str,
    text: str = "a thing was said",
    provenance: Provenance = Provenance.USER,
    score: float = 0.0,
) -> Memory:
    return Memory(name, text, YEAR, provenance, score)


def decide(
    recalled: Recalled = Recalled(),  # noqa: B008, frozen
    *memorables: str,
    before: tuple[Decision, ...] = (),
    profile: Profile = Profile("alpha", "v1"),  # noqa: B008, frozen
    answers: Answers = NONE,
) -> Decision:
    return sticky(profile, answers, memorables, recalled, before)


@pytest.mark.spec("weave.pieces")
def test_pieces_come_in_order_under_their_headings() -> None:
    assert identity(PROFILE, ANSWERS) == (
        "## Who you are\n\nYou are Alpha.\n\n## Today\n\nWe wove.\n\nOne.\n\nThree."
    )


@pytest.mark.parametrize("text", ["", " \n", "\u200b"])
@pytest.mark.spec("weave.pieces")
def test_a_piece_that_says_nothing_is_left_out_with_its_heading(text: str) -> None:
    assert identity(PROFILE, Answers(texts={"past:today": text})) == "## Who you are\n\nYou are Alpha."
    assert identity(Profile("a", "v", (TODAY, PLANS)), NONE) == ""
    assert ephemeral(PROFILE, Answers(texts={"clock": text})) == ""


@pytest.mark.spec("weave.pieces", "weave.reminder")
def test_ephemeral_pieces_stand_in_a_reminder() -> None:
    made = ephemeral(PROFILE, ANSWERS)
    assert is_reminder(made)
    assert made.endswith("\n\n12:00\n</system-reminder>")


@pytest.mark.spec("weave.wanted")
def test_what_is_read_is_named_by_life_and_once() -> None:
    assert wanted(PROFILE, Life.IDENTITY) == (("past:today",), ("future:*",))
    assert wanted(PROFILE, Life.STICKY) == (("hud:weather",), ())
    twice = Profile("a", "v", (CLOCK, CLOCK, Piece("x", Life.EPHEMERAL, pattern="a*")))
    assert wanted(twice, Life.EPHEMERAL) == (("clock",), ("a*",))


@pytest.mark.spec("weave.redacted")
def test_what_comes_from_outside_is_redacted() -> None:
    answers = Answers(
        texts={"past:today": SECRET, "clock": SECRET, "hud:weather": SECRET},
        matched={"future:*": (("future:a", SECRET),)},
    )
    decision = decide(remembers(plain("1", SECRET)), SECRET, profile=PROFILE, answers=answers)
    for made in (identity(PROFILE, answers), ephemeral(PROFILE, answers), decision.text):
        assert SECRET not in made
        assert "[redacted: anthropic key]" in made
    assert decision.text.count("[redacted") == 3


@pytest.mark.spec("weave.reminder", "weave.dates")
def test_a_decision_is_one_block_of_what_is_new() -> None:
    made = decide(
        remembers(plain("12", "First.\nSecond."), plain("7")),
        "likes tea",
        "lives\nby the sea",
        profile=PROFILE,
        answers=ANSWERS,
    )
    assert made.text == (
        f"<system-reminder>\n{BACKGROUND}\n\n## Weather\n\nRain.\n\n"
        f"{NOTED}\n\n- likes tea\n- lives by the sea\n\n"
        f"{EARLIER}\n\nMemory #12 (2026-01-01):\nFirst.\nSecond.\n\n"
        "Memory #7 (2026-01-01):\na thing was said\n</system-reminder>"
    )
    assert (made.ids, len(made.marks), made.why, made.gone) == (("12", "7"), 3, "", False)
    assert decode(encode(made)) == made


@pytest.mark.spec("weave.reminder")
def test_a_profile_has_words_of_its_own() -> None:
    profile = Profile(
        "a",
        "v",
        memorables=MemorableRules(words=" Noted: "),
        memories=MemoryRules(words="</system-reminder>"),
    )
    text = decide(remembers(plain("1")), "tea", profile=profile).text
    assert "\n\nNoted:\n\n- tea\n\n&lt;/system-reminder>\n\nMemory #1" in text
    long = Profile("a", "v", memories=MemoryRules(words="w" * 10_000))
    assert tokens(decide(remembers(plain("1")), profile=long).text) < compose.MOST_WORDS + 100


@pytest.mark.parametrize(
    ("recalled", "answers", "why"),
    [
        (Recalled(), NONE, NOTHING),
        (Recalled(trouble="timed out"), NONE, "timed out"),
        (Recalled(), Answers(trouble="the store is down\n" + "x" * 300), "the store is down\n" + "x" * 182),
    ],
)
@pytest.mark.spec("weave.empty")
def test_the_empty_decision_says_why(recalled: Recalled, answers: Answers, why: str) -> None:
    made = decide(recalled, answers=answers)
    assert made == Decision(why=why)
    assert decode(encode(made)) == made


@pytest.mark.spec("weave.empty")
def test_trouble_with_the_memory_leaves_the_rest() -> None:
    made = decide(Recalled(trouble="timed out"), "likes tea")
    assert "likes tea" in made.text
    assert made.why == "timed out"


@pytest.mark.spec("weave.empty")
def test_what_is_switched_off_is_not_woven() -> None:
    off = Profile("a", "v", memorables=MemorableRules(on=False), memories=MemoryRules(on=False))
    assert decide(remembers(plain("1")), "tea", profile=off) == Decision(why=NOTHING)


@pytest.mark.spec("weave.once")
def test_nothing_is_woven_twice() -> None:
    first = decide(remembers(plain("1"), plain("1", "again"), plain("2")), "tea", " tea\n", "sea")
    assert first.ids == ("1", "2")
    assert first.text.count("tea") == 1
    second = decide(remembers(plain("2"), plain("3")), "sea", "bee", before=(first,))
    assert second.ids == ("3",)
    assert "bee" in second.text
    assert "sea" not in second.text
    assert decide(remembers(plain("1"), plain("3")), "bee", before=(first, second)) == Decision(why=NOTHING)


@pytest.mark.spec("weave.changed")
def test_a_sticky_piece_comes_again_only_when_it_says_something_else() -> None:
    told: list[Decision] = []
    for weather in ("Rain.", "Rain.", "Sun.", "Sun.", "Rain.", "", "Rain."):
        answers = Answers(texts={"hud:weather": weather})
        told.append(decide(profile=PROFILE, answers=answers, before=tuple(told)))
    said = ["Rain." if "Rain." in it.text else "Sun." if "Sun." in it.text else "" for it in told]
    assert said == ["Rain.", "", "Sun.", "", "Rain.", "", ""]
    other = Piece("other", Life.STICKY, heading="Weather", text="Rain.")
    both = Profile("a", "v", (HUD, other))
    made = decide(profile=both, answers=ANSWERS, before=tuple(told))
    assert made.text.count("Rain.") == 1, "another piece that says the same is another"


@pytest.mark.spec("weave.provenance")
def test_only_memories_of_the_wanted_kind_are_woven() -> None:
    rules = MemoryRules(provenance=frozenset({Provenance.USER, Provenance.WEB}), min_score=0.5)
    kinds = [plain(kind.value, provenance=kind, score=0.5) for kind in Provenance]
    found = decide(remembers(*kinds, plain("far", score=0.4)), profile=Profile("a", "v", memories=rules))
    assert found.ids == ("user", "web")


@pytest.mark.spec("weave.provenance", "weave.garbage")
def test_a_memory_that_is_none_is_left_out() -> None:
    found = decide(remembers(plain("1", " \u200b"), plain("x" * 300), plain("2")), " ", "\0")
    assert (found.ids, found.marks) == (("2",), ())


@pytest.mark.spec("weave.budgets")
def test_a_long_first_memory_is_cut_and_a_later_one_left_out() -> None:
    found = decide(remembers(plain("1", "words " * 1000), plain("2")))
    assert found.ids == ("1",)
    assert found.text.endswith(" words…\n</system-reminder>")
    short = decide(remembers(plain("1"), plain("2", "words " * 1000), plain("3")))
    assert short.ids == ("1", "3"), "one that fits comes after one that does not"
    nothing_left = Profile("a", "v", memories=MemoryRules(budget=8))
    assert decide(remembers(plain("1", "words " * 9)), profile=nothing_left) == Decision(why=NOTHING)


@pytest.mark.spec("weave.budgets")
def test_a_heading_goes_with_a_piece_that_has_no_room() -> None:
    pieces = (SELF, Piece("long", Life.IDENTITY, heading="Long", text="word " * 500), SELF)
    for budget in range(60):
        made = identity(Profile("a", "v", pieces, identity_budget=budget), NONE)
        assert tokens(made) <= budget
        assert not made.rstrip("…").endswith(("## Long", "## Who you are"))
    bounded = Piece("b", Life.IDENTITY, text="word " * 500, budget=10)
    assert tokens(identity(Profile("a", "v", (bounded,)), NONE)) <= 10


@pytest.mark.spec("weave.budgets", "weave.safe")
def test_a_tag_over_two_pieces_is_made_safe_within_the_budget() -> None:
    pieces = (
        Piece("a", Life.IDENTITY, text="fou<"),
        Piece("b", Life.IDENTITY, text="system-reminder>" + "x" * 99),
    )
    for budget in range(8, 16):
        made = identity(Profile("a", "v", pieces, identity_budget=budget), NONE)
        assert tokens(made) <= budget
        assert made.startswith("fou&lt;\n\nsystem-reminder>x")


texts = st.one_of(hostile, st.text('ab \n"', max_size=300), st.just("words " * 700))
memories = st.builds(Memory, st.sampled_from("abcdef"), texts, st.just(YEAR), st.sampled_from(Provenance))
profiles = st.builds(
    Profile,
    st.just("alpha"),
    st.just("v1"),
    st.lists(
        st.builds(
            Piece, st.sampled_from("xy"), st.sampled_from(Life), hostile, texts, budget=st.integers(0, 30)
        ),
        max_size=4,
    ).map(tuple),
    identity_budget=st.integers(0, 80),
    memorables=st.builds(MemorableRules, budget=st.integers(0, 30), most=st.integers(0, 3)),
    memories=st.builds(
        MemoryRules, most=st.integers(0, 5), budget=st.integers(0, 120), session_budget=st.integers(0, 300)
    ),
)


@given(profiles, st.lists(st.tuples(st.lists(texts, max_size=4), st.lists(memories, max_size=5)), max_size=5))
@pytest.mark.spec("weave.budgets", "weave.once", "weave.canary", "weave.safe")
def test_budgets_hold_over_a_whole_conversation(
    profile: Profile, prompts: list[tuple[list[str], list[Memory]]]
) -> None:
    said = identity(profile, NONE)
    assert tokens(said) <= profile.identity_budget
    assert CANARY.decode() not in said + ephemeral(profile, NONE)
    before: list[Decision] = []
    for memorables, found in prompts:
        made = decide(Recalled(tuple(found)), *memorables, before=tuple(before), profile=profile)
        assert decode(encode(made)) == made
        assert len(made.ids) <= profile.memories.most
        lines = [line for line in made.text.split("\n") if line.startswith("- ") and NOTED in made.text]
        entries = made.text.partition(f"{EARLIER}\n\n")[2].removesuffix("\n</system-reminder>")
        assert tokens(entries) <= profile.memories.budget
        assert lines == [] or all(tokens(line) <= profile.memorables.budget + 1 for line in lines[-1:])
        before.append(made)
    ids = [name for made in before for name in made.ids]
    assert len(ids) == len(set(ids))
    assert sum(made.tokens for made in before) <= profile.memories.session_budget


@pytest.mark.spec("weave.budgets")
def test_a_decision_stays_below_what_the_store_takes_whatever_a_profile_allows() -> None:
    lavish = Profile(
        "a",
        "v",
        tuple(Piece(f"p{number}", Life.STICKY, text='"\n' * 20_000) for number in range(70)),
        identity_budget=10**6,
        memorables=MemorableRules(budget=10**6, most=10**6),
        memories=MemoryRules(budget=10**6, most=10**6, session_budget=10**9),
    )
    many = Recalled(tuple(plain(str(number), '"x\n' * 999) for number in range(900)))
    made = decide(many, *(f"{number} " + '"' * 99 for number in range(900)), profile=lavish)
    assert made.ids
    assert decode(encode(made)) == made
    pinned = Profile("a", "v", (Piece("p", Life.IDENTITY, text='"\n' * 10**5),), identity_budget=10**6)
    assert tokens(identity(pinned, NONE)) <= compose.MOST_TOKENS


def test_a_memory_costs_what_it_takes() -> None:
    made = decide(remembers(plain("1")))
    assert made.tokens == tokens(memory("1", YEAR, "a thing was said")) + 1
