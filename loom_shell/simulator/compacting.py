"""Scenarios of an upstream whose client compacts."""

from collections.abc import Iterator

from attrs import evolve
from msgspec import structs

from loom_core.meter import Figures
from loom_shell.simulator.answers import offers_tools
from loom_shell.simulator.frames import message_frames, message_json
from loom_shell.simulator.replies import Asked, plain, stream
from loom_shell.simulator.routes import ok
from loom_shell.simulator.scenarios import Scenario
from loom_shell.simulator.steps import Script, Step
from loom_shell.simulator.summary import facts

NEARLY_FULL = 985_000
"""Tokens a main call is said to have had. Clients with a window of 200,000 or of a million compact then."""


def _without_tags(asked: Asked) -> Script:
    """Gives the first summary asked for without its tags, and answers all else as `ok`."""
    if not asked.asks_for_summary or asked.summaries:
        return ok(asked)
    return _untagged(asked)


def _untagged(asked: Asked) -> Iterator[Step]:
    said = evolve(asked.answer(), blocks=({"type": "text", "text": facts(asked.message)},))
    return stream(asked, message_frames(said)) if asked.streams else plain(asked, message_json(said))


def _nearly_full(asked: Asked) -> Iterator[Step]:
    """Says that the context window is nearly full until a summary was asked for, and answers as `ok`."""
    if asked.summaries or asked.asks_for_summary or not offers_tools(asked.message):
        return ok(asked)

    def filled(parsed: object) -> Figures:
        figures = asked.measure(parsed)
        more = max(0, NEARLY_FULL - figures.total)
        return structs.replace(figures, input_tokens=figures.input_tokens + more)

    return ok(evolve(asked, measure=filled))


COMPACTING = (Scenario("summary-without-tags", _without_tags), Scenario("nearly-full", _nearly_full))
