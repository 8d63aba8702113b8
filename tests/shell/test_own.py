from typing import Any

import httpx
import pytest

from loom_shell.own import own_pages

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
