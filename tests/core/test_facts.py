from msgspec.structs import fields

from loom_core.facts import CallFacts, ToolFacts, TurnFacts
from loom_core.rules import Content
from tests.support.facts import asked, tool_facts, turn_facts


def test_of_a_call_only_its_request_and_its_end_must_be_known() -> None:
    facts = CallFacts(asked(), 1, "client gone")
    assert (facts.call, facts.joined, facts.seen, facts.status) == (None, None, None, None)
    assert [it.name for it in fields(CallFacts)][:3] == ["asked", "ended_at", "outcome"]


def test_content_is_full_unless_told() -> None:
    for facts in (tool_facts(), turn_facts()):
        assert isinstance(facts, ToolFacts | TurnFacts)
        assert facts.content is Content.FULL


def test_of_a_miss_nothing_is_known_unless_told() -> None:
    assert CallFacts(asked(), 1, "client gone").miss is None
