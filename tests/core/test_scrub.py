import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.block import CANARY
from loom_core.reading import Json
from loom_core.scrub import MARK, MAX_DEPTH, is_json, scrubbed

C = CANARY.decode()
M = MARK.decode()
OBJECT = json.dumps({"session_id": "s-1", "prompt": 'Say "hi" {', "canary": C, "cwd": "/a\nb"})
BLOCK = f"{C} {OBJECT} {C}"
LABEL = "UserPromptSubmit hook additional context: "
REMINDER = f"<system-reminder>\n{LABEL}{BLOCK}\n</system-reminder>"


def line(text: Json, **fields: Json) -> bytes:
    return json.dumps({"type": "user", "message": {"role": "user", "content": text}, **fields}).encode()


def api(text: Json) -> dict[str, Json]:
    return {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]}


WHERE: dict[str, Callable[[str], bytes]] = {
    "a message": line,
    "a block of one": lambda text: line([{"type": "text", "text": text}]),
    "a result of a tool": lambda text: line([{"type": "tool_result", "content": [{"text": text}]}]),
    "an attachment": lambda text: line(
        "Hi.", attachment={"type": "hook_additional_context", "content": [text]}
    ),
    "a request": lambda text: line("", request={"body": api(text)}),
    "a request as text": lambda text: line("", request={"body": json.dumps(api(text))}),
    "a request as text in text": lambda text: line(
        "", log=json.dumps({"body": json.dumps(api(text), indent=1)})
    ),
    "what a hook printed": lambda text: line(
        "", stdout=json.dumps({"hookSpecificOutput": {"additionalContext": text}}) + "\n"
    ),
    "a list as text": lambda text: line("", lines=f" {json.dumps([text, 'more'])}"),
    "a key": lambda text: line("", **{text: 1}),
}
EACH_PLACE = pytest.mark.parametrize("place", WHERE.values(), ids=WHERE)

# What stands in a text, and what of it is left.
CASES: dict[str, tuple[str, str]] = {
    "labelled": (LABEL + BLOCK, ""),
    "in a reminder": (f"{REMINDER}\n\nHi.", "Hi."),
    "behind words": (f"Hi.\n\n{LABEL}{BLOCK}", "Hi."),
    "without a label": (BLOCK, ""),
    "without a label, with words": (f"Ann: {BLOCK} Bob", "Ann:  Bob"),
    "two": (f"{LABEL}{BLOCK}\n\nso\n\n{LABEL}{BLOCK}", "so"),
    "two without labels": (f"a{BLOCK}b{BLOCK}c", "abc"),
    "both kinds": (f"a {BLOCK}\n\n{LABEL}{BLOCK}\n\nb", "a \n\nb"),
    "the old form": (f'{LABEL}{{"canary":"{C}","prompt":"p"}}', ""),
    "the old form, far from its label": (f"{LABEL}{OBJECT}", LABEL),
    "the old form among words": (f"see {OBJECT}: so", "see : so"),
    "the old form with a canary behind": (f"see {OBJECT} {C}!", "see !"),
    "braces around": ("{x{ " + OBJECT + " }", "{x{  }"),
    "no object inside": (f"a {C} {{not JSON}} {C} b", "a  b"),
    "over lines": (f"a {C}\n{OBJECT}\n{C} b", "a  b"),
    "a word": (f'CANARY = b"{C}"  # a word', f'CANARY = b"{M}"  # a word'),
    "words": (f"{C} and {C}", f"{M} and {M}"),
    "no end": (f"Words. {C} {OBJECT[:40]}", M),
    "no end, another block": (f"a {C} {OBJECT[:40]} b {BLOCK}", M),
    "no beginning": (f"{OBJECT[40:]} {C}", M),
    "part of an object": (f"{OBJECT[9:]} so", M),
    "other letters": ("Grüße 😀 " + BLOCK + " ü", "Grüße 😀  ü"),
    "joined by a cut": (f"{C[:9]}{BLOCK}{C[9:]}", M),
    "the string alone": (C, M),
}
EACH_CASE = pytest.mark.parametrize(("text", "left"), CASES.values(), ids=CASES)


@EACH_CASE
@EACH_PLACE
@pytest.mark.spec("transcripts.metadata", "transcripts.canary", "transcripts.lossless")
def test_a_block_goes_wherever_it_stands_and_all_else_stays(
    place: Callable[[str], bytes], text: str, left: str
) -> None:
    assert json.loads(scrubbed(place(text), as_json=True)) == json.loads(place(left))


@EACH_CASE
@pytest.mark.spec("transcripts.metadata", "transcripts.canary")
def test_in_a_line_that_is_no_json_it_goes_too(text: str, left: str) -> None:
    assert scrubbed(f'{{"cut short": {text}'.encode(), as_json=False).decode() in {
        f'{{"cut short": {left}',
        M,
    }


@pytest.mark.parametrize(
    "raw", [b"{}", b"", b'{"a":"\\u00e9 LOOM_METADATA"}', b'{"a":"\\u0041"}', b"no JSON"]
)
@pytest.mark.spec("transcripts.lossless")
def test_a_line_without_a_canary_is_the_same_object(raw: bytes) -> None:
    assert scrubbed(raw, as_json=raw[:1] == b"{") is raw


@pytest.mark.spec("transcripts.lossless")
def test_bytes_around_stay_as_they_were_written() -> None:
    before = b'{ "a" :1.50, "\\u00e9\\/":[ "\\ud83d\\ude00\\ud800" ,"x\\ty'
    after = b' \\u00FC"],"b":1e400,"b":2 }\r'
    escaped = json.dumps(BLOCK).encode()[1:-1]
    assert scrubbed(before + escaped + after, as_json=True) == before + after


@pytest.mark.spec("transcripts.metadata")
def test_an_object_that_is_a_block_and_no_text_becomes_a_mark() -> None:
    raw = b'{"a":1,"hook":{"x":"%b","canary":"%b","prompt":"p"},"b":["%b"]}' % ((CANARY,) * 3)
    assert json.loads(scrubbed(raw, as_json=True)) == {"a": 1, "hook": M, "b": [M]}
    nested = json.dumps({"log": raw.decode()}).encode()
    told = json.loads(json.loads(scrubbed(nested, as_json=True))["log"])
    assert told == {"a": 1, "hook": M, "b": [M]}


@pytest.mark.spec("transcripts.canary")
def test_letters_written_as_escapes_hide_nothing() -> None:
    hidden = "".join(f"\\u{ord(letter):04X}" for letter in C)
    half = C[:5] + hidden[30:]
    deep = json.dumps({"body": f'{{"a":"{hidden} x","b":1}}'}).encode()
    raw = f'{{"{hidden}":"{half}","c":"{C}","d":"stays"}}'.encode()
    assert scrubbed(raw, as_json=True) == f'{{"{M}":"{M}","c":"{M}","d":"stays"}}'.encode()
    assert json.loads(scrubbed(deep, as_json=True)) == {"body": M}
    assert scrubbed(raw[:-1], as_json=False) == MARK


@pytest.mark.spec("transcripts.canary")
def test_what_is_nested_too_deep_becomes_a_mark() -> None:
    text: Json = BLOCK
    for _ in range(MAX_DEPTH + 2):
        text = json.dumps([text, "x"])
    clean = json.loads(scrubbed(line(text), as_json=True))["message"]["content"]
    for _ in range(MAX_DEPTH):
        clean, beside = json.loads(clean)
        assert beside == "x"
    assert clean == M


@pytest.mark.spec("transcripts.canary", "transcripts.lossless")
def test_half_a_pair_of_surrogates_keeps_nothing_from_being_cut() -> None:
    raw = json.dumps({"a": f"\ud83d {BLOCK} \udc00", "b": json.dumps(["\ud800", BLOCK])}).encode()
    clean = json.loads(scrubbed(raw, as_json=True))
    assert clean == {"a": "\ud83d  \udc00", "b": json.dumps(["\ud800", ""])}


@pytest.mark.parametrize(
    ("text", "is_it"),
    [
        (b"3", True),
        (b' {"a":1e999} ', True),
        (rb'{"a":"\ud83d","a":2}', True),
        (rb'["\\ud83d"]', True),
        (rb'["\\ud83d"', False),
        (rb'["\ud83d"', False),
        (b"", False),
        (b"[" * 100_000, False),
    ],
)
@pytest.mark.spec("transcripts.problem", "transcripts.total")
def test_json_is_told_from_what_is_none(text: bytes, *, is_it: bool) -> None:
    assert is_json(text) is is_it


pieces = st.sampled_from(
    [
        *(text for text, _ in CASES.values()),
        OBJECT,
        C,
        C[:9],
        C[9:],
        "{",
        "}",
        '"',
        "\\",
        "\n\n",
        " ",
        "ü",
        LABEL,
    ]
)
texts = st.lists(pieces | st.text(max_size=5), max_size=5).map("".join)
values = st.recursive(
    texts | st.integers() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(texts | st.just("canary"), inner, max_size=3)
        | inner.map(json.dumps)
        | inner.map(lambda value: json.dumps(value, ensure_ascii=False))
    ),
    max_leaves=8,
)


def strings(value: Json) -> list[str]:
    """The strings of a value, in order: each, and, where it is JSON, those in it."""
    match value:
        case str():
            try:
                inner = json.loads(value)
            except (ValueError, RecursionError):
                return [value]
            return [value, *strings(inner)]
        case list():
            return [text for one in value for text in strings(one)]
        case dict():
            return [text for key, one in value.items() for text in (*strings(key), *strings(one))]
        case _:
            return []


def held(before: Json, after: Json) -> bool:
    """Whether what has no canary in it is the same as before; where an object was a block there is a mark."""
    if after == M:
        return True
    match before:
        case dict() if C in json.dumps(list(before)):
            return isinstance(after, dict)
        case dict():
            return before.keys() == after.keys() and all(held(one, after[key]) for key, one in before.items())
        case list():
            return len(before) == len(after) and all(map(held, before, after))
        case str():
            return C in before or before == after
        case _:
            return bool(before == after)


@given(values, st.booleans())
@pytest.mark.spec("transcripts.canary", "transcripts.lossless")
def test_no_canary_is_left_json_stays_json_and_other_values_stay(value: Json, is_ascii: bool) -> None:  # noqa: FBT001
    raw = json.dumps(value, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    clean = scrubbed(raw, as_json=True)
    assert CANARY not in clean
    assert not any(C in text for text in strings(json.loads(clean)))
    assert held(json.loads(raw), json.loads(clean))
    assert scrubbed(clean, as_json=True) is clean


@given(texts, st.integers(0, 200))
@pytest.mark.spec("transcripts.canary")
def test_no_canary_is_left_of_what_is_no_json(text: str, cut: int) -> None:
    assert CANARY not in scrubbed(json.dumps({"a": text}).encode()[:-cut], as_json=False)


HOSTILE: dict[str, bytes] = {
    "openings": CANARY + b" {" * 100_000,
    "many openings": (CANARY + b" {") * 6_000,
    "blocks": BLOCK.encode() * 1_500,
    "labels": (LABEL.encode() + CANARY) * 4_000,
    "repeated": b'"canary":"' + b'{{{{"canary":"'.join([CANARY] * 6_000),
    "braces": b"{" * 150_000 + b'"canary":"' + CANARY + b'"',
    "objects": b'{"canary":"' + b'"}{"canary":"'.join([CANARY] * 6_000) + b'"}',
    "quotes": b'"' * 50_000 + CANARY,
    "backslashes": b"\\" * 250_000 + CANARY,
    "backslashes, and a letter": b"\\u0041" + b"\\" * 100_000 + b" " + CANARY,
    "words": CANARY * 8_000,
    "letters": b"\\u004c" * 50_000 + CANARY,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.spec("transcripts.linear")
def test_no_line_takes_long(text: bytes, depth: int) -> None:
    value: Json = text.decode()
    for _ in range(depth):
        value = json.dumps([value])
    raw = json.dumps({"a": value}).encode()
    began = time.process_time()
    assert CANARY not in scrubbed(raw, as_json=True)
    assert time.process_time() - began < 1.5
