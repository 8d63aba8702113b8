from datetime import UTC

import pytest

from loom_core.lookup import Provenance
from loom_shell.cortex.asked import HOUR, WronglyAskedError, newest, session_of, to_find, to_forget, to_store
from loom_shell.memory import NewMemory
from loom_shell.memory.items import FIRST, MOST, Wanted

DAY = 24 * HOUR
AT = 1_741_305_600_000_000_000
"""2025-03-07, midnight in UTC."""


@pytest.mark.spec("cortex.tags")
def test_tags_say_what_the_looms_own_adapter_says_in_them() -> None:
    body = b'{"content": "x", "tags": ["provenance:tool", "scope:a:b", "session:s", "x", "y:z"]}'
    tags = ("provenance:tool", "scope:a:b", "session:s", "x", "y:z")
    asked = to_store(body, "other", 1_234_567)
    assert asked.new == NewMemory("x", 1_234_000, Provenance.TOOL, "a:b", "s", tags)
    assert asked.zone is UTC
    alone = to_store(b'{"content": "x", "tags": null, "more": {}}', "s%2F1", 5).new
    assert alone == NewMemory("x", 0, Provenance.ASSISTANT, "", "s/1")


@pytest.mark.spec("cortex.tags")
def test_a_word_without_a_colon_is_a_tag_like_any_other() -> None:
    new = to_store(b'{"content": "x", "tags": ["provenance", "scope", "session"]}', "", 5).new
    assert (new.provenance, new.scope, new.session) == (Provenance.ASSISTANT, "", "")


@pytest.mark.spec("cortex.announce")
@pytest.mark.parametrize(
    ("header", "session"),
    [("", ""), (" s ", "s"), ("a%2Fb%C3%9F", "a/bß"), ("%0d%00%ff", "\ufffd"), ("100%", "100%")],
)
def test_a_session_may_be_quoted(header: str, session: str) -> None:
    assert session_of(header) == session


@pytest.mark.spec("cortex.search")
def test_a_search_is_read_with_all_it_says() -> None:
    body = b"""{"query": "x", "limit": 3, "exact": true, "after": "2025-03-07", "exclude": [1, "2"],
        "min_score": 2, "include_forgotten": true, "before": "2025-03-08T01:00+01:00"}"""
    assert to_find(body) == Wanted(
        "x",
        limit=3,
        exact=True,
        after=AT,
        before=AT + DAY,
        exclude=("1", "2"),
        min_score=2.0,
        include_forgotten=True,
    )
    assert to_find(b'{"query": ""}') == Wanted("")
    assert to_find(b'{"query": "", "limit": 1000000}').limit == MOST


@pytest.mark.spec("cortex.search")
@pytest.mark.parametrize(
    ("told", "at"),
    [
        ("2025-03-07T00:00:00Z", AT),
        ("2025-03-07T01:00:00.5+01:00", AT + 500_000_000),
        ("20250307", AT),
        ("1969-12-31", -DAY),
        ("0001-01-01T00:00:00+14:00", -62_135_596_800_000_000_000 - 14 * HOUR),
        ("9999-12-31T23:59:59-14:00", 253_402_300_799_000_000_000 + 14 * HOUR),
    ],
)
def test_a_moment_without_a_zone_is_utc(told: str, at: int) -> None:
    assert to_find(b'{"query": "x", "after": "%s"}' % told.encode()).after == at


@pytest.mark.spec("cortex.ids")
@pytest.mark.parametrize(("body", "own"), [(b'{"id": 7}', "7"), (b'{"id": "7"}', "7"), (b'{"id": -7}', "-7")])
def test_an_id_is_a_number_or_a_text(body: bytes, own: str) -> None:
    assert to_forget(body) == own


@pytest.mark.spec("cortex.wrong")
@pytest.mark.parametrize(
    "body", [b'{"id": 1.5}', b'{"id": true}', b'{"id": []}', b"{}", b'{"id": NaN}', b"7"]
)
def test_what_is_no_id_is_refused(body: bytes) -> None:
    with pytest.raises(WronglyAskedError):
        to_forget(body)


@pytest.mark.spec("cortex.recent")
def test_the_newest_are_asked_for_in_hours() -> None:
    assert newest(None, None, AT) == (10, FIRST)
    assert newest("5", "0", AT) == (5, FIRST)
    assert newest("999999999", "0.5", AT) == (MOST, AT - HOUR // 2)
    with pytest.raises(WronglyAskedError, match="limit must be"):
        newest("0", None, AT)
