from pathlib import Path

import pytest
from attrs import evolve

from loom_shell.replay.checking import ACTIONS, Against, Check, parts, saved
from loom_shell.replay.codec import encoded
from loom_shell.replay.reading import recorded
from tests.support.recordings import FOLDER

LOOP = FOLDER / "tool-loop.jsonl"


@pytest.mark.spec("replay.check")
def test_each_part_has_the_digest_that_was_recorded() -> None:
    found = list(parts(recorded(LOOP)))
    assert all(part.now == part.then for part in found)
    assert sum(part.part > 0 for part in found) > 10


@pytest.mark.spec("replay.check")
def test_one_digest_that_is_another_is_found_where_it_stands() -> None:
    records = list(recorded(LOOP))
    for number in range(len(records)):
        wrong = evolve(records[number], digests=("0" * 16, *records[number].digests[1:]))
        check = Check()
        changed = [*records[:number], wrong, *records[number + 1 :]]
        found = next(it for part in parts(changed) if (it := check.differs(part)))
        assert f"event {number + 1} of" in found.lines[0]


@pytest.mark.spec("replay.against")
def test_what_was_saved_is_the_same_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "saved"
    path.write_bytes(encoded(ACTIONS) + b"\n" + b"".join(map(saved, parts(recorded(LOOP)))))
    against = Against(path)
    assert [part for part in parts(recorded(LOOP)) if against.differs(part)] == []
    assert against.ends() is None
    against.close()


@pytest.mark.spec("replay.against")
def test_the_same_actions_of_another_event_differ(tmp_path: Path) -> None:
    path = tmp_path / "saved"
    first = next(iter(parts(recorded(LOOP))))
    path.write_bytes(encoded(ACTIONS) + b"\n" + saved(first))
    against = Against(path)
    found = against.differs(evolve(first, record=evolve(first.record, number=9)))
    assert found is not None
    assert found.lines[-1] == "    the same actions of another event"
    against.close()
