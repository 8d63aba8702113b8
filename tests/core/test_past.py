import json

from loom_core import shape
from loom_core.miss import MOST_SHAPES
from loom_core.past import MAX_ROOTS, MAX_SYSTEMS, Past
from tests.support.turns import METADATA, call


def test_what_is_kept_is_bounded() -> None:
    past = Past()
    for number in range(100):
        past = past.with_root(f"{number}").with_call(call(system_hash=f"{number}"))
        request = {"model": "m", "messages": [{"role": "user", "content": f"{number}"}]}
        past = past.with_shape(shape.read(json.dumps(request).encode()))
    assert (len(past.roots), past.roots[-1], len(past.systems)) == (MAX_ROOTS, "99", MAX_SYSTEMS)
    assert len(past.shapes) == MOST_SHAPES
    assert Past().with_call(call(system_hash="")).systems == frozenset()


def test_what_is_not_told_anew_stays() -> None:
    past = Past().with_call(call(metadata=METADATA, offers=True, messages=5))
    again = past.with_call(call(messages=3))
    assert (again.told, again.offers, again.messages) == (METADATA, True, 3)
    assert again.with_shape(None) is again
