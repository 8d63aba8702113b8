from typing import Any

import pytest

from loom_core.reading import as_count, as_dict, as_text

ANYTHING: list[Any] = [None, True, False, 0, 7, -1, 1.5, float("inf"), "", "text", [], [1], {}, {"a": 1}]


@pytest.mark.parametrize("value", ANYTHING, ids=repr)
@pytest.mark.spec("observer.kinds")
def test_a_value_of_the_wrong_kind_reads_as_empty(value: Any) -> None:  # noqa: ANN401 decoded JSON is anything
    assert as_dict(value) == (value if type(value) is dict else {})
    assert as_text(value) == (value if type(value) is str else "")
    assert as_count(value) == (value if type(value) is int and value >= 0 else None)


@pytest.mark.spec("observer.kinds")
def test_true_is_not_one_token() -> None:
    assert as_count(True) is None  # noqa: FBT003 the value under test
    assert as_count(1) == 1
