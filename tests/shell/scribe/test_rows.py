import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.publication import PublishedLine
from loom_core.transcript_line import TOO_LONG
from loom_shell.scribe import rows
from loom_shell.stream import Entry
from tests.support.scribed import BEGAN, entry, told

KEY = "sk-ant-abcdef123456"


@pytest.mark.spec("scribe.every", "scribe.at")
def test_a_line_becomes_a_row() -> None:
    row, used = told(7, "Hello.", role="assistant", id="msg_1", usage={"input_tokens": 3, "output_tokens": 5})
    assert (row.session, row.line_id, row.role, row.type, row.problem) == (
        "s1",
        "u7",
        "assistant",
        "assistant",
        "",
    )
    assert (row.message_id, row.text, row.place) == ("msg_1", "Hello.", 7_000)
    assert row.at == (BEGAN + 7) * 1_000_000_000 + 250_000_000
    assert (
        row.raw
        == entry(
            7, "Hello.", role="assistant", id="msg_1", usage=json.loads(row.raw)["message"]["usage"]
        ).published.raw.decode()
    )
    assert used is not None
    assert (used.input_tokens, used.output_tokens) == (3, 5)


@pytest.mark.spec("scribe.at")
@pytest.mark.parametrize(
    "at", [None, 5, "soon", "2026-99-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "2026-01-01"]
)
def test_a_line_without_a_time_has_that_of_its_publication(at: object) -> None:
    raw = json.dumps({"type": "mode", "timestamp": at}).encode()
    row, _ = told(9, raw=raw)
    assert row.at == (BEGAN + 9) * 1_000_000_000
    strange, _ = rows.row(Entry("*-1", entry(9, raw=raw).published))
    assert strange.at == 0


@pytest.mark.spec("scribe.every")
@pytest.mark.parametrize(
    ("raw", "problem"),
    [(b"", TOO_LONG), (b"{", "not JSON"), (b"\0\xff", "not UTF-8"), (b"[" * 100_000, "not JSON"), (b"7", "")],
)
def test_a_line_that_cannot_be_read_is_a_row_all_the_same(raw: bytes, problem: str) -> None:
    row, used = told(1, raw=raw)
    assert (row.problem, used, row.line_id, row.text) == (problem, None, "u1", "")
    assert "\0" not in row.raw


@pytest.mark.spec("scribe.once")
def test_a_line_without_an_id_is_known_by_its_place() -> None:
    one, same = told(1, line_id="")[0], told(1, "other", line_id="")[0]
    other, elsewhere = told(2, line_id="")[0], told(1, line_id="", file="/other.jsonl")[0]
    assert one.line_id == same.line_id != ""
    assert len({one.line_id, other.line_id, elsewhere.line_id}) == 3


@pytest.mark.spec("scribe.redacted")
def test_secrets_are_taken_out_of_text_raw_line_and_names() -> None:
    row, used = told(
        1,
        f"the key {KEY}",
        session=f"s-{KEY}",
        line_id=f"u-{KEY}",
        file=f"/{KEY}.jsonl",
        id="m",
        usage={"input_tokens": 1},
        model=KEY,
    )
    assert KEY not in repr(row)
    assert KEY not in repr(used)
    assert row.text == "the key [redacted: anthropic key]"
    assert json.loads(row.raw)["message"]["content"][0]["text"] == row.text


@pytest.mark.spec("scribe.redacted")
@pytest.mark.parametrize(
    "raw",
    [
        '{"a":"\\u0073k-ant-abcdef123456","b":[1,{"c":"x"}]}',
        '{"\\u0073k-ant-abcdef123456":1}',
        '{"a":"-----BEGIN RSA PRIVATE KEY-----\\nMIIabc","b":"after"}',
        '{"a":"\\ud800 \\u0073k-ant-abcdef123456"}',
    ],
)
def test_what_escapes_hide_is_found_and_json_stays_json(raw: str) -> None:
    clean = rows.without_secrets(raw)
    assert "[redacted: " in clean
    again = json.dumps(json.loads(clean))
    assert KEY not in again
    assert "MIIabc" not in again
    assert "after" in again or "after" not in raw


@pytest.mark.spec("scribe.redacted")
@given(
    st.recursive(
        st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda of: st.lists(of) | st.dictionaries(st.text(), of),
        max_leaves=8,
    ),
    st.integers(0, 4),
)
def test_a_raw_line_without_a_secret_stays_as_it_is(value: object, indent: int) -> None:
    raw = json.dumps(value, indent=indent or None)
    assert rows.without_secrets(raw) == raw


@pytest.mark.spec("scribe.names")
def test_a_long_name_keeps_its_beginning_and_stays_apart_from_others() -> None:
    one, other = (told(1, session="s" * 5_000 + end)[0].session for end in "ab")
    assert one != other
    assert one.startswith("sss")
    assert len(one) <= rows.MOST_NAME
    assert told(1, session="s" * rows.MOST_NAME)[0].session == "s" * rows.MOST_NAME


def test_a_text_is_bounded_and_says_that_it_was_cut() -> None:
    row, _ = told(1, "é" * 250_000)
    assert len(row.text.encode()) <= rows.MOST_TEXT
    assert row.text.endswith("[cut: 250000 characters in all]")


@pytest.mark.spec("scribe.every")
@given(
    st.builds(
        PublishedLine,
        st.text(),
        st.text(),
        st.text(),
        st.just(()),
        st.binary(),
        st.text(),
        st.integers(),
        st.text(),
    ),
    st.text(),
)
def test_whatever_is_published_becomes_a_row_that_can_be_stored(published: PublishedLine, id_: str) -> None:
    row, _ = rows.row(Entry(id_, published))
    for value in row.values.values():
        if isinstance(value, str):
            assert "\0" not in value
            value.encode()
        else:
            assert -(2**63) <= value < 2**63
