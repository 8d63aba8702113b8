import json

import pytest

from loom_shell.replay.finding import MOST_KNOWN, Finder
from tests.support.planted import PRIVATE

KEY = "sk-ant-api03-AAAAbbbbCCCC"


def found(text: str, *known: str) -> list[tuple[str, str]]:
    """What is written where a secret is, and what it says."""
    finder = Finder()
    for secret in known:
        finder.learns(secret)
    return [(text[begin:end], said) for begin, end, said in finder.places(text)]


@pytest.mark.spec("journal.secrets")
@pytest.mark.parametrize(
    ("text", "written"),
    [
        (f'"it is {KEY}\\n"', KEY),
        ('"it is sk-ant-\\u0061pi03-AAAAbbbbCCCC\\n"', "sk-ant-\\u0061pi03-AAAAbbbbCCCC"),
        ('"sk-ant-api03-AAAA\\u0062\\u0062bbCCCC"', "sk-ant-api03-AAAA\\u0062\\u0062bbCCCC"),
        ('{\\"a\\":\\"\\\\u0073k-ant-api03-AAAAbbbbCCCC\\"}', "\\\\u0073k-ant-api03-AAAAbbbbCCCC"),
        ('"' + 8 * "\\" + 'u0073k-ant-api03-AAAAbbbbCCCC"', None),
    ],
)
def test_it_is_found_as_it_is_written_and_known_as_it_is_said(text: str, written: str | None) -> None:
    assert found(text) == ([(written, KEY)] if written else [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Bearer\\tAbcdef-1234567890.xyz", "Abcdef-1234567890.xyz"),
        ('{\\\\\\"x-api-key\\\\\\": \\\\\\"0123456789abcdef\\\\\\"}', "0123456789abcdef"),
        ("KEY=\\u043f\\u0430\\u0440\\u043e\\u043b\\u044c-1", "пароль-1"),
        ("postgres:\\/\\/me:hunter2\\u002d2@db", "hunter2-2"),
        ("postgres://me:\\u0444\\u0444@db", "фф"),
    ],
)
def test_what_stands_between_a_name_and_its_secret_may_be_escaped(text: str, said: str) -> None:
    assert [it[1] for it in found(text)] == [said]


def test_an_escape_is_replaced_whole_or_not_at_all() -> None:
    text = json.dumps(
        {"file": "API_KEY=\nOTHER_KEY=\n", "path": "C:\npm_Abcdefgh1234567890Abcdefgh1234567890"}
    )
    for written, _ in found(text):
        text = text.replace(written, "x" * len(written))
    assert json.loads(text).keys() == {"file", "path"}


def test_a_private_key_ends_where_it_says_so_in_escapes() -> None:
    written = PRIVATE.replace("\n", "\\n").replace("END", "EN\\u0044")
    assert found(f'"{written}","b":[1]') == [(written, PRIVATE)]
    assert found(f"so {written} it is") == [(written, PRIVATE)]
    halves = written.replace("BEGIN", "B\\u0045GIN").partition("\\n")
    assert found(f'"{halves[0]}","{halves[2]}"')[0][0] == halves[0]
    assert found(f"so {halves[0]} " + "tea " * 10_000)[0][0].endswith("tea ")


@pytest.mark.spec("journal.secrets")
@pytest.mark.parametrize(
    "secret", ["plain-words/of+no_form", 'wi"th\\ba/ck', "wörter & <mehr>", "\N{GRINNING FACE}" * 9]
)
@pytest.mark.parametrize("is_ascii", [True, False])
def test_a_known_secret_is_found_as_deep_as_json_goes(secret: str, is_ascii: bool) -> None:  # noqa: FBT001
    text = secret
    for depth in range(4):
        assert found(f"so {text}.", secret) == [(text, secret)]
        text = json.dumps(text, ensure_ascii=is_ascii)[1:-1].replace("&", "\\u0026")
        text = text if depth else text.replace("/", "\\/")


def test_so_many_are_known_and_those_learned_first_are_forgotten() -> None:
    finder = Finder()
    assert not finder.learns("short")
    assert [finder.learns("secret-0") for _ in range(2)] == [True, False]
    assert all(finder.learns(f"secret-{number}") for number in range(1, MOST_KNOWN + 1))
    assert finder.places("secret-0 and") == []
    assert len(finder.places("secret-1, secret-256")) == 2


def test_half_a_secret_at_the_end_is_noticed() -> None:
    finder = Finder()
    finder.learns("plain-words/of")
    assert finder.breaks_off("so plain-words/") == 3
    assert finder.breaks_off("so sk-ant-\\u0061") == 3
    assert finder.breaks_off('"x-api-key": "01234') == 14
    assert finder.breaks_off('so \\"x-api-key\\": \\"\\u00301234\\u00') == 20
    assert finder.breaks_off("so plain-words on") is None
    assert finder.breaks_off("so its api-key is this") is None


LINES = PRIVATE.split("\n")
SOURCES = {
    "go": " +\n".join(f'"{line}\\n"' for line in LINES),
    "python": "(\n" + "\n".join(f'    "{line}\\n"' for line in LINES) + "\n)",
    "a list": "[\n" + "\n".join(f'    "{line}\\n",' for line in LINES) + "\n]",
    "calls": "\n".join(f'file.write("{line}\\n")' for line in LINES),
    "pgp": PRIVATE.replace("\n", '\nVersion: X\nComment: Use "gpg", "gpg2"\n\n', 1),
    "json": json.dumps(LINES),
    "json, in lines": json.dumps({"key": [*LINES[:1], "Proc-Type: 4,ENCRYPTED", "", *LINES[1:]]}, indent=2),
    "json, without its end": json.dumps({"key": LINES[:2], "b": "tea"}),
}


@pytest.mark.spec("journal.secrets")
@pytest.mark.parametrize("form", SOURCES)
@pytest.mark.parametrize("first", ["B", "\\u0042"])
def test_no_quote_ends_a_private_key_but_that_of_its_string_of_json(form: str, first: str) -> None:
    text = SOURCES[form].replace("BEGIN", f"{first}EGIN")
    for before in ("", "tea " * 99):
        (written, _), *more = found(before + text)
        assert not more
        rest = (before + text).replace(written, "")
        assert not any(line[:8] in rest for line in LINES[1:-1])
        if form.startswith("json"):
            said = json.loads(text.replace(written, "x"))
            assert said in (["x"], {"key": ["x"]}, {"key": ["x"], "b": "tea"})


@pytest.mark.parametrize(
    "behind", ['","b":[1]}', '" , "abcdefghijklmnopqrst" : 1}', '"\n]\n', '":null}', '",-1.5e3]', '"', '",']
)
def test_a_string_of_json_ends_a_private_key(behind: str) -> None:
    for begin in (f"{LINES[0]} x", LINES[0].replace("BEGIN", "BEGI\\u004e") + "x"):
        ((written, _),) = found(f'{{"a":"so {begin}{behind}')
        assert written == begin


def test_nothing_ends_a_private_key_in_a_text_that_is_no_json() -> None:
    text = f'"{LINES[0]}","b":"{LINES[1]}"'
    assert [it[:2] for it in Finder().places(text, in_json=False)] == [(1, len(text))]
    assert [it[:2] for it in Finder().places(text)] == [(1, len(LINES[0]) + 1)]
