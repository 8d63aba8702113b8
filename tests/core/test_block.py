import json
import re
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core import block
from loom_core.block import CANARY, Blocks, blocks

WORD = CANARY.decode()
LABEL = "UserPromptSubmit hook additional context: "


def said(prompt: str = "do it", **more: object) -> str:
    return json.dumps({"canary": WORD, "session_id": "s", "prompt": prompt, **more}, ensure_ascii=False)


def ours(prompt: str = "do it", **more: object) -> str:
    return f"{WORD} {said(prompt, **more)} {WORD}"


def found(text: str) -> Blocks:
    return blocks(text.encode("utf-8", "surrogatepass"))


def rest(text: str) -> str:
    """What is left of a text, having checked that cuts and rest say the same."""
    whole = text.encode("utf-8", "surrogatepass")
    read = blocks(whole)
    done, parts = 0, []
    for start, end in read.cuts:
        assert done <= start < end, "in order and apart"
        parts.append(whole[done:start])
        done = end
    assert b"".join([*parts, whole[done:]]) == read.rest
    return read.rest.decode("utf-8", "surrogatepass")


def reminder(text: str) -> str:
    return f"<system-reminder>\n{text}\n</system-reminder>"


PLAIN = LABEL + ours()
PIECES = {
    "plain, as in layout A": PLAIN,
    "in a reminder, as in layouts B and C": reminder(PLAIN),
    "in a reminder without lines": f"<system-reminder>{PLAIN}</system-reminder>",
    "in a reminder with more lines": f"<system-reminder>\n\n{PLAIN}\n\n</system-reminder>",
    "of client 1.0.128": f"<user-prompt-submit-hook>{ours()}</user-prompt-submit-hook>",
    "of client 1.0.128, with lines": f"<user-prompt-submit-hook>\n{ours()}\n</user-prompt-submit-hook>",
    "of another hook": PLAIN.replace("UserPromptSubmit", "SessionStart"),
    "of a hook with a matcher": PLAIN.replace("UserPromptSubmit", "SessionStart:startup"),
    "on a line of its own": LABEL.rstrip() + "\n" + ours(),
    "canary first": LABEL + f"{WORD} {said()}",
    "canary only in the object": LABEL + said(),
    "canary, words, object": LABEL + f"{WORD} metadata: {said()}",
    "canary, line, object over lines": LABEL + f"{WORD}\n{json.dumps(json.loads(said()), indent=2)}",
    "canary late in the object": LABEL + json.dumps({"a": {"b": "}{"}, "c": '\\"}', "canary": WORD}),
    "canary behind the object": LABEL + f"{said()} {WORD}",
    "object on the next line": LABEL + f"{WORD}\n{said()}\n{WORD}",
    "two blocks under one label": LABEL + ours("one") + "\n" + ours("two"),
    "two blocks on one line": LABEL + f"{ours('one')} {ours('two')}",
    "two old blocks on one line": LABEL + f"{WORD} {said()} {WORD} {said()} {WORD}",
    "words that look like the end": LABEL + ours(f'" }} {WORD} {{'),
    "words that look like a label": LABEL + ours(f"{LABEL}{WORD} {{"),
    "surrogates alone": LABEL + ours("\ud800") + "",
    "surrogates alone, escaped": LABEL + f'{WORD} {{"canary":"{WORD}","prompt":"\\ud83d"}} {WORD}',
}


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES)
@pytest.mark.spec(
    "metadata.forms", "metadata.old-form", "metadata.wrapping", "metadata.all", "metadata.joined"
)
def test_a_piece_goes_from_wherever_it_stands(piece: str) -> None:
    for before in ("", "Words before.", "<system-reminder>\nWords before.\n</system-reminder>"):
        for after in ("", "Words after.", "{ an object? }", reminder("Words after.")):
            text = "\n\n".join(part for part in (before, piece, after) if part)
            assert rest(text) == "\n\n".join(part for part in (before, after) if part)
            assert found(text).left == 0
            assert all(word is not None for word in found(text).said)


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES)
@pytest.mark.spec("metadata.all", "metadata.joined")
def test_several_pieces_go_from_one_text(piece: str) -> None:
    assert rest(f"{piece}\n\n{piece}") == ""
    assert rest(f"a\n\n{piece}\n\n{piece}\n\nb\n\n{piece}") == "a\n\nb"
    assert rest(f"{piece}\n\n{piece}\n\na") == "a"
    assert rest(f"{piece}\n\na\n\n{piece}\n") == "a\n"


@pytest.mark.spec("metadata.wrapping")
def test_words_of_other_hooks_in_the_same_piece_stay() -> None:
    assert rest(f"{LABEL}Be kind.\n{ours()}") == f"{LABEL}Be kind."
    assert rest(f"{LABEL}{ours()}\nBe kind.") == f"{LABEL}Be kind."
    assert rest(f"{LABEL}A.\n{ours()}\nB.") == f"{LABEL}A.\nB."
    assert rest(f"{LABEL}A. {ours()} B.") == f"{LABEL}A.  B."
    assert rest(reminder(f"{LABEL}A.\n{ours()}")) == reminder(f"{LABEL}A.")
    assert rest(reminder(f"A.\n\n{LABEL}{ours()}")) == reminder("A.")
    assert rest(reminder(f"{LABEL}{ours()}\n\nB.")) == reminder("B.")
    assert rest(f"{LABEL}A.\n{ours()}\n\nB.") == f"{LABEL}A.\n\nB."
    tag = "<user-prompt-submit-hook>"
    assert rest(f"{tag}{ours()}\nA.</user-prompt-submit-hook>") == f"{tag}A.</user-prompt-submit-hook>"
    assert rest(f"{tag}{{note}} {ours()}") == f"{tag}{{note}} "


@pytest.mark.spec("metadata.label")
def test_the_label_stands_within_a_hundred_characters_before_the_canary() -> None:
    label = LABEL.strip()
    for filling in ("x", "ü", "\N{GRINNING FACE}", "\ud800"):
        near = filling * (100 - len(label) - 1) + " "
        assert rest(label + near + ours()) == label + near
        assert found(label + near + filling + ours()) == Blocks(
            (), (), found(label + near).rest + f"{filling}{ours()}".encode("utf-8", "surrogatepass"), 0
        )
        assert rest("xü" * 300 + " " + label + near + ours()) == "xü" * 300 + " " + label + near


NOT_BLOCKS = {
    "no label": ours(),
    "typed words": f"What is {WORD}? And {{}}, {said()}?",
    "a label behind": f"{ours()} {LABEL}",
    "a label of another kind": f"hook additional context: {ours()}",
    "a label in a word": f"{'x' * 90}Submit hook additional context: {ours()}",
    "words only": f"{LABEL}{WORD}",
    "another canary": f"{LABEL}{ours().replace('VDSw', 'VDSx')}",
    "no object": f"{LABEL}{WORD} {WORD}",
    "another canary in the object": f'{LABEL}{WORD} {{"canary":"x"}}',
    "no canary in the object": f'{LABEL}{WORD} {{"a":1}}',
    "a canary that is no text": f'{LABEL}{WORD} {{"canary":["{WORD}"]}}',
    "an array": f'{LABEL}{WORD} ["{WORD}"]',
    "not JSON": f"{LABEL}{WORD} {{'canary': '{WORD}'}}",
    "cut short": f"{LABEL}{ours()[:90]}",
    "cut short, over lines": f"{LABEL}{ours()[:90]}\n\n {WORD}",
    "a label between": f"{LABEL}{WORD} is a word. {LABEL}{{no}}",
    "in escapes": f"{LABEL}{ours()}".replace("L", "\\u004c"),
}


@pytest.mark.parametrize("text", NOT_BLOCKS.values(), ids=NOT_BLOCKS)
@pytest.mark.spec("metadata.label", "metadata.equal", "metadata.typed", "metadata.broken")
def test_a_canary_that_marks_no_block_is_a_word(text: str) -> None:
    read = found(f"Before.\n\n{text}\n\nAfter.")
    assert (read.cuts, read.said) == ((), ())
    assert read.rest.decode() == f"Before.\n\n{text}\n\nAfter."


@pytest.mark.spec("metadata.noted")
def test_labels_behind_which_a_canary_had_to_stay_are_counted() -> None:
    assert found(NOT_BLOCKS["typed words"]).left == 0
    assert found(NOT_BLOCKS["cut short"]).left == 1
    assert found(f"{PLAIN}\n\n{NOT_BLOCKS['cut short']}\n\n{NOT_BLOCKS['words only']}").left == 2


BROKEN = {
    "no JSON": f"{WORD} {{nothing}} {WORD}",
    "a quote too many": ours().replace('"s"', '"s""'),
    "a brace too few": ours().replace("}", ""),
    "without its canary": f'{WORD} {{"session_id":"s"}} {WORD}',
    "with another canary": f'{WORD} {{"canary":"x"}} {WORD}',
    "over a line": f"{WORD} {{\n{WORD[:-1]} {WORD}",
}


@pytest.mark.parametrize("piece", BROKEN.values(), ids=BROKEN)
@pytest.mark.spec("metadata.broken")
def test_two_canaries_delimit_a_broken_block(piece: str) -> None:
    text = f"Before.\n\n{LABEL}{piece}\n\nAfter."
    assert rest(text) == "Before.\n\nAfter."
    assert found(text).said == (None,)
    assert rest(reminder(LABEL + piece)) == ""


@pytest.mark.spec("metadata.broken")
def test_a_broken_block_takes_nothing_else_with_it() -> None:
    half = f"{WORD} {{half"
    assert rest(f"{LABEL}{half}\n\n{PLAIN}\n\nAfter.") == f"{LABEL}{half}\n\nAfter."
    assert rest(f"{LABEL}{half} {PLAIN}") == f"{LABEL}{half} ".rstrip("\n")
    far = "x" * block.MAX_BROKEN
    assert found(f"{LABEL}{WORD} {{{far}}} {WORD}").cuts == ()


@pytest.mark.spec("metadata.typed")
def test_words_between_two_mentions_stay() -> None:
    typed = f"the label `{LABEL}` and the canary {WORD}: see {WORD} and {{braces}} in {said()}?"
    assert WORD in rest(typed)
    assert rest(typed).startswith(f"the label `{LABEL}` and the canary {WORD}: see ")


@pytest.mark.spec("metadata.all", "metadata.last")
def test_what_the_blocks_said_comes_in_order() -> None:
    text = f"{LABEL}{ours('1')}\n{ours('2')}\n\n{reminder(LABEL + ours('3'))}\n\n{LABEL}{BROKEN['no JSON']}"
    words = found(text).said
    assert [json.loads(word)["prompt"] for word in words if word] == ["1", "2", "3"]
    assert words[-1] is None


@pytest.mark.parametrize("depth", [1, 2, block.MAX_ROUNDS - 2])
@pytest.mark.spec("metadata.idempotent")
def test_what_becomes_a_block_by_cutting_goes_too(depth: int) -> None:
    text, inside = PLAIN, len(LABEL) + WORD.index("U")
    for _ in range(depth):
        text = text[:inside] + reminder(text) + text[inside:]
    assert rest(f"A.\n\n{text}\n\nB.") == "A.\n\nB."
    assert len(found(text).said) == 2**depth


@pytest.mark.spec("metadata.idempotent", "metadata.noted")
def test_blocks_nested_too_deep_stay_together() -> None:
    text = LABEL + "\n".join(ours(str(number)) for number in range(block.MAX_ROUNDS + 1))
    read = found(text)
    assert (read.cuts, read.rest.decode(), read.left) == ((), text, 1)


pieces = st.sampled_from(
    [
        *(LABEL, WORD, WORD[:9], WORD[9:], said(), ours(), PLAIN, f'"canary":"{WORD}"', reminder(PLAIN)),
        *("{", "}", '"', "\\", " ", "\n", "\n\n", "x", "ü", "<system-reminder>\n", "\n</system-reminder>"),
        *("<user-prompt-submit-hook>", "</user-prompt-submit-hook>", LABEL[:20], LABEL[20:], "\ud800"),
    ]
)
soups = st.lists(pieces, max_size=24).map("".join)


@given(soups)
@pytest.mark.spec("metadata.idempotent", "metadata.no-raise")
def test_cutting_what_was_cut_cuts_nothing(text: str) -> None:
    once = rest(text)
    assert rest(once) == once


@given(soups, soups)
@pytest.mark.spec("metadata.all")
def test_a_block_of_ours_always_goes(before: str, after: str) -> None:
    mine = f"\n\n{LABEL}{ours('mine')}\n\n"
    read = found(before + mine + after)
    assert any(word and json.loads(word).get("prompt") == "mine" for word in read.said)


@given(st.binary())
@pytest.mark.spec("metadata.no-raise")
def test_any_bytes_can_be_looked_through(text: bytes) -> None:
    assert blocks(text) == Blocks((), (), text, 0)
    around = LABEL.encode() + CANARY + b" {" + text + b"} " + CANARY
    assert blocks(blocks(around).rest).cuts == ()


@given(soups)
@pytest.mark.spec("metadata.pure")
def test_what_stays_stood_there_in_this_order(text: str) -> None:
    left = iter(text)
    assert all(character in left for character in rest(text))


COSTLY: dict[str, Callable[[int], str]] = {
    "blocks": lambda size: "\n\n".join([PLAIN] * (size // 200)),
    "two under each label": lambda size: "\n\n".join([f"{PLAIN}\n{ours()}"] * (size // 400)),
    "canaries": lambda size: WORD * (size // 28),
    "labels and canaries": lambda size: (LABEL + WORD + " ") * (size // 71),
    "open braces": lambda size: (LABEL + WORD + " {") * (size // 72),
    "open objects": lambda size: f'{LABEL}{WORD} {{"a":"{LABEL}","b":' * (size // 122),
    "braces before": lambda size: (LABEL + "{" * 20 + WORD) * (size // 90),
    "one end for all": lambda size: (LABEL + WORD + ' {"a":') * (size // 77) + f"1}} {WORD}",
    "strings": lambda size: (LABEL + WORD + ' {"') * (size // 73),
    "letters": lambda size: LABEL + WORD + " {" + "x" * size + WORD,
    "white space": lambda size: (PLAIN + " " * 5000 + "\n" * 5000) * (size // 10_200),
    "one after another": lambda size: LABEL + "\n".join([ours()] * (size // 160)),
}


@pytest.mark.parametrize("make", COSTLY.values(), ids=COSTLY)
@pytest.mark.spec("metadata.linear")
def test_the_time_grows_as_the_text_does(make: Callable[[int], str]) -> None:
    def seconds(text: bytes) -> float:
        times = []
        for _ in range(3):
            begun = time.process_time()
            blocks(text)
            times.append(time.process_time() - begun)
        return min(times)

    small, large = make(25_000).encode(), make(200_000).encode()
    # Eight times the text: squared growth would be 64 times the time.
    assert seconds(large) < 24 * max(seconds(small), 0.001)


def test_the_canary_is_that_of_the_contract() -> None:
    assert re.fullmatch(r"LOOM_METADATA_\w{14}", WORD)
