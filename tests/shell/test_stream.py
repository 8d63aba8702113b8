import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.publication import PublishedLine
from loom_shell.stream import NAMES, Entry, entry, message, values

LINE = PublishedLine("s", "user", "user", ("text", "image"), b'{"a":"\xc3\xa9"}', "/f", 7, "id")


@pytest.mark.spec("bus.stream")
def test_an_entry_is_read_as_it_was_written() -> None:
    assert entry("1-0", dict(zip(NAMES, values(LINE), strict=True))) == Entry("1-0", LINE)
    assert values(LINE) == ("s", "user", "user", '["text","image"]', '{"a":"é"}', "/f", "7", "id")


@pytest.mark.spec("bus.channel")
def test_the_message_is_json_for_the_channel_of_the_session() -> None:
    head = '{"session_id":"s","type":"user","role":"user","content_types":["text","image"],'
    told = head + '"raw":"{\\"a\\":\\"é\\"}"}'
    assert message(LINE) == ("transcript:s", told)


@pytest.mark.spec("bus.odd")
@given(st.dictionaries(st.sampled_from(NAMES) | st.text(), st.text(st.characters(), max_size=40)))
def test_whatever_somebody_wrote_is_an_entry(given_: dict[str, str]) -> None:
    assert isinstance(entry("1-0", given_), Entry)


@pytest.mark.spec("bus.odd")
@pytest.mark.parametrize("offset", ["", "-1", "1.5", "٣", "9" * 20, "9" * 5_000, "x"])
def test_an_odd_offset_is_the_beginning(offset: str) -> None:
    assert entry("1-0", {"offset": offset}).published.offset == 0


@pytest.mark.spec("bus.odd")
@pytest.mark.parametrize("types", ["", "{}", "[1]", "[", "\ud800", '["a"]x'])
def test_odd_content_types_are_none(types: str) -> None:
    assert entry("1-0", {"content_types": types}).published.content_types == ()
