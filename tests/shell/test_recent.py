from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from loom_core.trace import SpanRecord
from loom_shell.gateway import ClientToken, Gateway, digest_of
from loom_shell.recent import MAX_TEXT, PAGE_BYTES, Page, RecentTurns, may_see, turns_page
from loom_shell.secret import Secret
from tests.support.turns_picture import SESSION, call, span

TOKEN = "loom_a-token-of-a-test"
OF_A_TEAM = Gateway(Secret("key"), (ClientToken("ada", digest_of(TOKEN.encode())),))


def turn(trace: int, session: str = SESSION, prompt: str = "What now?") -> SpanRecord:
    return SpanRecord(
        trace_id=f"{trace:032x}",
        span_id=f"{trace:016x}",
        parent_id="",
        name=f"user-turn:{session[:8]}",
        kind="internal",
        start=trace,
        end=trace + 1,
        attributes=(("session.id", session), ("input.value", prompt)),
    )


def numbers(recent: RecentTurns, session: str = "", limit: int = 20, after: int = 0) -> list[int]:
    return [int(trace.trace_id, 16) for trace in recent.turns(session, limit, after)]


@pytest.mark.spec("turns.bounded")
def test_the_trace_that_was_quiet_for_longest_makes_room() -> None:
    recent = RecentTurns(limit_turns=3)
    for number in (1, 2, 3):
        recent.keep(turn(number))
    recent.keep(span("execute_tool Bash", 99, 1, (0, 1), trace=1))
    recent.keep(turn(4))
    assert numbers(recent) == [3, 1, 4]
    assert [len(trace.spans) for trace in recent.turns()] == [1, 2, 1]


@pytest.mark.spec("turns.bounded")
def test_bytes_are_bounded_and_given_back() -> None:
    recent = RecentTurns(limit_bytes=20_000)
    for number in range(1, 1_000):
        recent.keep(turn(number, prompt="x" * 10_000))
        assert 0 < recent.size <= 20_000
    found = numbers(recent)
    assert found == list(range(1_000 - len(found), 1_000))
    assert len(found) > 5


@pytest.mark.spec("turns.bounded")
def test_a_trace_that_alone_is_too_large_goes_too() -> None:
    recent = RecentTurns(limit_bytes=5_000)
    for number in range(100):
        recent.keep(span("execute_tool Bash", number + 1, 1, (0, 1)))
        assert recent.size <= 5_000


@pytest.mark.spec("turns.kept")
def test_only_what_a_tree_shows_is_kept_and_texts_are_clipped() -> None:
    recent = RecentTurns()
    said = (("input.value", "y" * 9_000), ("llm.input_messages.0.message.content", "secret"))
    recent.keep(span("chat m", 1, 2, (0, 1), said))
    (kept,) = recent.turns()[0].spans
    assert kept.attributes == {"session.id": SESSION, "input.value": "y" * MAX_TEXT + "…"}


@pytest.mark.spec("turns.kept")
def test_requests_that_ask_no_model_are_not_kept() -> None:
    recent = RecentTurns()
    recent.keep(span("loom: GET /v1/models", 1, 0, (0, 1)))
    recent.keep(
        span("loom: POST /v1/messages/count_tokens", 2, 0, (0, 1), (("loom.call.kind", "count_tokens"),))
    )
    assert recent.turns() == []
    in_turn = (("loom.call.kind", "count_tokens"), ("loom.turn.call_index", 2))
    recent.keep(span("loom: POST /v1/messages/count_tokens", 2, 1, (0, 1), in_turn))
    recent.keep(call(5, 0, (0, 1), (1, 0, 0, 1), trace=2)[0])
    assert numbers(recent) == [1, 2]


@pytest.mark.spec("turns.page")
def test_turns_are_chosen_by_session_limit_and_change() -> None:
    recent = RecentTurns()
    for number in range(1, 7):
        recent.keep(turn(number, session="odd-1" if number % 2 else "even-1"))
    assert numbers(recent, limit=2) == [5, 6]
    assert numbers(recent, limit=0) == []
    assert numbers(recent, "odd", limit=2) == [3, 5]
    assert numbers(recent, "odd-10") == []
    assert numbers(recent, after=4) == [5, 6]
    assert numbers(recent, after=6) == []
    # A count this process never reached is one of before its start.
    assert numbers(recent, after=7) == [1, 2, 3, 4, 5, 6]
    assert recent.page("odd", 1) == Page(6, tuple(recent.turns("odd", 1)))


@pytest.mark.spec("turns.page")
def test_a_page_has_a_bound_in_bytes() -> None:
    recent = RecentTurns()
    for number in range(1, 6):
        for one in range(1_000):
            recent.keep(span("execute_tool Bash", one + 1, 1, (0, 1), trace=number))
    assert 1 <= len(recent.turns()) < 5
    assert len(msgspec.json.encode(recent.page())) < PAGE_BYTES
    assert numbers(recent)[-1] == 5


# Who may see it


def scope(host: str = "127.0.0.1:8080", client: str = "127.0.0.1", **more: str) -> dict[str, Any]:
    headers = [(b"host", host.encode())] if host else []
    headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]
    return {"headers": headers, "client": (client, 5000) if client else None}


@pytest.mark.spec("turns.page-private")
@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "LocalHost:1", "[::1]:8080", "127.0.0.1"])
@pytest.mark.parametrize("client", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("gateway", [Gateway(), OF_A_TEAM])
def test_this_machine_may_see_turns(host: str, client: str, gateway: Gateway) -> None:
    assert may_see(scope(host, client), gateway)


@pytest.mark.spec("turns.page-private")
@pytest.mark.parametrize(
    "asked",
    [
        scope(client="192.0.2.1"),
        scope(client=""),
        scope(host="loom.attacker.test:8080"),
        scope(host="127.0.0.1.attacker.test"),
        scope(host=""),
        scope(x_forwarded_for="192.0.2.1"),
        scope(forwarded="for=192.0.2.1"),
        scope(Via="1.1 proxy"),
        scope(client="192.0.2.1", authorization="Bearer loom_another"),
    ],
)
@pytest.mark.parametrize("gateway", [Gateway(), Gateway(Secret("key")), OF_A_TEAM])
def test_others_may_not_see_turns(asked: dict[str, Any], gateway: Gateway) -> None:
    assert not may_see(asked, gateway)


@pytest.mark.spec("turns.page-private")
def test_a_client_token_may_see_turns_from_anywhere() -> None:
    from_afar = scope("loom.team.test", "192.0.2.1", authorization=f"Bearer {TOKEN}", x_forwarded_for="x")
    assert may_see(from_afar, OF_A_TEAM)
    assert not may_see(from_afar, Gateway(Secret("key")))


async def asked(path: str, host: str = "127.0.0.1") -> httpx.Response:
    recent = RecentTurns()
    for number in (1, 2, 3):
        recent.keep(turn(number))
    pages = Starlette(routes=[Route("/loom/turns", turns_page(recent, Gateway()))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(pages), base_url=f"http://{host}") as client:
        return await client.get(path)


@pytest.mark.anyio
@pytest.mark.spec("turns.page")
async def test_the_page_is_json() -> None:
    answer = await asked("/loom/turns?session=5e55&limit=2&after=1")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    page = msgspec.json.decode(answer.content, type=Page)
    assert page.last == 3
    assert [trace.changed for trace in page.turns] == [2, 3]
    assert page.turns[0].sessions == (SESSION,)
    assert page.turns[0].spans[0].name == "user-turn:5e551071"


@pytest.mark.anyio
@pytest.mark.spec("turns.page")
@pytest.mark.parametrize(
    "query", ["limit=-1", "limit=x", "after=1.5", "after=", "limit=٣", "after=" + "9" * 99]
)
async def test_a_wrong_number_is_refused(query: str) -> None:
    answer = await asked(f"/loom/turns?{query}")
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.anyio
@pytest.mark.spec("turns.page-private")
async def test_who_may_not_see_it_gets_a_403_without_turns() -> None:
    answer = await asked("/loom/turns", host="loom.attacker.test")
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")
