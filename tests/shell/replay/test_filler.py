import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.wordings import CONTINUED
from loom_shell.replay.filler import Filler

FILL = Filler(b"k" * 32)


@pytest.mark.spec("replay.to-test")
def test_words_go_and_the_shape_stays() -> None:
    body = {
        "model": "claude-x",
        "max_tokens": 400,
        "stream": True,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Ann's tea: 3 cups\nof it"}]}],
        "tools": [{"name": "Read", "input_schema": {"type": "object", "required": ["file_path"]}}],
    }
    told = json.dumps(body).encode()
    filled = FILL.content(told)
    assert len(filled) == len(told)
    after = json.loads(filled)
    assert {**after, "messages": 0, "tools": 0} == {**body, "messages": 0, "tools": 0}
    words = after["messages"][0]["content"][0]["text"]
    assert re.fullmatch(r"[A-Z][a-z]{2}'[a-z] [a-z]{3}: [1-9] [a-z]{4}\n[a-z]{2} [a-z]{2}", words)
    assert "Ann" not in words
    assert after["tools"][0]["name"] == "Read"


def test_equal_words_stay_equal_and_others_do_not() -> None:
    filled = FILL.text("kettle kettle saucer")
    one, same, other = filled.split()
    assert one == same != other
    assert Filler().text("kettle") != Filler().text("kettle")


def test_what_the_core_looks_for_stays() -> None:
    for text in (CONTINUED, "<system-reminder>", "intro:memorables:", '"canary":', "event: message_start"):
        assert FILL.text(text) == text


def test_headers_keep_what_is_no_name_and_credentials_go() -> None:
    lines = (
        (b"content-type", b"application/json"),
        (b"x-claude-code-session-id", b"s1x"),
        (b"x-api-key", b"k1"),
    )
    clean = FILL.headers(lines)
    assert clean[0] == lines[0]
    assert clean[1][1] == FILL.content(b"s1x") != b"s1x"
    assert clean[2][1] != b"k1"


@given(st.text(max_size=60))
def test_a_text_keeps_its_length_in_bytes(text: str) -> None:
    assert len(FILL.text(text).encode("utf-8", "surrogatepass")) == len(text.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=60))
def test_so_does_whatever_is_no_text(content: bytes) -> None:
    assert len(FILL.content(content)) == len(content)
