import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount

from loom_core.lookup import Memory, Provenance, Question
from loom_shell.cortex import CortexKey, answers, body, cortex_pages, pages
from loom_shell.memory import Cortex, MemoryTroubleError, NewMemory, RemoteMemory
from loom_shell.memory.schema import FILE_NAME
from loom_shell.memory.verbatim import MAX_TEXT
from loom_shell.own import own_pages
from loom_shell.secret import Secret
from tests.support.cortex import KEY, RunningCortex, cortex

pytestmark = pytest.mark.anyio
NOW = 1_741_338_000_000_001_789
TOLD = "2025-03-07T09:00:00.000001"
HOUR = 3_600_000_000_000


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> int:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def it(tmp_path: Path, clock: Clock) -> AsyncIterator[RunningCortex]:
    async with cortex(tmp_path, clock=clock) as running:
        yield running


async def store(it: RunningCortex, content: str, **fields: Any) -> int:  # noqa: ANN401 - any JSON
    answer = await it.client.post("/store", json={"content": content, **fields})
    assert answer.status_code == 201
    own = answer.json()["id"]
    assert isinstance(own, int)
    return own


async def search(it: RunningCortex, **asked: Any) -> list[int]:  # noqa: ANN401 - any JSON
    answer = await it.client.post("/search", json=asked)
    assert answer.status_code == 200
    return [one["id"] for one in answer.json()["memories"]]


async def told(port: int, sent: bytes) -> tuple[int, bytes, Any]:
    """Status, head and body of the answer to bytes as they stand."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    content = await asyncio.wait_for(reader.readexactly(int(length.split(b":")[1])), 10)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return int(head.split()[1]), head, json.loads(content)


@pytest.mark.spec("cortex.store", "cortex.tags", "cortex.search", "cortex.ids", "cortex.get")
async def test_a_caller_that_knows_only_the_contract_is_served_to_the_letter(it: RunningCortex) -> None:
    sent = json.dumps({"content": "Pebble is a whippet.", "tags": ["dogs", "dogs", "home"]}).encode()
    lines = f"host: h\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\ncontent-length: "
    status, head, stored = await told(
        it.port, b"POST /store HTTP/1.1\r\n%s%d\r\n\r\n%s" % (lines.encode(), len(sent), sent)
    )
    assert (status, stored) == (201, {"id": 1, "created_at": f"{TOLD}+00:00"})
    assert b"content-type: application/json\r\n" in head
    asked = b'{"query": "whippets"}'
    status, _, found = await told(
        it.port, b"POST /search HTTP/1.1\r\n%s%d\r\n\r\n%s" % (lines.encode(), len(asked), asked)
    )
    memory = {
        "content": "Pebble is a whippet.",
        "created_at": f"{TOLD}+00:00",
        "id": 1,
        "tags": ["dogs", "dogs", "home"],
    }
    score = found["memories"][0].pop("score")
    assert (status, found) == (200, {"memories": [memory]})
    assert score > 0
    status, _, got = await told(
        it.port, f"GET /get/1 HTTP/1.1\r\nhost: h\r\nX-API-Key: {KEY}\r\n\r\n".encode()
    )
    assert (status, got) == (200, {**memory, "score": 0.0})


@pytest.mark.spec("cortex.store")
@pytest.mark.parametrize(
    ("zone", "created"),
    [
        (None, f"{TOLD}+00:00"),
        ("", f"{TOLD}+00:00"),
        ("UTC", f"{TOLD}+00:00"),
        ("Asia/Tokyo", "2025-03-07T18:00:00.000001+09:00"),
        ("No/Such_Place", f"{TOLD}+00:00"),
        ("America", f"{TOLD}+00:00"),
    ],
)
async def test_the_moment_is_told_in_the_zone_that_was_named(
    it: RunningCortex, zone: str | None, created: str
) -> None:
    answer = await it.client.post("/store", json={"content": "x", "timezone": zone})
    assert answer.json() == {"id": 1, "created_at": created}
    assert (await it.client.get("/get/1")).json()["created_at"] == f"{TOLD}+00:00"


@pytest.mark.spec("cortex.search", "cortex.tells-forgotten", "cortex.ids")
async def test_a_search_heeds_each_of_its_fields(it: RunningCortex, clock: Clock) -> None:
    for day in range(4):
        clock.at = NOW + day * 24 * HOUR
        assert await store(it, f"green tea, cup number {day + 1}") == day + 1
    assert await search(it, query="tea", limit=2) == [4, 3]
    assert await search(it, query="TEA, CUP NUMBER 2", exact=True) == [2]
    assert await search(it, query="cup tea", exact=True) == []
    assert await search(it, query="tea", after="2025-03-08", before="2025-03-09T23:00:00+01:00") == [3, 2]
    assert await search(it, query="tea", exclude=[1, "2", "x"]) == [4, 3]
    assert await search(it, query="tea", min_score=1e6) == []
    await it.client.post("/forget", json={"id": 4})
    assert await search(it, query="tea") == [3, 2, 1]
    nothing = {
        "limit": None,
        "exact": None,
        "after": None,
        "before": None,
        "exclude": None,
        "min_score": None,
    }
    asked = {"query": "tea", "include_forgotten": True, **nothing, "unknown": 1}
    found = (await it.client.post("/search", json=asked)).json()["memories"]
    assert {one["id"]: one.get("forgotten") for one in found} == {4: True, 3: None, 2: None, 1: None}
    left_out = (await it.client.post("/search", json={"query": "tea", "exclude": [3, 4, 99]})).json()
    assert ([one["id"] for one in left_out["memories"]], left_out["forgotten"]) == ([2, 1], [4])
    for plain in ({"query": "tea"}, {"query": "tea", "exclude": []}):
        assert "forgotten" not in (await it.client.post("/search", json=plain)).json()


@pytest.mark.spec("cortex.recent")
async def test_the_newest_come_first_and_within_so_many_hours(it: RunningCortex, clock: Clock) -> None:
    for hour in range(13):
        clock.at = NOW + hour * HOUR
        await store(it, f"at {hour}")

    async def newest(query: str) -> list[int]:
        return [one["id"] for one in (await it.client.get(f"/recent{query}")).json()["memories"]]

    assert await newest("") == list(range(13, 3, -1)), "ten, unless told"
    assert await newest("?limit=2") == [13, 12]
    assert await newest("?limit=99&hours=1.5") == [13, 12]
    assert len(await newest("?limit=999999&hours=999999999")) == 13
    assert len(await newest("?limit=99&hours=0")) == 13


@pytest.mark.spec("cortex.forget", "cortex.get", "cortex.ids")
async def test_what_is_forgotten_is_gone_and_forgotten_again(it: RunningCortex) -> None:
    await store(it, "one")
    for own in (1, "1"):
        answer = await it.client.post("/forget", json={"id": own})
        assert (answer.status_code, answer.json()) == (200, {"id": 1, "forgotten": True})
    assert (await it.client.get("/get/1")).status_code == 404
    for unknown in (2, "2", 0, -1, "one", "", "9" * 40, 2**62):
        answer = await it.client.post("/forget", json={"id": unknown})
        assert answer.status_code == 404
        assert answer.json() == {"detail": "There is no such memory, or it is forgotten."}
    for path in ("/get/2", "/get/one", "/get/%00", "/get/-1"):
        assert (await it.client.get(path)).status_code == 404


@pytest.mark.spec("cortex.adapter", "cortex.announce", "memory.remote", "cortex.tags")
async def test_the_looms_own_adapter_is_served_as_by_the_embedded_memory(it: RunningCortex) -> None:
    remote = RemoteMemory(it.url, Secret(KEY), lambda: NOW)
    new = NewMemory("The loom.\x00 sk-ant-abcdef123456", 5, Provenance.WEB, "alpha", "s/1 ß", ("idea",))
    stored = await remote.put(new)
    assert stored == Memory("1", "The loom. [redacted: anthropic key]", NOW // 1_000 * 1_000, Provenance.WEB)
    assert it.said == [("s/1 ß", "1")]
    question = Question("loom", "alpha", provenance=frozenset(Provenance), deadline=HOUR)
    assert (await remote.search(question)).memories == (await it.memory.search(question)).memories != ()
    assert await remote.get("1") == await it.memory.get("1") == stored
    assert await remote.recent(5) == await it.memory.recent(5) == (stored,)
    beta = Question("loom", "beta", provenance=frozenset(Provenance), deadline=HOUR)
    assert (await remote.search(beta)).memories == (await it.memory.search(beta)).memories == ()
    await it.memory.put(NewMemory("A loom of mine.", stored.at, scope="beta"))
    assert await remote.search(beta) == await it.memory.search(beta)
    assert await remote.forget("1")
    assert await remote.forget("1")
    assert not await remote.forget("9")
    again = Question("loom", exclude=("1", "2", "9"), deadline=HOUR)
    assert (await remote.search(again)).forgotten == (await it.memory.search(again)).forgotten == ("1",)
    assert await remote.health() == ""
    await remote.aclose()


@pytest.mark.spec("cortex.bounds", "cortex.adapter")
async def test_an_answer_stays_within_what_its_readers_read(it: RunningCortex) -> None:
    for _ in range(20):
        await it.memory.put(NewMemory('tea "' + '"' * (MAX_TEXT - 9), NOW))
    await it.memory.put(NewMemory("tea", NOW - 1))
    answer = await it.client.post("/search", json={"query": "tea", "limit": 100})
    assert len(answer.content) <= answers.MOST_BYTES + 100
    assert 5 <= len(answer.json()["memories"]) < 21
    assert len((await it.client.get("/recent?limit=100")).content) <= answers.MOST_BYTES + 100
    remote = RemoteMemory(it.url, Secret(KEY), lambda: NOW)
    recalled = await remote.search(Question("tea", deadline=HOUR))
    assert (recalled.trouble, [one.text for one in recalled.memories]) == ("", ["tea"])
    await remote.aclose()


@pytest.mark.spec("cortex.announce")
async def test_only_who_names_a_session_is_announced(it: RunningCortex) -> None:
    for header in ("s-1", "%20s%2D2%09", "", "%0A%00", "ß".encode("latin-1")):
        answer = await it.client.post("/store", json={"content": "x"}, headers={"x-session-id": header})
        assert answer.status_code == 201
    assert it.said == [("s-1", "1"), ("s-2", "2"), ("ß", "5")]
    answer = await it.client.post("/store", json={"content": "x"}, headers={"x-session-id": "s" * 257})
    assert (answer.status_code, len(it.said)) == (422, 3)


@pytest.mark.spec("cortex.key", "cortex.key-secret")
@pytest.mark.parametrize(
    "keys",
    [[], [""], ["wrong"], [KEY[:-1]], [KEY + "x"], [KEY.upper()], [KEY, KEY], [KEY, "x"], ["ключ".encode()]],
)
async def test_without_the_key_nothing_is_said_but_health(it: RunningCortex, keys: list[str | bytes]) -> None:
    await store(it, "a secret plan")
    asks = [
        ("POST", "/store", {"content": "x"}),
        ("POST", "/search", {"query": "plan"}),
        ("GET", "/recent", None),
        ("GET", "/get/1", None),
        ("POST", "/forget", {"id": 1}),
        ("POST", "/search", "no search"),
    ]
    lines = [(b"x-api-key", one if isinstance(one, bytes) else one.encode()) for one in keys]
    async with httpx.AsyncClient(base_url=it.url, trust_env=False) as stranger:
        for method, path, asked in asks:
            answer = await stranger.request(method, path, json=asked, headers=lines)
            assert (answer.status_code, KEY in answer.text) == (401, False)
        assert (await stranger.get("/health", headers=lines)).json() == {"status": "ok"}
    assert [one.text for one in await it.memory.recent(9)] == ["a secret plan"]


@pytest.mark.spec("cortex.wrong")
@pytest.mark.parametrize(
    ("path", "sent", "told"),
    [
        ("/store", b"", "must be one JSON object"),
        ("/store", b"\xff", "must be one JSON object"),
        ("/store", b"[" * 5_000, "must be one JSON object"),
        ("/store", b"[]", "Expected `object`, got `array`"),
        ("/store", b"{}", "missing required field `content`"),
        ("/store", b'{"content": 1}', "Expected `str`, got `int` - at `content`"),
        ("/store", b'{"content": " "}', "its text is empty"),
        ("/store", b'{"content": "%s"}' % (b"x" * 65_537), "longer than 65536 bytes"),
        ("/store", b'{"content": "x", "tags": "y"}', "at `tags`"),
        ("/store", b'{"content": "x", "tags": [1]}', "at `tags[0]`"),
        ("/store", b'{"content": "x", "tags": [%s""]}' % (b'"",' * 32), "at most 32 tags"),
        ("/store", b'{"content": "x", "tags": ["provenance:king"]}', "says one of user, assistant, tool"),
        ("/store", b'{"content": "x", "timezone": "../../etc/passwd"}', "timezone must be a name"),
        ("/search", b"{}", "missing required field `query`"),
        ("/search", b'{"query": "x", "limit": 0}', "`int` >= 1 - at `limit`"),
        ("/search", b'{"query": "x", "limit": true}', "at `limit`"),
        ("/search", b'{"query": "x", "exclude": [1.5]}', "at `exclude[0]`"),
        ("/search", b'{"query": "x", "after": "yesterday"}', "after must be a moment in ISO 8601"),
        ("/search", b'{"query": "x", "before": "0000"}', "before must be a moment in ISO 8601"),
        ("/search", b'{"query": "x", "min_score": "high"}', "at `min_score`"),
        ("/search", b'{"query": "x", "exact": "yes"}', "at `exact`"),
        ("/forget", b'{"id": null}', "at `id`"),
        ("/forget", b"1", "Expected `object`"),
    ],
)
async def test_a_wrong_body_is_one_sentence(it: RunningCortex, path: str, sent: bytes, told: str) -> None:
    answer = await it.client.post(path, content=sent)
    assert answer.status_code == 422
    assert set(answer.json()) == {"detail"}
    sentence = answer.json()["detail"]
    assert told in sentence
    assert sentence.isprintable()
    assert len(sentence) < 300
    assert await it.memory.recent(9) == ()


@pytest.mark.spec("cortex.wrong")
@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=1.5", "limit=", "hours=-1", "hours=%D9%A3", "limit=1e3"]
)
async def test_a_wrong_query_is_one_sentence(it: RunningCortex, query: str) -> None:
    answer = await it.client.get(f"/recent?{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(query.partition("=")[0])


@pytest.mark.spec("cortex.store", "cortex.wrong")
async def test_half_a_character_is_no_reason_to_refuse_a_text(it: RunningCortex) -> None:
    answer = await it.client.post("/store", content=b'{"content": "half \\ud83d of it"}')
    assert answer.status_code == 201
    assert (await it.client.get("/get/1")).json()["content"] == "half \ufffd of it"


@pytest.mark.spec("cortex.body")
async def test_a_body_that_is_too_long_is_told_so_also_where_nobody_is_known(it: RunningCortex) -> None:
    for headers in ({}, {"x-api-key": "wrong"}):
        answer = await it.client.post("/store", content=b"x" * (2 * body.MOST), headers=headers)
        assert answer.status_code == 413
        assert answer.json() == {"detail": f"The body may have at most {body.MOST} bytes."}
    full = json.dumps({"content": "\u00df" * (MAX_TEXT // 2)}).encode()
    assert (await it.client.post("/store", content=full)).status_code == 201
    assert (await it.client.request("GET", "/health", content=b"x" * (2 * body.MOST))).status_code == 413
    assert (await it.client.post("/nowhere", content=b"x" * (2 * body.MOST))).status_code == 413


@pytest.mark.spec("cortex.body")
async def test_a_body_without_end_is_not_read_for_ever(it: RunningCortex) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536

    # The answer may come while the client still writes, and does not look.
    with contextlib.suppress(httpx.TransportError):
        assert (await it.client.post("/store", content=endless())).status_code == 413
    assert await store(it, "and it goes on") == 1


@pytest.mark.spec("cortex.body")
@pytest.mark.parametrize("path", [b"/store", b"/health", b"/nowhere"])
async def test_a_body_that_does_not_come_is_not_waited_for(
    it: RunningCortex, monkeypatch: pytest.MonkeyPatch, path: bytes
) -> None:
    monkeypatch.setattr(body, "SECONDS", 0.05)
    status, head, said = await told(
        it.port, b"POST %s HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nx" % path
    )
    assert (status, said) == (408, {"detail": "The body did not come within 0.05 seconds."})
    assert b"connection: close\r\n" in head


@pytest.mark.spec("cortex.body")
async def test_a_client_that_leaves_in_its_body_costs_nothing(it: RunningCortex) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", it.port)
    writer.write(
        f"POST /store HTTP/1.1\r\nhost: h\r\nx-api-key: {KEY}\r\ncontent-length: 99\r\n\r\n{{".encode()
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert await store(it, "next") == 1
    assert len(await it.memory.recent(9)) == 1


@pytest.mark.spec("cortex.unwell", "cortex.health")
async def test_a_memory_in_trouble_is_a_503_until_it_is_well(
    it: RunningCortex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "HEALTH_SECONDS", 0.0)
    file = tmp_path / FILE_NAME
    file.write_bytes(b"no database " * 1_000)
    answer = await it.client.post("/search", json={"query": "x"})
    assert (answer.status_code, "is damaged" in answer.json()["detail"]) == (503, True)
    assert (await it.client.get("/recent")).status_code == 503
    health = await it.client.get("/health")
    assert (health.status_code, health.json()) == (503, {"status": "unwell"})
    file.unlink()
    assert (await it.client.get("/health")).json() == {"status": "ok"}
    assert await store(it, "well again") == 1


@pytest.mark.spec("cortex.health")
async def test_health_is_looked_at_once_a_second(it: RunningCortex, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def health() -> str:
        asked.append(1)
        return ""

    monkeypatch.setattr(pages, "HEALTH_SECONDS", 1_000.0)
    monkeypatch.setattr(it.memory, "health", health)
    for _ in range(5):
        assert (await it.client.get("/health")).status_code == 200
    assert len(asked) == 1


@pytest.mark.spec("cortex.unwell", "cortex.key-file")
async def test_a_key_file_in_trouble_is_a_503_and_no_open_door(tmp_path: Path) -> None:
    key = CortexKey(tmp_path)
    memory = Cortex(tmp_path)
    key.file.mkdir()
    transport = httpx.ASGITransport(cortex_pages(memory, key, lambda *_: None))
    async with httpx.AsyncClient(transport=transport, base_url="http://h") as client:
        answer = await client.get("/recent", headers={"x-api-key": ""})
        assert (answer.status_code, "cannot read" in answer.json()["detail"]) == (503, True)
        key.file.rmdir()
        assert (await client.get("/recent")).status_code == 401
        mine = {"x-api-key": key.file.read_text().strip()}
        assert (await client.get("/recent", headers=mine)).json() == {"memories": []}
    await memory.aclose()


@pytest.mark.spec("cortex.unknown")
async def test_what_is_no_page_is_told_so_in_json(it: RunningCortex) -> None:
    for path in ("/", "/stores", "/store/", "/get", "/get/1/2", "/docs", "//health"):
        answer = await it.client.get(path)
        assert (answer.status_code, set(answer.json())) == (404, {"detail"})
    for method, path in (("GET", "/store"), ("DELETE", "/get/1"), ("PUT", "/forget"), ("POST", "/recent")):
        answer = await it.client.request(method, path)
        assert (answer.status_code, set(answer.json())) == (405, {"detail"})
        assert answer.headers["allow"]


@pytest.mark.spec("cortex.adapter", "cortex.unknown")
async def test_it_is_the_same_under_a_page_of_the_loom(tmp_path: Path) -> None:
    memory = Cortex(tmp_path)
    mounted = Mount("/loom/cortex", cortex_pages(memory, CortexKey(tmp_path, Secret(KEY)), lambda *_: None))
    app: Starlette = own_pages(lambda: False, lambda: 0, [mounted])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://h") as client:
        client.headers["x-api-key"] = KEY
        assert (await client.post("/loom/cortex/store", json={"content": "x"})).json()["id"] == 1
        assert (await client.get("/loom/cortex/get/1")).json()["content"] == "x"
        assert (await client.get("/loom/cortex/recent?limit=1")).json()["memories"][0]["id"] == 1
        assert (await client.get("/loom/cortex/health")).status_code == 200
        assert (await client.get("/loom/cortex/nowhere")).json()["detail"].startswith("There is no such page")
        assert (await client.get("/loom/healthz")).status_code == 200
    await memory.aclose()


@pytest.mark.spec("cortex.wrong", "cortex.body")
@given(
    st.sampled_from(("/store", "/search", "/forget", "/recent", "/get/1", "/health")),
    st.sampled_from(("GET", "POST")),
    st.binary(max_size=60)
    | st.dictionaries(
        st.sampled_from(("content", "tags", "query", "limit", "exclude", "id", "after", "timezone")),
        st.none()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=9)
        | st.lists(st.text(max_size=4), max_size=3),
    ).map(lambda told: json.dumps(told).encode()),
)
async def test_no_request_is_answered_with_a_fault_of_ours(
    tmp_path_factory: pytest.TempPathFactory, path: str, method: str, sent: bytes
) -> None:
    home = tmp_path_factory.getbasetemp() / "cortex"
    memory = Cortex(home)
    app = cortex_pages(memory, CortexKey(home, Secret(KEY)), lambda *_: None)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://h") as client:
        answer = await client.request(method, path, content=sent, headers={"x-api-key": KEY})
    assert answer.status_code in {200, 201, 404, 405, 422}
    json.loads(answer.content)
    await memory.aclose()


@pytest.mark.spec("cortex.announce", "cortex.unwell")
async def test_nothing_is_announced_that_was_not_stored(
    it: RunningCortex, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def put(_: NewMemory) -> Memory:
        raise MemoryTroubleError("the memory is full: make room on its disk")

    monkeypatch.setattr(it.memory, "put", put)
    answer = await it.client.post("/store", json={"content": "x"}, headers={"x-session-id": "s"})
    assert (answer.status_code, it.said) == (503, [])
    assert answer.json() == {"detail": "the memory is full: make room on its disk"}
    assert list(it.memory.path.parent.iterdir()) == []
