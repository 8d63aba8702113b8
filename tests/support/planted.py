"""Secrets planted where the journal may not miss them: in escapes of JSON, in JSON within JSON, in pieces."""

import json
from itertools import pairwise
from random import Random

from hypothesis import strategies as st

KEY_LINES = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nQJBAKj34GkxFhD90vcNLYLInFEX\n"
PRIVATE = f"-----BEGIN RSA PRIVATE KEY-----\n{KEY_LINES}-----END RSA PRIVATE KEY-----"
SECRETS = {
    "sk-ant-api03-Abcdefgh1234567890_-xyz": "{}",
    "ghp_Abcdefgh1234567890Abcdefgh": "{}",
    "AKIAIOSFODNN7EXAMPLE": "{}",
    "npm_Abcdefgh1234567890Abcdefgh1234567890": "{}",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlMTIz": "{}",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": '"aws_secret_access_key": "{}"',
    "0123456789abcdef-Ghij": '"x-api-key": "{}"',
    "dXNlcjpwYXNz/d29yZA==": "authorization:\tBasic\n{}",
    "Abcdef-1234567890.xyz": "Bearer\t{}",
    "пароль-0123456789": "export DB_PASSWORD={}",
    "hunter2-hunter2": "postgres://user:{}@db/x",
    PRIVATE: "{}",
}
AROUND = ["", " ", "\n", "\t", '"', "\\", "é", "\N{GRINNING FACE}", "x/y ", "{", ",\r\n", "\ud800", "\x7f"]
_SHORT = {'"': '"', "\\": "\\", "/": "/", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}


@st.composite
def written(draw: st.DrawFn, text: str) -> str:
    """What stands between the quotes of a JSON string that says the text."""
    chance = Random(draw(st.integers(0, 9_999)))
    often = draw(st.sampled_from([0.0, 0.1, 1.0]))
    return "".join(_letter(it, chance.random() < often, chance.choice(["04x", "04X"])) for it in text)


def _letter(letter: str, is_escaped: bool, form: str) -> str:  # noqa: FBT001
    if is_escaped or "\ud800" <= letter <= "\udfff":
        units = letter.encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{int.from_bytes(units[at : at + 2]):{form}}" for at in range(0, len(units), 2))
    if letter in '"\\' or letter < " ":
        return f"\\{_SHORT[letter]}" if letter in _SHORT else f"\\u{ord(letter):04x}"
    return letter


@st.composite
def said(draw: st.DrawFn) -> tuple[str, str]:
    """A secret, and a text that says it."""
    secret = draw(st.sampled_from(sorted(SECRETS)))
    before, after = draw(st.sampled_from(AROUND)), draw(st.sampled_from([*AROUND[1:6], ""]))
    return secret, (f"so{before}" if before else "") + SECRETS[secret].replace("{}", secret) + after


@st.composite
def nested(draw: st.DrawFn, text: str, depth: int) -> str:
    """JSON, in which the text is so deep."""
    for _ in range(depth):
        text = f'{{"a":[1,"{draw(written(text))}"],"b":"\\n"}}'
    return text


def read(text: str, depth: int) -> str:
    """What `nested` put there; `ValueError` where it is no JSON any more."""
    for _ in range(depth):
        text = json.loads(text)["a"][1]
    return text


@st.composite
def pieces(draw: st.DrawFn, whole: bytes) -> list[bytes]:
    """The same in chunks, also empty ones."""
    places = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    return [whole[begin:end] for begin, end in pairwise((0, *places, len(whole)))]


@st.composite
def streamed(draw: st.DrawFn, text: str, kind: str = "partial_json") -> bytes:
    """What a model says, in deltas of some characters each, with those of another block between them."""
    step = draw(st.integers(1, 40))
    parts = [text[at : at + step] for at in range(0, len(text), step)]
    return b"".join(_frame(1, kind, draw(written(part))) + _frame(0, "text", "tea ") for part in parts)


def _frame(index: int, kind: str, words: str) -> bytes:
    of = {"partial_json": "input_json_delta"}.get(kind, "text_delta")
    told = f'{{"type":"content_block_delta","index":{index},"delta":{{"type":"{of}","{kind}":"{words}"}}}}'
    return f"event: content_block_delta\ndata: {told}\n\n".encode()


def heard(stream: bytes, index: int = 1) -> str:
    """What was said in a block of a stream."""
    frames = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith(b"data: ")]
    return "".join(
        next(value for name, value in it["delta"].items() if name != "type")
        for it in frames
        if it["index"] == index
    )


def shows(secret: str, text: str) -> bool:
    """Whether more than the beginning of a secret is to be seen."""
    kept = KEY_LINES if secret == PRIVATE else secret[min(8, len(secret) - 8) :]
    return any(kept[at : at + 8] in text for at in range(len(kept) - 7))
