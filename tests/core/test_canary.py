import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loom_core.block import CANARY
from loom_core.canary import is_in

pieces = st.sampled_from([CANARY, CANARY[:-1], CANARY[1:], b"Q", b"QQ" * 40, b"LOOM_", b"a word ", b""])


@pytest.mark.spec("metadata.untouched")
@given(st.lists(pieces, max_size=12).map(b"".join) | st.binary(max_size=80))
@example(CANARY)
@example(b"Q" * 63 + CANARY)
@example(b"Q" * 64 + CANARY)
@example(b"Q" * 65 + CANARY[:-1])
@example(b"Q" * 200)
@example(CANARY[:-1] + CANARY)
def test_the_canary_is_found_wherever_it_stands_and_nowhere_else(body: bytes) -> None:
    assert is_in(body) == (CANARY in body)
