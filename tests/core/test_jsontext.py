import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core import jsontext

# A high surrogate before a low one would be a pair: only high ones, so that each stays alone.
texts = st.text(
    st.characters(codec="utf-8") | st.sampled_from('\ud800"\\/\b\f\n\r\t\0ü\N{GRINNING FACE}'), max_size=20
)


def all_escaped(text: str) -> str:
    units = text.encode("utf-16-be", "surrogatepass")
    return '"' + "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)) + '"'


WRITERS = {
    "as a browser does": lambda text: json.dumps(text, ensure_ascii=False),
    "in ASCII": json.dumps,
    "with the slash escaped": lambda text: json.dumps(text).replace("/", "\\/"),
    "all escaped": all_escaped,
    "all escaped, in capitals": lambda text: all_escaped(text).upper().replace("\\U", "\\u"),
}
WRITTEN = pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)


@WRITTEN
@given(text=texts)
@pytest.mark.spec("metadata.escapes", "metadata.surrogates")
def test_a_string_stands_for_its_text_however_it_is_written(writer: object, text: str) -> None:
    assert callable(writer)
    token = writer(text).encode("utf-8", "surrogatepass")
    read = jsontext.read(b'{"a":' + token + b"}", 5, 5 + len(token))
    assert read.text == text.encode("utf-8", "surrogatepass")


@WRITTEN
@given(text=texts)
@pytest.mark.spec("metadata.escapes", "metadata.surrogates")
def test_each_character_is_found_in_the_body(writer: object, text: str) -> None:
    assert callable(writer)
    token = writer(text).encode("utf-8", "surrogatepass")
    body = b"[" + token + b"]"
    read = jsontext.read(body, 1, 1 + len(token))
    ends = [len(text[:count].encode("utf-8", "surrogatepass")) for count in range(len(text) + 1)]
    places = read.places(ends)
    assert places[0] == 2
    assert places[-1] == len(token)
    # What stands before a place is the beginning of the string: with a quote behind, it is all of it.
    for count, place in enumerate(places):
        begun = b'"' + body[2:place] + b'"'
        assert json.loads(begun.decode("utf-8", "surrogatepass")) == text[:count]


@given(texts, st.lists(st.integers(0, 20)))
@pytest.mark.spec("metadata.escapes")
def test_some_places_are_found_as_all_are(text: str, counts: list[int]) -> None:
    token = json.dumps(text).replace("/", "\\/").encode()
    read = jsontext.read(token, 0, len(token))
    ends = [len(text[:count].encode("utf-8", "surrogatepass")) for count in sorted(counts)]
    assert read.places(ends) == [read.places([end])[0] for end in ends]


@pytest.mark.parametrize(
    ("token", "text"),
    [
        (b'""', b""),
        (b'"\\u0022\\u005C"', b'"\\'),
        (b'"\\ud83d\\ude00"', "\N{GRINNING FACE}".encode()),
        (b'"\\ud83d\\ud83d\\ude00"', b"\xed\xa0\xbd" + "\N{GRINNING FACE}".encode()),
        (b'"\\ude00\\ud83d"', b"\xed\xb8\x80\xed\xa0\xbd"),
        (b'"\\ud83d\\n"', b"\xed\xa0\xbd\n"),
        (b'"\\ud83dx"', b"\xed\xa0\xbdx"),
        (b'"\xff\\n"', b"\xff\n"),
    ],
)
@pytest.mark.spec("metadata.surrogates")
def test_halves_of_pairs_and_bytes_that_are_no_text_are_kept(token: bytes, text: bytes) -> None:
    read = jsontext.read(token, 0, len(token))
    assert read.text == text
    assert read.places([0, len(text)]) == [1, len(token) - 1]


@given(st.binary(), st.lists(st.integers(0, 40)))
@pytest.mark.spec("metadata.no-raise")
def test_any_bytes_can_be_read_as_a_string(inside: bytes, positions: list[int]) -> None:
    read = jsontext.read(b'"' + inside + b'"', 0, len(inside) + 2)
    places = read.places(sorted(positions))
    assert places == sorted(places)
    assert all(1 <= place <= len(inside) + 1 for place in places)
