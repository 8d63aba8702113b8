from collections.abc import Callable

import pytest

from loom_shell.scribe.database import Database
from loom_shell.scribe.statements import LAST, Wanted, sessions
from loom_shell.scribe.words import phrases
from tests.support.scribed import BEGAN, told

SECOND = 1_000_000_000
Find = Callable[..., list[str]]

TEXTS = (
    "The parser was deployed on Friday.",
    "Deploying parsers is fun, said Zoë.",
    "A parser. E-mail me@example.com about foo/bar.py",
    "Nothing of it: the quick brown fox",
    "die Größe der Straße, 日本 語, 1e5 v2.0",
)


@pytest.fixture
def find(database: Database) -> Find:
    database.store([told(i, text) for i, text in enumerate(TEXTS)])

    def found(question: str, **how: str | int) -> list[str]:
        return [one.line_id for one in database.find(Wanted(phrases(question), **how))]  # type: ignore[arg-type]

    return found


FOUND = {
    "parser": ["u2", "u1", "u0"],
    "PARSER deploy": ["u1", "u0"],
    "the": ["u3", "u0"],
    '"quick brown"': ["u3"],
    '"brown quick"': [],
    "zoe": ["u1"],
    "Zoë": ["u1"],
    "e-mail": ["u2"],
    "example.com": ["u2"],
    "bar.py": ["u2"],
    "grosse": [],
    "große straße": ["u4"],
    "日本": ["u4"],
    "1e5 v2": ["u4"],
    "absent parser": [],
}
SYNTAX = (
    *("parser OR fox", "NEAR(parser fox)", "parser*", "text: parser", "^parser", "parser' OR 1=1 --"),
    *("a & !b", "par:*", "parser AND", "{text}: parser", "-parser", "\\", "%", ":asked"),
)


@pytest.mark.spec("scribe.words")
def test_all_words_are_found_newest_first(find: Find) -> None:
    assert {question: find(question) for question in FOUND} == FOUND


@pytest.mark.spec("scribe.syntax")
def test_syntax_is_words(find: Find) -> None:
    for question in SYNTAX:
        if phrases(question):
            assert find(question) == (["u2", "u1", "u0"] if question.strip("*^-") == "parser" else [])
            assert find(f'"{question}') in ([], ["u2", "u1", "u0"])


@pytest.mark.spec("scribe.filters")
def test_a_search_is_limited_when_asked(database: Database, find: Find) -> None:
    database.store([
        told(10, "parser", session="s2", role="assistant"),
        told(11, "parser", session="S2"),
    ])  # fmt: skip
    assert find("parser", session="s2") == ["u10"]
    assert find("parser", session="s") == ["u10", "u2", "u1", "u0"]
    assert find("parser", session="s%") == []
    assert find("parser", role="assistant") == ["u10"]
    assert find("parser", since=(BEGAN + 2) * SECOND) == ["u11", "u10", "u2"]
    assert find("parser", most=2) == ["u11", "u10"]


@pytest.mark.spec("scribe.beginning")
def test_sessions_are_named_by_their_beginning_those_first_that_spoke_last(database: Database) -> None:
    names = ["abc", "abd", "ab_", "AB", "é", "b"]
    database.store([told(i, session=name) for i, name in enumerate(names)])
    assert database.sessions("ab", 9) == ["ab_", "abd", "abc"]
    assert database.sessions("ab_", 9) == ["ab_"]
    assert database.sessions("é", 9) == ["é"]
    assert database.sessions("", 2) == ["b", "é"]
    assert database.sessions(f"ab{LAST}", 9) == []
    assert "LIKE" not in str(sessions("a", 1))


@pytest.mark.spec("scribe.usage")
@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (2, 3, 1)])
def test_what_a_message_used_counts_once(database: Database, order: tuple[int, ...]) -> None:
    for number in order:
        usage = {"input_tokens": 10, "output_tokens": number, "cache_read_input_tokens": 7}
        database.store([told(number, id="msg_1", usage=usage)])
        database.store([told(number, id="msg_1", usage=usage)])
    database.store([
        told(4, id="msg_2", usage={"input_tokens": 1, "output_tokens": 1}),
        told(5, id="msg_2", usage={"input_tokens": 1, "output_tokens": 1}),
        told(6, usage={"input_tokens": 100}),
        told(7, session="s2", id="msg_1", usage={"input_tokens": 100}),
    ])  # fmt: skip
    used = database.used("s1")
    assert (used.input_tokens, used.output_tokens) == (11, 4)
    assert (used.cache_read_input_tokens, used.cache_creation_input_tokens) == (7, 0)


@pytest.mark.spec("scribe.order")
def test_a_session_is_read_in_the_order_of_time_and_then_of_place(database: Database) -> None:
    late, early = told(9, "late"), told(1, "early")
    same = [told(5, f"same {i}", line_id=f"x{i}") for i in range(3)]
    moved = [
        (row.__class__(**{**row.values, "place": place}), used)
        for (row, used), place in zip(same, (30, 10, 20), strict=True)
    ]
    database.store([late, *moved, early])
    assert [one.text for one in database.lines("s1")] == ["early", "same 1", "same 2", "same 0", "late"]
