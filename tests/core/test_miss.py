"""Requests one after the other, with the cache meter as upstream: its figures show the miss."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as evolve

from loom_core import wrapper
from loom_core.message import Seen
from loom_core.meter import LOOK_BACK, MINUTE, Meter, measure
from loom_core.miss import CAUSES, LEAST, MOST_SHAPES, Miss, blame, earlier, judged, kept
from loom_core.rules import SECOND
from loom_core.shape import MAX_NAME, Shape
from loom_core.woven import WovenIn
from tests.support.conversations import answer, asks_tool, prompt, result, text

AT = 1_700_000_000 * SECOND
MARKER = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
LONG = "weft and warp " * 400
IDENTITY = "You are known as Ada. " * 200
NOTE = wrapper.reminder(wrapper.BACKGROUND, ["A note."])
Body = dict[str, Any]


def marked(block: dict[str, Any], marker: dict[str, str] = MARKER) -> dict[str, Any]:
    return {**block, "cache_control": marker}


def plain(block: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name != "cache_control"}


def request(*, identity: str = IDENTITY, note: str = NOTE, marker: dict[str, str] = MARKER) -> Body:
    """Two turns, woven: tools, the client's system, the identity; a note at each prompt but the last."""
    told = [text(identity)] if identity else []
    return {
        "model": "claude-sonnet-5",
        "messages": [
            prompt(*([LONG, note] if note else [LONG])),
            asks_tool("t1"),
            result("t1", LONG),
            answer(LONG),
            {"role": "user", "content": [marked(text(f"{LONG}?"), marker)]},
        ],
        "system": [text("x-anthropic-billing-header: cch=1;"), marked(text(LONG), marker), *told],
        "tools": [{"name": name, "description": LONG} for name in ("Bash", "Read")],
        "thinking": {"type": "disabled"},
    }


def longer(before: Body, *messages: Body) -> Body:
    """The next request of the conversation: what was said since, with the marker at its end."""
    *earlier_ones, last = before["messages"]
    unmarked = {"role": "user", "content": [plain(block) for block in last["content"]]}
    if set(unmarked["content"][0]) == {"type", "text"}:
        unmarked["content"] = unmarked["content"][0]["text"]
    said = messages or (answer("Yes."), prompt(f"And {LONG}?"))
    end = {**said[-1], "content": [*said[-1]["content"][:-1], marked(said[-1]["content"][-1])]}
    return {**before, "messages": [*earlier_ones, unmarked, *said[:-1], end]}


class Story:
    """Requests of one agent, one after the other, as the Loom sees them."""

    def __init__(self) -> None:
        self.meter = Meter()
        self.shapes: tuple[Shape, ...] = ()
        self.at = AT

    def sends(self, asked: Body, after: int = MINUTE, read: int | None = None) -> Miss | None:
        """`read`: what upstream says instead of the meter."""
        self.at += after
        self.meter, figures = measure(self.meter, asked, self.at)
        told = Seen(
            cache_read=figures.cache_read_input_tokens if read is None else read,
            cache_creation=figures.cache_creation_input_tokens,
        )
        is_told = asked["system"][-1]["text"].startswith("You are")
        woven = WovenIn("p", self.at, self.at, identity=int(is_told), sticky=1)
        body, times = msgspec.json.encode(asked), (self.at, self.at + SECOND)
        shape, missed = judged(body, woven, told, self.shapes, times)
        assert shape is not None
        self.shapes = kept(self.shapes, shape)
        return missed


def cause(second: Body, first: Body | None = None, **how: int) -> tuple[str, str] | None:
    story = Story()
    assert story.sends(first or request()) is None
    missed = story.sends(second, **how)
    return missed and (missed.cause, missed.words)


def changed(change: Callable[[Body], object]) -> Body:
    made = longer(request())
    change(made)
    return made


@pytest.mark.spec("miss.expected")
def test_a_conversation_that_goes_on_misses_nothing() -> None:
    story, asked = Story(), request()
    assert story.sends(asked) is None
    for number in range(12):
        asked = longer(asked, asks_tool(f"n{number}"), result(f"n{number}", f"{number} {LONG}"))
        assert story.sends(asked) is None
        assert story.sends(asked) is None
    assert len(story.shapes) == 1


BASH = {"name": "Bash", "description": "Other."}
CHANGES: dict[str, tuple[tuple[str, str], Callable[[Body], object]]] = {
    "model": (
        ("model", "model changed from claude-sonnet-5 to claude-opus-5 (client)"),
        lambda it: it.update(model="claude-opus-5"),
    ),
    "tool": (("tools", "tool Bash changed (client)"), lambda it: it["tools"].__setitem__(0, BASH)),
    "tool more": (("tools", "tool New added (client)"), lambda it: it["tools"].append({"name": "New"})),
    "tool less": (("tools", "tool Read removed (client)"), lambda it: it["tools"].pop()),
    "no tool": (("tools", "tool Bash removed (client)"), lambda it: it.pop("tools")),
    "tools moved": (("tools", "tool Read moved (client)"), lambda it: it["tools"].reverse()),
    "system": (
        ("system", "system block 2 changed (client)"),
        lambda it: it["system"].__setitem__(1, marked(text("other"))),
    ),
    "system more": (
        ("system", "system block 3 added (client)"),
        lambda it: it["system"].insert(2, text("more")),
    ),
    "system less": (
        ("system", "system block 2 removed (client)"),
        lambda it: it["system"].pop(1),
    ),
    "identity": (
        ("identity", "the Loom's identity changed"),
        lambda it: it["system"].__setitem__(2, text("You are Eve.")),
    ),
    "identity less": (("identity", "the Loom's identity removed"), lambda it: it["system"].pop()),
    "message": (
        ("message", "message 4 (assistant) changed (client)"),
        lambda it: it["messages"].__setitem__(3, answer("other")),
    ),
    "part of a message": (
        ("message", "message 3 (user) changed (client)"),
        lambda it: it["messages"][2]["content"].pop(),
    ),
    "rewound": (
        ("message", "message 5 (user) removed (client)"),
        lambda it: it["messages"].__delitem__(slice(4, None)),
    ),
    "note": (
        ("message", "message 1 (user) changed (Loom)"),
        lambda it: it["messages"][0]["content"].__setitem__(1, text(NOTE.replace("note", "word"))),
    ),
    "note gone": (
        ("message", "message 1 (user) changed (Loom)"),
        lambda it: it["messages"][0]["content"].pop(),
    ),
    "client adds before the note": (
        ("message", "message 1 (user) changed (client)"),
        lambda it: it["messages"][0]["content"].insert(1, text("more")),
    ),
    "thinking": (
        ("settings", "thinking or tool choice changed (client)"),
        lambda it: it.update(thinking={"type": "enabled"}),
    ),
    "no marker": (
        ("settings", "no cache marker at or behind the last one (client)"),
        lambda it: it["messages"][-1].update(content="Unmarked."),
    ),
}


@pytest.mark.spec("miss.first", "miss.loom")
@pytest.mark.parametrize("what", CHANGES)
def test_what_differs_first_is_named(what: str) -> None:
    told, change = CHANGES[what]
    # The meter knows nothing of thinking.
    how = {"read": 0} if what == "thinking" else {}
    found = cause(changed(change), **how)
    assert found == told
    assert told[0] in CAUSES


@pytest.mark.spec("miss.loom")
def test_what_the_loom_weaves_in_later_is_its_own_doing() -> None:
    bare = request(note="", identity="")
    assert cause(longer(request(note="")), bare) == ("identity", "the Loom's identity added")
    assert cause(longer(request(identity="")), bare) == ("message", "message 1 (user) changed (Loom)")


@pytest.mark.spec("miss.idle")
@pytest.mark.parametrize(("marker", "life"), [(MARKER, 5), (HOUR, 60)])
def test_a_cache_that_was_not_used_in_its_life_is_told_as_idle(marker: dict[str, str], life: int) -> None:
    first = request(marker=marker)
    words = f"idle {life + 2} min, longer than the cache lives ({life} min)"
    assert cause(longer(first), first, after=(life + 2) * MINUTE) == ("idle", words)
    assert cause(longer(first), first, after=(life - 1) * MINUTE) is None
    # With the entry gone, what differs too broke nothing; another model never had one.
    story = {"first": first, "after": (life + 1) * MINUTE}
    assert (cause(changed(CHANGES["identity"][1]), **story) or ("",))[0] == "idle"
    assert (cause(changed(CHANGES["model"][1]), **story) or ("",))[0] == "model"


@pytest.mark.spec("miss.upstream")
def test_where_nothing_differs_upstream_knows_better() -> None:
    words = "nothing in the request differs: expired or dropped at upstream"
    assert cause(longer(request()), read=0) == ("upstream", words)


def test_a_marker_out_of_reach_is_told() -> None:
    parts = [text(f"part {number}") for number in range(LOOK_BACK)]
    far = longer(request(), answer("ok"), {"role": "user", "content": parts})
    words = f"next cache marker {LOOK_BACK + 1} blocks on, upstream sees {LOOK_BACK} (client)"
    assert cause(far) == ("settings", words)
    near = longer(request(), answer("ok"), {"role": "user", "content": parts[2:]})
    assert cause(near) is None


@pytest.mark.spec("miss.clear", "miss.expected")
@given(st.integers(0, 200_000), st.none() | st.integers(0, 200_000))
def test_only_a_clear_shortfall_is_a_miss(cached: int, read: int | None) -> None:
    story = Story()
    story.sends(request())
    (before,) = story.shapes
    before = evolve(before, cached=cached)
    now = evolve(before, sent_at=before.head_at + 1)
    missed = blame(before, now, read)
    lost = cached - (cached if read is None else read)
    assert (missed is not None) == (lost >= LEAST and lost / cached >= 0.05)
    assert missed is None or (missed.cause, missed.tokens) == ("upstream", lost)


@pytest.mark.spec("miss.expected")
def test_a_request_sent_before_the_other_was_answered_misses_nothing() -> None:
    assert cause(longer(request()), after=SECOND - 1, read=0) is None
    assert cause(longer(request()), after=SECOND, read=0) is not None


@pytest.mark.spec("miss.expected")
def test_without_figures_of_upstream_nothing_is_told_or_kept() -> None:
    body = msgspec.json.encode(request())
    story = Story()
    story.sends(request())
    assert judged(body, None, Seen(), (), (1, 2)) == (None, None)
    assert judged(body, None, Seen(), story.shapes, (1, 2)) == (None, None)
    # Who never used a cache has none to lose.
    assert judged(body, None, Seen(cache_read=0, cache_creation=0), (), (1, 2)) == (None, None)
    shape, missed = judged(body, None, Seen(cache_read=0, cache_creation=0), story.shapes, (AT * 2, AT * 2))
    assert shape is not None
    assert missed is not None
    assert judged(b"{}", None, Seen(cache_read=5), (), (1, 2)) == (None, None)


@pytest.mark.spec("miss.kin")
def test_another_conversation_of_the_agent_is_not_compared() -> None:
    story, main = Story(), request()
    side = {**request(), "messages": [prompt("<system-reminder>x</system-reminder>", "Other?")]}
    side["messages"][0]["content"][1]["cache_control"] = MARKER
    main["messages"][0]["content"].insert(0, side["messages"][0]["content"][0])
    assert story.sends(main) is None
    assert story.sends(side) is None
    assert story.sends(longer(main)) is None
    assert len(story.shapes) == 2
    assert (story.sends(longer(main), read=0) or Miss("", "", 0)).cause == "upstream"


@pytest.mark.spec("miss.kin")
def test_a_fork_with_other_tools_does_not_take_the_place_of_the_conversation() -> None:
    story, main = Story(), request()
    fork = {**longer(main), "tools": []}
    assert story.sends(main) is None
    assert (story.sends(fork) or Miss("", "", 0)).words == "tool Bash removed (client)"
    assert len(story.shapes) == 2
    assert story.sends(longer(longer(main))) is None
    back = {**longer(longer(main)), "model": "claude-opus-5"}
    assert (story.sends(back) or Miss("", "", 0)).cause == "model"
    assert story.sends(longer(longer(longer(main)))) is None


@pytest.mark.spec("miss.shape")
def test_few_shapes_are_kept_of_an_agent() -> None:
    story = Story()
    for number in range(3 * MOST_SHAPES):
        story.sends({**request(), "model": f"m-{number}"})
    assert [it.model for it in story.shapes] == [f"m-{number}" for number in range(8, 12)]
    assert earlier((), story.shapes[0]) is None
    assert earlier(story.shapes, story.shapes[0]) is story.shapes[0]
    story.sends({**request(), "tools": [{"name": "x" * 999}]})
    missed = story.sends(longer({**request(), "tools": [{"name": "y" * 999}]}))
    assert missed is not None
    assert len(missed.words) < 4 * MAX_NAME
