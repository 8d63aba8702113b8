import msgspec
import pytest
from attrs import evolve

from loom_core.meter import Figures
from loom_shell.simulator.answers import LAST_WORDS
from loom_shell.simulator.compacting import COMPACTING, NEARLY_FULL
from loom_shell.simulator.server import Simulator
from loom_shell.simulator.summary import facts, summary
from tests.shell.simulator.raw import PROMPT, STREAMED, TOOL, asked, heard, payloads, request, talk

BY_NAME = {scenario.name: scenario for scenario in COMPACTING}
ASK = {"role": "user", "content": "Say it in <summary> tags."}
ASKING = {**PROMPT, "messages": [*PROMPT["messages"], ASK]}
OFFERING = {**PROMPT, "tools": [TOOL]}


def text(name: str, body: object, summaries: int = 0) -> str:
    said = heard(BY_NAME[name].script(evolve(asked(body), summaries=summaries)))
    return str(msgspec.json.decode(said.rest)["content"][-1]["text"])


def usage(body: object, summaries: int = 0) -> int:
    said = heard(BY_NAME["nearly-full"].script(evolve(asked(body), summaries=summaries)))
    told = msgspec.json.decode(said.rest)["usage"]
    assert told["cache_read_input_tokens"] == told["cache_creation_input_tokens"] == 0
    return int(told["input_tokens"])


@pytest.mark.spec("simulator.summary-without-tags")
def test_only_the_first_summary_comes_without_tags() -> None:
    assert text("summary-without-tags", ASKING) == facts(ASKING)
    assert text("summary-without-tags", ASKING, summaries=1) == summary(ASKING)
    assert text("summary-without-tags", PROMPT) == LAST_WORDS


@pytest.mark.spec("simulator.summary-without-tags")
def test_without_tags_it_is_streamed_to_who_asks_for_a_stream() -> None:
    said = heard(BY_NAME["summary-without-tags"].script(asked({**ASKING, "stream": True})))
    deltas = [one["delta"]["text"] for one in payloads(said.body) if one["type"] == "content_block_delta"]
    assert said.whole
    assert "".join(deltas) == facts(ASKING)


@pytest.mark.spec("simulator.nearly-full")
def test_a_call_that_offers_tools_is_told_that_the_window_is_nearly_full() -> None:
    assert usage(OFFERING) == NEARLY_FULL
    assert usage(PROMPT) == 7
    assert usage({**ASKING, "tools": [TOOL]}) == 7
    assert usage(OFFERING, summaries=1) == 7


@pytest.mark.spec("simulator.nearly-full")
def test_what_was_read_from_the_cache_counts_and_a_fuller_window_stays_as_it_is() -> None:
    for figures, plain in (
        (Figures(1, 2, 3, 4), NEARLY_FULL - 9),
        (Figures(2 * NEARLY_FULL), 2 * NEARLY_FULL),
    ):
        given = evolve(asked({**OFFERING, "stream": True}), measure=lambda _, told=figures: told)
        first = payloads(heard(BY_NAME["nearly-full"].script(given)).body)[0]
        told = first["message"]["usage"]
        assert (told["input_tokens"], told["cache_read_input_tokens"]) == (
            plain,
            figures.cache_read_input_tokens,
        )


@pytest.mark.anyio
@pytest.mark.spec("simulator.summary-without-tags")
@pytest.mark.spec("simulator.nearly-full")
async def test_a_simulator_counts_the_summaries_it_was_asked_for_until_it_forgets() -> None:
    async with Simulator("summary-without-tags") as sim:
        for _ in range(2):
            told = []
            for target, body in (
                ("/v1/messages/count_tokens", ASKING),
                ("/v1/messages", PROMPT),
                ("/v1/messages", ASKING),
                ("/v1/messages", ASKING),
                ("/v1/messages?simulate=nearly-full", OFFERING),
            ):
                said = (await talk(sim.port, request(target=target, body=body))).json()
                told.append(said)
            _, usual, first, second, after = told
            assert [it["content"][-1]["text"] for it in (usual, first, second)] == [
                LAST_WORDS,
                facts(ASKING),
                summary(ASKING),
            ]
            assert after["usage"]["input_tokens"] < NEARLY_FULL
            sim.forget()
        fuller = request(target="/v1/messages?simulate=nearly-full", body=OFFERING)
        assert (await talk(sim.port, fuller)).json()["usage"]["input_tokens"] == NEARLY_FULL


@pytest.mark.parametrize("name", BY_NAME)
def test_all_else_is_answered_as_by_a_well_upstream(name: str) -> None:
    models = evolve(asked(method="GET"), path="/v1/models", parsed=None)
    assert heard(BY_NAME[name].script(models)).status == 200
    assert heard(BY_NAME[name].script(asked(STREAMED))).whole
