import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from loom_core.lookup import Memory, Provenance, Question, Recalled
from loom_shell.memory import MemoryTroubleError, NewMemory, RemoteMemory, TextRefusedError, remote
from loom_shell.secret import Secret

pytestmark = pytest.mark.anyio
KEY = "cortex-key-1234567890"
HOUR = 3_600_000_000_000
NOW = 1_741_338_000_000_000_000
DAY = "2025-03-07T09:00:00Z"


class Kept:
    """A memory that speaks the contract, or answers whatever `status`, `body` and `lines` say."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.status, self.body = 0, b""
        self.lines: dict[str, str] = {}
        self.waits: threading.Event | None = None
        self.url = ""

    def answer(self, method: str, target: str, headers: dict[str, str], asked: Any) -> tuple[int, object]:  # noqa: ANN401 - any JSON
        self.asked.append((method, target, headers, asked))
        path = urlsplit(target).path
        if path != "/health" and headers.get("x-api-key") != KEY:
            return 401, {"detail": f"wrong key {headers.get('x-api-key')}"}
        match method, path.split("/")[1:]:
            case "POST", ["store"]:
                item = {"id": f"m{len(self.items) + 1}", "created_at": DAY, "score": 1.0, **asked}
                self.items.append(item)
                return 201, {"id": item["id"], "created_at": DAY}
            case "POST", ["search"]:
                found = [it for it in self.items if it["id"] not in asked["exclude"]]
                return 200, {"memories": found[: asked["limit"]]}
            case "GET", ["recent"]:
                return 200, {"memories": self.items[: int(parse_qs(urlsplit(target).query)["limit"][0])]}
            case "GET", ["get", own]:
                return next(((200, it) for it in self.items if it["id"] == own), (404, {}))
            case "POST", ["forget"]:
                known = [it for it in self.items if it["id"] == asked["id"]]
                self.items = [it for it in self.items if it not in known]
                return (200, {"forgotten": True}) if known else (404, {})
            case "GET", ["health"]:
                return 200, {"status": "ok"}
            case _:
                return 404, {}


@pytest.fixture
def kept() -> Iterator[Kept]:
    it = Kept()

    class Once(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            sent = self.rfile.read(int(self.headers.get("content-length", 0)))
            lines = {name.lower(): text for name, text in self.headers.items()}
            status, told = it.answer(self.command, self.path, lines, json.loads(sent) if sent else None)
            if it.waits:
                it.waits.wait(20)
            content = it.body or json.dumps(told).encode()
            self.send_response(it.status or status)
            for name, text in {"content-length": f"{len(content)}", **it.lines}.items():
                self.send_header(name, text)
            self.end_headers()
            try:
                self.wfile.write(content)
            except OSError:
                self.close_connection = True

        do_POST = do_GET  # noqa: N815 - the name the base class looks for

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Once) as server:
        server.daemon_threads = True
        it.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield it
        finally:
            if it.waits:
                it.waits.set()
            server.shutdown()
            thread.join()


@pytest.fixture
async def memory(kept: Kept) -> AsyncIterator[RemoteMemory]:
    made = RemoteMemory(f"{kept.url}/", Secret(KEY), lambda: NOW)
    yield made
    await made.aclose()


@pytest.mark.spec("memory.remote")
async def test_what_was_stored_is_found_got_shown_and_forgotten(kept: Kept, memory: RemoteMemory) -> None:
    new = NewMemory("The loom.\x00 sk-ant-abcdef123456", 5, Provenance.USER, scope="alpha", session="s/1")
    stored = await memory.put(new)
    assert stored == Memory("m1", "The loom. [redacted: anthropic key]", NOW, Provenance.USER)
    method, target, headers, body = kept.asked[0]
    assert (method, target) == ("POST", "/store")
    assert (headers["x-api-key"], headers["x-session-id"]) == (KEY, "s%2F1")
    assert body == {
        "content": stored.text,
        "tags": ["provenance:user", "scope:alpha", "session:s/1"],
        "timezone": "UTC",
    }
    (found,) = (await memory.search(Question("loom", deadline=HOUR))).memories
    assert found == Memory("m1", stored.text, NOW, Provenance.USER, 1.0)
    assert await memory.get("m1") == found
    assert await memory.recent(5) == (found,)
    assert await memory.forget("m1")
    assert not await memory.forget("m1")
    assert await memory.get("m1") is None
    assert await memory.health() == ""


@pytest.mark.spec("memory.remote", "memory.wanted")
async def test_a_search_asks_as_the_contract_says_and_looks_at_what_comes(
    kept: Kept, memory: RemoteMemory
) -> None:
    for i, tag in enumerate(("provenance:web", "scope:beta", "none"), start=1):
        kept.items.append({"id": i, "content": "x" * 40, "created_at": DAY, "score": i, "tags": [tag]})
    question = Question("lo\ud800om", "alpha", 2, 400, ("9", "no id"), min_score=0.5, deadline=HOUR)
    assert [one.id for one in (await memory.search(question)).memories] == ["3"]
    wanted = {"query": "lo\ufffdom", "limit": 22, "exclude": ["9"], "min_score": 0.5}
    assert kept.asked[-1][3] == wanted
    assert (await memory.search(Question("loom", budget=9, deadline=HOUR))).memories == ()
    before = len(kept.asked)
    for nothing in (Question(" "), Question("x", limit=0), Question("x", budget=0)):
        assert await memory.search(nothing) == Recalled()
    assert len(kept.asked) == before


@pytest.mark.spec("memory.remote-forgotten", "memory.tells-forgotten")
async def test_of_what_it_leaves_out_it_learns_what_was_forgotten(kept: Kept, memory: RemoteMemory) -> None:
    question = Question("loom", exclude=("m1", "9", "no id"), deadline=HOUR)
    assert (await memory.search(question)).forgotten == ()
    kept.body = b'{"memories": [], "forgotten": [9, "m2", "no id"]}'
    assert (await memory.search(question)).forgotten == ("9",), "and nothing it did not ask about"


@pytest.mark.spec("memory.remote")
async def test_tags_go_with_what_is_stored(kept: Kept, memory: RemoteMemory) -> None:
    await memory.put(NewMemory("The loom.", 5, tags=("idea", "sk-ant-abcdef123456")))
    assert kept.asked[0][3]["tags"] == ["provenance:user", "idea", "[redacted: anthropic key]"]


@pytest.mark.spec("memory.remote")
async def test_the_newest_are_asked_for_in_hours_and_sorted_here(kept: Kept, memory: RemoteMemory) -> None:
    for i, hour in enumerate(("07", "08", "06"), start=1):
        kept.items.append({"id": i, "content": "x", "created_at": f"2025-03-07T{hour}:00:00Z"})
    assert [one.id for one in await memory.recent(3, NOW - 2 * HOUR - 1)] == ["2", "1"]
    assert kept.asked[-1][1] == "/recent?limit=3&hours=3"
    assert len(await memory.recent(3)) == 3
    assert kept.asked[-1][1] == "/recent?limit=3"


@pytest.mark.spec("memory.remote-status")
@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, "refuses the key: correct it"),
        (404, "does not know what it was asked: correct its address"),
        (422, "does not take what it was asked"),
        (503, "is not well"),
        (500, "answered with status 500"),
        (302, "answered with status 302"),
    ],
)
async def test_each_status_is_a_trouble_of_its_own(
    kept: Kept, memory: RemoteMemory, status: int, told: str
) -> None:
    kept.status, kept.lines = status, {"location": f"{kept.url}/elsewhere"}
    wanted = f"the memory at {kept.url} {told}"
    assert await memory.search(Question("x", deadline=HOUR)) == Recalled(trouble=wanted)
    assert await memory.health() == wanted
    with pytest.raises(MemoryTroubleError) as refused:
        await memory.put(NewMemory("x", 1))
    assert str(refused.value) == wanted
    with pytest.raises(MemoryTroubleError):
        await memory.recent(1)
    if status != 404:
        with pytest.raises(MemoryTroubleError):
            await memory.forget("m1")
    assert all("elsewhere" not in target for _, target, _, _ in kept.asked)


@pytest.mark.spec("memory.remote-status", "memory.close")
async def test_a_memory_that_cannot_be_reached_or_is_closed_says_so(kept: Kept) -> None:
    memory = RemoteMemory("http://127.0.0.1:1", Secret(KEY), lambda: NOW)
    recalled = await memory.search(Question("x", deadline=HOUR))
    assert recalled.trouble == "no memory answers at http://127.0.0.1:1: start it there"
    await memory.aclose()
    assert await memory.search(Question("x")) == Recalled(trouble="the memory is closed")


@pytest.mark.spec("memory.deadline", "memory.remote")
async def test_a_slow_memory_is_left_at_the_deadline(kept: Kept, memory: RemoteMemory) -> None:
    kept.waits = threading.Event()
    assert await memory.search(Question("x", deadline=30_000_000)) == Recalled(trouble="timed out")
    assert await memory.search(Question("x", deadline=-1)) == Recalled(trouble="timed out")


@pytest.mark.spec("memory.remote-bounds")
async def test_odd_answers_are_told_and_what_is_sound_in_them_is_used(
    kept: Kept, memory: RemoteMemory
) -> None:
    good = {"id": 1, "content": "x", "created_at": DAY}
    kept.body = json.dumps({"memories": [good, {}, {**good, "id": "/"}]}).encode()
    recalled = await memory.search(Question("x", deadline=HOUR))
    assert [one.id for one in recalled.memories] == ["1"]
    assert recalled.trouble == f"the memory at {kept.url} sent 2 memories that make no sense"
    nonsense = f"what answers at {kept.url} is no memory: its answer makes no sense"
    kept.body = b"<html>"
    assert await memory.search(Question("x", deadline=HOUR)) == Recalled(trouble=nonsense)
    for asking in (memory.put(NewMemory("x", 1)), memory.get("m1"), memory.recent(1)):
        with pytest.raises(MemoryTroubleError) as refused:
            await asking
        assert str(refused.value) == nonsense


@pytest.mark.spec("memory.remote-bounds")
async def test_an_answer_that_is_too_large_or_packed_is_not_read(kept: Kept, memory: RemoteMemory) -> None:
    kept.body = b'{"memories": [' + b" " * remote.MAX_ANSWER + b"]}"
    recalled = await memory.search(Question("x", deadline=HOUR))
    assert recalled.trouble == f"the memory at {kept.url} sent more than 1000000 bytes"
    kept.body, kept.lines = b"x", {"content-encoding": "gzip"}
    assert "makes no sense" in (await memory.search(Question("x", deadline=HOUR))).trouble
    assert kept.asked[-1][2]["accept-encoding"] == "identity"


@pytest.mark.spec("memory.refused")
async def test_what_cannot_be_stored_or_named_is_not_sent(kept: Kept, memory: RemoteMemory) -> None:
    with pytest.raises(TextRefusedError):
        await memory.put(NewMemory(" ", 1))
    assert not await memory.forget("../x")
    assert await memory.get("../x") is None
    assert kept.asked == []


@pytest.mark.spec("memory.remote-key")
async def test_the_key_is_in_no_trouble_and_no_repr(kept: Kept) -> None:
    wrong = RemoteMemory(kept.url, Secret("another-key"), lambda: NOW)
    told = [(await wrong.search(Question("x", deadline=HOUR))).trouble, repr(wrong), repr(vars(wrong))]
    await wrong.aclose()
    assert "refuses the key" in told[0]
    for key in ("two words", "line\nbreak", "ключ", ""):
        with pytest.raises(MemoryTroubleError) as refused:
            RemoteMemory(kept.url, Secret(key), lambda: NOW)
        told.append(f"{refused.value!r} {refused.value.__cause__!r}")
        assert not key or key not in told[-1]
    assert all("another-key" not in one for one in told)


@pytest.mark.spec("memory.remote-status")
@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://host", "must be an http or https URL"),
        ("nonsense", "must be an http or https URL"),
        ("http://", "must be an http or https URL"),
        ("http://host:port", "must be an http or https URL"),
        ("http://user:word@host", "must hold no user, password"),
        ("http://host/?key=x", "must hold no user, password"),
    ],
)
async def test_a_wrong_address_is_refused(url: str, told: str) -> None:
    with pytest.raises(MemoryTroubleError, match=told):
        RemoteMemory(url, Secret(KEY), lambda: NOW)
