import re

import pytest

from loom_core import wordings
from loom_core.wordings import (
    ADDITIONAL,
    CONTINUATIONS,
    GOING_ON,
    INSTRUCTIONS,
    PHRASES,
    REMINDER,
    SUMMARISER,
)
from tests.support import compactions

ALL = (SUMMARISER, *INSTRUCTIONS, *CONTINUATIONS)


@pytest.mark.parametrize("wording", ALL, ids=lambda it: it.begins[:30])
@pytest.mark.spec("compact.wordings")
def test_each_wording_says_which_clients_it_was_seen_in(wording: wordings.Wording) -> None:
    oldest, newest = (tuple(map(int, version.split("."))) for version in wording.seen)
    assert (1, 0, 128) <= oldest <= newest
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wording.seen)
    assert wording.begins.strip() == wording.begins != ""


@pytest.mark.spec("compact.wordings")
def test_no_wording_begins_as_another_does() -> None:
    for group in (INSTRUCTIONS, CONTINUATIONS):
        begins = [it.begins for it in group]
        assert not [(a, b) for a in begins for b in begins if a != b and a.startswith(b)]


@pytest.mark.spec("compact.wordings")
def test_every_known_text_holds_a_phrase_that_a_profile_must_not_hold() -> None:
    known = [it.begins for it in ALL]
    built = [compactions.instruction(client) for client in (*compactions.OLD_CLIENTS, compactions.NEW_CLIENT)]
    for text in (*known, *built, ADDITIONAL, REMINDER, wordings.CONTINUED):
        assert any(phrase in text for phrase in PHRASES), text
    assert all(GOING_ON in it.begins for it in CONTINUATIONS)
    assert all(phrase.strip() == phrase != "" for phrase in PHRASES)
