import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from loom_core.actions import Keep
from loom_core.ledger import Decision
from loom_core.profile import Life
from loom_core.wire import Edit
from loom_core.woven import WovenIn
from loom_shell.gateway import Gateway
from loom_shell.last_woven import LastWoven, Page, matching, woven_page

BODY = b'{"a":[\xff{"type":"text","text":"Tea."}]}'
EDITS = (Edit(7, 7, b'{"type":"text","text":"Tea."}'),)


def order(session: str, body: bytes = BODY, tokens: int = 1) -> Keep:
    told = WovenIn("ann", 1, 2, sticky=tokens)
    return Keep(session, told, body, EDITS, (None, Decision("Tea.", ids=("m-1",))))


def kept(*sessions: str) -> LastWoven:
    last = LastWoven()
    for session in sessions:
        last.keep(order(session))
    return last


@pytest.mark.spec("woven.page", "woven.kept")
def test_the_last_request_of_a_session_is_there_to_the_byte() -> None:
    last = kept("one", "two")
    last.keep(order("one", BODY + b" "))
    page = last.page("one")
    assert page.sessions == ("one", "two")
    assert page.last
    assert (page.last.session, page.last.body, page.last.size) == ("one", BODY + b" ", len(BODY) + 1)
    (block,) = page.last.blocks
    assert (block.life, block.memories) == (Life.STICKY, ("m-1",))
    assert BODY[block.start : block.end] == EDITS[0].new


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("", "two-2"), ("one", "one"), ("o", None), ("two", "two-2"), ("none", None), ("one-", "one-1")],
)
@pytest.mark.spec("woven.page")
def test_a_session_is_named_by_how_its_id_begins(asked: str, meant: str | None) -> None:
    page = kept("one", "one-1", "two-2").page(asked)
    assert page.sessions == ("two-2", "one-1", "one")
    assert (page.last.session if page.last else None) == meant


@pytest.mark.spec("woven.page")
def test_where_nothing_was_woven_there_is_nothing() -> None:
    assert LastWoven().page() == LastWoven().page("one") == Page(())


def test_a_whole_id_means_that_one_alone() -> None:
    assert matching(("a", "ab"), "a") == ["a"]
    assert matching(("ab", "ac", "b"), "a") == ["ab", "ac"]


@pytest.mark.spec("woven.bounded")
def test_the_session_that_was_quiet_for_longest_makes_room() -> None:
    last = LastWoven(most_sessions=2)
    for session in ("one", "two", "one", "three"):
        last.keep(order(session))
    assert last.page().sessions == ("three", "one")


@pytest.mark.spec("woven.bounded")
def test_what_is_kept_is_bounded_in_bytes() -> None:
    last = LastWoven(most_bytes=10_000)
    for number in range(30):
        last.keep(order(f"{number % 7}", b" " * 50 * number, tokens=number))
        assert last.weight <= 10_000
    assert last.page().sessions[0] == "1"
    one = LastWoven()
    one.keep(order("one", b" " * 1_000, tokens=100))
    assert one.weight > 1_000 + 2 * 400, "a woven text is held by the body, its edit and its decision"


@pytest.mark.spec("woven.bounded")
def test_one_that_is_heavier_than_all_that_may_be_kept_leaves_nothing() -> None:
    last = LastWoven(most_bytes=5_000)
    last.keep(order("one"))
    last.keep(order("two", b" " * 4_500))
    assert (last.page().sessions, last.weight) == ((), 0)


@pytest.mark.spec("woven.bounded")
def test_of_a_body_that_is_too_long_the_size_is_kept() -> None:
    last = LastWoven(longest=100)
    last.keep(order("one"))
    last.keep(order("one", b" " * 101))
    page = last.page("one")
    assert page.last
    assert (page.last.body, page.last.size, page.last.blocks) == (None, 101, ())
    assert last.weight < 2_000


async def asked(path: str, host: str = "127.0.0.1") -> httpx.Response:
    pages = Starlette(routes=[Route("/loom/woven", woven_page(kept("one", "two"), Gateway()))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(pages), base_url=f"http://{host}") as client:
        return await client.get(path)


@pytest.mark.anyio
@pytest.mark.spec("woven.page")
async def test_the_page_is_json() -> None:
    answer = await asked("/loom/woven?session=o")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.json()["last"]["blocks"][0]["life"] == "sticky"
    page = msgspec.json.decode(answer.content, type=Page)
    assert page == kept("one", "two").page("one")


@pytest.mark.anyio
@pytest.mark.spec("woven.page-private")
async def test_who_may_not_see_it_gets_a_403_without_bodies() -> None:
    answer = await asked("/loom/woven?session=one", host="loom.attacker.test")
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")
    assert "one" not in answer.json()
