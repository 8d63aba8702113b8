from loom_core.events import FileChanged
from loom_core.values import TranscriptKey
from loom_shell.replay.record import Recorded


def test_an_event_that_nobody_knows_more_of_is_whole_and_of_no_session() -> None:
    record = Recorded(1, 2, TranscriptKey("/t"), FileChanged(2))
    assert (record.session, record.run, record.begins, record.then) == ("", "", False, ())
    assert (record.digests, record.whole) == ((), True)
