import json
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from loom_core.values import TurnKey
from loom_shell.gateway import ClientToken, Gateway, digest_of
from loom_shell.own import MAX_HOOK, MAX_WORD, hooks_page, own_pages
from loom_shell.secret import Secret

pytestmark = pytest.mark.anyio


async def asked(method: str, path: str, *, draining: bool = False, running: int = 0) -> httpx.Response:
    pages = own_pages(lambda: draining, lambda: running)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(pages), base_url="http://loom.test") as client:
        return await client.request(method, path)


def error_in(answer: httpx.Response) -> dict[str, Any]:
    shape = answer.json()
    assert shape["type"] == "error"
    error: dict[str, Any] = shape["error"]
    return error


@pytest.mark.parametrize("draining", [False, True])
@pytest.mark.spec("server.healthz")
async def test_healthz_is_well_as_long_as_the_process_answers(*, draining: bool) -> None:
    answer = await asked("GET", "/loom/healthz", draining=draining, running=3)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.spec("server.readyz")
async def test_readyz_tells_how_many_exchanges_run_and_is_503_while_draining() -> None:
    ready = await asked("GET", "/loom/readyz", running=2)
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "exchanges": 2})
    draining = await asked("GET", "/loom/readyz", draining=True, running=1)
    assert (draining.status_code, draining.json()) == (503, {"status": "draining", "exchanges": 1})


@pytest.mark.spec("server.readyz", "server.healthz")
@pytest.mark.parametrize("path", ["/loom/healthz", "/loom/readyz"])
async def test_head_has_the_head_of_get(path: str) -> None:
    get, head = await asked("GET", path), await asked("HEAD", path)
    assert (head.status_code, head.headers) == (get.status_code, get.headers)


@pytest.mark.parametrize("path", ["/loom", "/loom/", "/loom/nothing", "/loom/healthz/", "/loom/healthz/x"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.spec("server.not-found")
async def test_what_is_not_there_is_a_404_in_json(method: str, path: str) -> None:
    answer = await asked(method, path)
    assert (answer.status_code, error_in(answer)["type"]) == (404, "not_found_error")
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
@pytest.mark.spec("server.not-found")
async def test_another_method_is_a_405_that_names_those_allowed(method: str) -> None:
    answer = await asked(method, "/loom/healthz")
    assert answer.status_code == 405
    assert error_in(answer) == {
        "type": "invalid_request_error",
        "message": f"{method} is not for /loom/healthz.",
    }
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


TOKEN = "loom_a-token-of-a-test"
TEAM = Gateway(Secret("key"), (ClientToken("ada", digest_of(TOKEN.encode())),))
REPORT = {"hook": "Stop", "session_id": "s-1"}


async def reported(
    body: bytes,
    gateway: Gateway | None = None,
    client: str = "127.0.0.1",
    headers: dict[str, str] | None = None,
) -> tuple[httpx.Response, list[tuple[TurnKey, str, str, str]]]:
    """What the page answers to a report, and what it told."""
    told: list[tuple[TurnKey, str, str, str]] = []
    page = hooks_page(gateway or Gateway(), lambda *it: told.append(it))
    pages = own_pages(lambda: False, lambda: 0, [Route("/loom/hooks", page, methods=["POST"])])
    transport = httpx.ASGITransport(pages, client=(client, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as asking:
        return await asking.post("/loom/hooks", content=body, headers=headers), told


@pytest.mark.spec("tracing.hooks-page")
async def test_a_hook_is_told_to_the_turn_it_names() -> None:
    known = {"agent_id": "a-1", "prompt_id": "p-1", "tool_use_id": "toolu_1", "other": [1]}
    answer, told = await reported(json.dumps(REPORT | known).encode())
    assert (answer.status_code, answer.content) == (204, b"")
    assert told == [(TurnKey("s-1", "a-1"), "Stop", "p-1", "toolu_1")]
    assert (await reported(json.dumps(REPORT).encode()))[1] == [(TurnKey("s-1", ""), "Stop", "", "")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 60_000,
        b'{"hook":"Stop"}',
        b'{"session_id":"s-1"}',
        b'{"hook":1,"session_id":["s-1"]}',
        json.dumps(REPORT | {"more": "x" * MAX_HOOK}).encode(),
    ],
    ids=lambda body: body[:20],
)
@pytest.mark.spec("tracing.hooks-page")
async def test_what_is_no_report_of_a_hook_is_a_400_and_told_to_nobody(body: bytes) -> None:
    answer, told = await reported(body)
    assert (answer.status_code, error_in(answer)["type"]) == (400, "invalid_request_error")
    assert told == []


@pytest.mark.spec("tracing.hooks-page")
async def test_ids_of_a_report_are_bounded() -> None:
    long = dict.fromkeys(("hook", "session_id", "agent_id", "prompt_id", "tool_use_id"), "x" * 1000)
    ((key, *words),) = (await reported(json.dumps(long).encode()))[1]
    assert {key.session, key.agent, *words} == {"x" * MAX_WORD}


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("127.0.0.1", {}, 204),
        ("10.0.0.7", {}, 401),
        ("127.0.0.1", {"host": "evil.example"}, 401),
        ("127.0.0.1", {"x-forwarded-for": "10.0.0.7"}, 401),
        ("10.0.0.7", {"authorization": f"Bearer {TOKEN}"}, 204),
        ("10.0.0.7", {"x-api-key": TOKEN}, 204),
        ("10.0.0.7", {"x-api-key": "loom_another-token"}, 401),
    ],
)
@pytest.mark.spec("tracing.hooks-page")
async def test_a_hook_reports_from_this_machine_or_with_a_client_token(
    client: str, headers: dict[str, str], status: int
) -> None:
    answer, told = await reported(json.dumps(REPORT).encode(), TEAM, client, headers)
    assert (answer.status_code, len(told)) == (status, int(status == 204))
    if status == 401:
        assert error_in(answer)["type"] == "authentication_error"


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.spec("server.not-found")
async def test_hooks_are_only_posted(method: str) -> None:
    page = hooks_page(Gateway(), lambda *_: None)
    pages = own_pages(lambda: False, lambda: 0, [Route("/loom/hooks", page, methods=["POST"])])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(pages), base_url="http://127.0.0.1") as client:
        answer = await client.request(method, "/loom/hooks")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
