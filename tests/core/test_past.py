import json

import pytest

from loom_core import shape
from loom_core.actions import Measure, Note
from loom_core.call import CallKind
from loom_core.miss import MOST_SHAPES
from loom_core.past import MAX_ROOTS, MAX_SYSTEMS, Past, with_hook
from loom_core.values import Figure
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


NOTED = "compaction drift: the hooks told of a compaction, and no request was known as that"


@pytest.mark.parametrize("ends", ["PostCompact", "SessionStart"])
@pytest.mark.spec("compact.drift-hooks")
def test_a_compaction_that_only_the_hooks_tell_of_has_drifted(ends: str) -> None:
    past, actions = with_hook(Past(), "PreCompact")
    assert (past.compacts, actions) == (True, ())
    beside = past.with_call(call(messages=9))
    after, actions = with_hook(beside, ends)
    assert actions == (Note(NOTED), Measure((Figure("loom.compaction.drift", 1, (("phase", "request"),)),)))
    assert with_hook(after, ends) == (after, ()), "it is told once"
    for other in ("Stop", "PostToolUse", ""):
        assert with_hook(beside, other) == (beside, ())


@pytest.mark.parametrize("ends", ["PostCompact", "SessionStart"])
@pytest.mark.spec("compact.drift-hooks")
def test_a_compaction_whose_request_was_seen_has_not(ends: str) -> None:
    past, _ = with_hook(Past(), "PreCompact")
    seen = past.with_call(call(kind=CallKind.COMPACTION))
    assert with_hook(seen, ends) == (seen, ())
    assert with_hook(Past(), ends) == (Past(), ())
