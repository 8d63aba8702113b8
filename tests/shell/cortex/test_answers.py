import json
from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.lookup import Memory, Provenance
from loom_shell.cortex.answers import MOST_BYTES, moment, one, refusal, several, stored
from loom_shell.memory.items import FIRST, LAST, Item

AT = 1_741_338_000_000_001_999
ITEM = Item(Memory("7", "The loom.", AT, Provenance.USER, 1.5), ("a", "b"))
TOLD = {
    "id": 7,
    "content": "The loom.",
    "created_at": "2025-03-07T09:00:00.000001+00:00",
    "tags": ["a", "b"],
    "score": 1.5,
}


@pytest.mark.spec("cortex.ids", "cortex.search")
def test_a_memory_is_told_in_the_form_of_the_contract() -> None:
    assert json.loads(one(ITEM)) == TOLD
    gone = Item(ITEM.memory, ITEM.tags, is_forgotten=True)
    assert json.loads(one(gone)) == {**TOLD, "forgotten": True}


@pytest.mark.spec("cortex.store")
def test_what_was_stored_is_told_in_its_zone() -> None:
    told = json.loads(stored("7", AT, timezone(timedelta(hours=-8))))
    assert told == {"id": 7, "created_at": "2025-03-07T01:00:00.000001-08:00"}


@pytest.mark.parametrize("at", [FIRST, -1, 0, LAST])
def test_every_moment_that_a_row_can_hold_can_be_told(at: int) -> None:
    assert moment(at).endswith("+00:00")


@pytest.mark.spec("cortex.tells-forgotten")
def test_what_was_forgotten_is_told_where_it_was_asked() -> None:
    assert json.loads(several([ITEM])) == {"memories": [TOLD]}
    assert json.loads(several([], ())) == {"memories": [], "forgotten": []}
    assert json.loads(several([], ("1", "2")))["forgotten"] == [1, 2]


@pytest.mark.spec("cortex.bounds")
@given(st.lists(st.integers(0, 3).map(lambda n: 'é"' * 10 ** (n + 2)), max_size=9))
def test_what_does_not_fit_is_passed_over(texts: list[str]) -> None:
    items = [Item(Memory(f"{i}", text)) for i, text in enumerate(texts)]
    told = several(items)
    assert len(told) <= MOST_BYTES + 16
    kept = [item["id"] for item in json.loads(told)["memories"]]
    assert kept == sorted(kept)
    left = [i for i in range(len(items)) if i not in kept]
    assert all(len(told) + len(one(items[i])) > MOST_BYTES for i in left)


def test_a_refusal_is_a_sentence() -> None:
    assert json.loads(refusal("No.")) == {"detail": "No."}
