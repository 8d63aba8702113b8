import ast
import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loom_shell import hook
from loom_shell.turn_block import CANARY
from tests.support.store import valkey

SCRIPT = Path(hook.__file__)
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PROMPT = {
    "session_id": "4dc776f6-4073-416a-bc2c-eaab258436eb",
    "transcript_path": "/x/t.jsonl",
    "cwd": "/x",
    "hook_event_name": "UserPromptSubmit",
    "prompt_id": "p-1",
    "permission_mode": "default",
    "prompt": "héllo",
}
KEY = "sk-ant-dummy"
ALLOWED_IMPORTS = {"_thread", "collections.abc", "json", "os", "re", "select", "socket", "sys", "time"}
FORBIDDEN = {
    *("typing", "attr", "attrs", "uuid", "pathlib", "urllib", "urllib.parse", "ssl", "asyncio", "logging"),
    *(
        "site",
        "typer",
        "redis",
        "httpx",
        "opentelemetry",
        "subprocess",
        "email",
        "tempfile",
        "contextlib",
        "inspect",
    ),
}


def run(given: bytes, *flags: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """The hook as installed, in an environment of its own; it must end well and silently."""
    command = [sys.executable, "-I", "-S", *flags, str(SCRIPT)]
    env = {"ANTHROPIC_API_KEY": KEY, **environ}
    ran = subprocess.run(command, input=given, env=env, capture_output=True, timeout=20, check=False)
    assert ran.returncode == 0
    return ran


def answered(given: object, **environ: str) -> bytes:
    ran = run(json.dumps(given).encode(), **environ)
    assert ran.stderr == b""
    assert KEY.encode() not in ran.stdout
    return ran.stdout


def block(output: bytes) -> dict[str, object]:
    said = json.loads(output)["hookSpecificOutput"]
    assert set(said) == {"hookEventName", "additionalContext"}
    text = said["additionalContext"]
    assert text.startswith(f"{CANARY} {{")
    assert text.endswith(f"}} {CANARY}")
    told = json.loads(text[len(CANARY) : -len(CANARY)])
    assert isinstance(told, dict)
    return told


@pytest.mark.spec("hook.block")
def test_a_prompt_gets_a_block() -> None:
    before = time.time_ns()
    output = answered(PROMPT)
    assert json.loads(output)["hookSpecificOutput"]["hookEventName"] == "UserPromptSubmit"
    told = block(output)
    assert list(told)[:5] == ["canary", "session_id", "trace_id", "traceparent", "prompt_id"]
    assert {name: told[name] for name in ("session_id", "transcript_path", "cwd", "prompt_id", "prompt")} == {
        name: PROMPT[name] for name in ("session_id", "transcript_path", "cwd", "prompt_id", "prompt")
    }
    times = [told[name] for name in ("started_at", "hook_started_at", "hook_ended_at", "sent_at")]
    assert all(isinstance(at, int) and before <= at <= time.time_ns() for at in times)
    assert re.fullmatch(rf"00-{told['trace_id']}-[0-9a-f]{{16}}-01", str(told["traceparent"]))


@pytest.mark.spec("hook.block")
def test_each_block_has_ids_of_its_own() -> None:
    first, second = block(answered(PROMPT)), block(answered(PROMPT))
    for name in ("trace_id", "hook_span_id", "traceparent"):
        assert first[name] != second[name]


@pytest.mark.spec("hook.block", "hook.block-compact")
@pytest.mark.parametrize(
    ("source", "has"), [("startup", True), ("resume", True), ("clear", True), ("compact", False)]
)
def test_a_session_start_gets_a_block_unless_it_follows_a_compaction(source: str, *, has: bool) -> None:
    given = {"session_id": "s", "hook_event_name": "SessionStart", "source": source}
    output = answered(given)
    if has:
        assert json.loads(output)["hookSpecificOutput"]["hookEventName"] == "SessionStart"
        assert "source" not in block(output)
    else:
        assert output == b"{}\n"


@pytest.mark.spec("hook.traceparent")
def test_it_joins_the_trace_of_its_environment() -> None:
    told = block(answered(PROMPT, TRACEPARENT=f"00-{TRACE}-{SPAN}-01"))
    assert (told["trace_id"], told["parent_span_id"]) == (TRACE, SPAN)
    assert SPAN not in str(told["traceparent"])
    assert "parent_span_id" not in block(answered(PROMPT, TRACEPARENT="00-nonsense"))


@pytest.mark.spec("hook.environment")
def test_of_the_headers_only_the_profile_is_told() -> None:
    output = answered(
        PROMPT, ANTHROPIC_CUSTOM_HEADERS="Authorization: dummy-1\nX-Loom-Source:  me \nx: dummy-2"
    )
    assert block(output)["source"] == "me"
    assert b"dummy" not in output


def test_an_event_can_be_named_by_the_command_line() -> None:
    given = {name: value for name, value in PROMPT.items() if name != "hook_event_name"}
    command = [sys.executable, "-I", "-S", str(SCRIPT), "UserPromptSubmit"]
    ran = subprocess.run(
        command, input=json.dumps(given).encode(), env={}, capture_output=True, timeout=20, check=True
    )
    assert block(ran.stdout)["prompt"] == "héllo"


WRONG = [
    *(
        b"",
        b" ",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"x"',
        b"\x00\xff\xfe",
        b"NaN",
        b"[" * 100_000,
        b"{}",
        b'{"a":',
    ),
    *(b"1" * 5_000, json.dumps(PROMPT).encode("utf-16"), json.dumps(PROMPT).encode() + b"x"),
    *(json.dumps({**PROMPT, name: 1}).encode() for name in PROMPT if name != "permission_mode"),
    *(json.dumps({**PROMPT, "session_id": wrong}).encode() for wrong in ("", None, "x" * 201, ["x"])),
    json.dumps({**PROMPT, "hook_event_name": "SomethingNew"}).encode(),
]


@pytest.mark.spec("hook.harmless", "hook.exit")
@pytest.mark.parametrize("given", WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_gets_an_empty_object(given: bytes) -> None:
    ran = run(given, TRACEPARENT="x", LOOM_REDIS_URL="x", LOOM_URL="x")
    assert (ran.stdout, ran.stderr) == (b"{}\n", b"")


@pytest.mark.spec("hook.harmless", "hook.exit")
def test_more_than_the_limit_is_read_and_dropped() -> None:
    ran = run(json.dumps({**PROMPT, "prompt": "x" * hook.INPUT_LIMIT}).encode())
    assert (ran.stdout, ran.stderr) == (b"{}\n", b"")
    assert len(str(block(answered({**PROMPT, "prompt": "x" * (hook.INPUT_LIMIT - 2000)}))["prompt"])) > 1000


@pytest.mark.spec("hook.harmless", "hook.exit")
def test_input_that_does_not_end_is_given_up() -> None:
    command = [sys.executable, "-I", "-S", str(SCRIPT)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(b'{"session_id":')
        process.stdin.flush()
        assert process.wait(15) == 0
        assert (process.stdout.read(), process.stderr.read()) == (b"{}\n", b"")


@pytest.mark.spec("hook.exit")
@pytest.mark.parametrize("redirected", ["<&-", ">&-", "<&- >&- 2>&-", "| true"])
def test_closed_descriptors_do_no_harm(redirected: str) -> None:
    line = f"'{sys.executable}' -I -S '{SCRIPT}' {redirected}"
    ran = subprocess.run(
        ["sh", "-c", line], input=json.dumps(PROMPT).encode(), capture_output=True, timeout=20, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, b"")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
INPUTS = st.one_of(
    st.binary(max_size=300),
    JSON_VALUES.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {"hook_event_name": st.sampled_from(sorted(hook.BLOCK_EVENTS | hook.REPORTED_EVENTS)) | JSON_VALUES},
        optional=dict.fromkeys(
            ("session_id", "prompt", "cwd", "source", "tool_name"), st.text() | JSON_VALUES
        ),
    ).map(lambda value: json.dumps(value).encode()),
)


@pytest.mark.spec("hook.harmless")
@given(raw=INPUTS, traceparent=st.text(), url=st.text())
@example(raw=b"\xff", traceparent="", url="")
def test_any_answer_is_a_block_or_a_refusal(raw: bytes, traceparent: str, url: str) -> None:
    environ = {"TRACEPARENT": traceparent, "LOOM_REDIS_URL": url, "LOOM_URL": url, "ANTHROPIC_API_KEY": KEY}
    try:
        output, _after = hook.answer(raw, "", environ, 1)
    except Exception:  # noqa: BLE001 - what `main` turns into an empty object
        return
    assert output == hook.NOTHING or block(output)["session_id"]


@pytest.mark.spec("hook.block", "hook.store")
def test_what_is_done_afterwards_is_known_at_once(store: int) -> None:
    environ = {
        "LOOM_REDIS_URL": f"redis://127.0.0.1:{store}/2",
        "ANTHROPIC_CUSTOM_HEADERS": "x-loom-source: me",
    }
    given = {**PROMPT, "session_id": "in-process"}
    output, after = hook.answer(json.dumps(given).encode(), "", environ, 7)
    assert (block(output)["source"], block(output)["started_at"]) == ("me", 7)
    assert after is not None
    after()
    assert ask(store, "EXISTS", "turn_context:in-process") == b":1"
    for url in ("", "nonsense", "rediss://h"):
        assert hook.answer(json.dumps(given).encode(), "", {"LOOM_REDIS_URL": url}, 7)[1] is None
    compacted = {**PROMPT, "hook_event_name": "SessionStart", "source": "compact"}
    assert hook.answer(json.dumps(compacted).encode(), "", environ, 7) == (hook.NOTHING, None), "no Loom"
    near = {**environ, "LOOM_URL": "http://127.0.0.1:1"}
    output, after = hook.answer(json.dumps(compacted).encode(), "", near, 7)
    assert output == hook.NOTHING
    assert after is not None, "it is told of"


# The store and the Loom


@pytest.fixture(scope="module")
def store() -> Iterator[int]:
    with valkey() as server:
        yield server.port


def ask(port: int, *words: str) -> bytes:
    from loom_shell.redis_line import ask as ask_store  # noqa: PLC0415

    return ask_store(("", "", "127.0.0.1", port, 2), 5, words)


@pytest.mark.spec("hook.store")
def test_the_traceparent_is_stored_for_its_session(store: int) -> None:
    key = f"turn_context:{PROMPT['session_id']}"
    told = block(answered(PROMPT, LOOM_REDIS_URL=f"redis://127.0.0.1:{store}/2"))
    with socket.create_connection(("127.0.0.1", store), timeout=5) as connection:
        connection.sendall(b"SELECT 2\r\nGET %b\r\n" % key.encode())
        heard = b""
        while heard.count(b"\r\n") < 3:
            heard += connection.recv(4096)
    assert heard == b"+OK\r\n$55\r\n%b\r\n" % str(told["traceparent"]).encode()
    assert ask(store, "TTL", key) in {b":300", b":299", b":298"}


@pytest.mark.spec("hook.store")
@pytest.mark.parametrize(
    "given",
    [
        {**PROMPT, "session_id": "two words"},
        {**PROMPT, "session_id": "other", "hook_event_name": "SessionStart"},
        {**PROMPT, "session_id": "other", "hook_event_name": "Stop"},
    ],
)
def test_nothing_else_is_stored(store: int, given: dict[str, str]) -> None:
    answered(given, LOOM_REDIS_URL=f"redis://127.0.0.1:{store}/2")
    assert ask(store, "EXISTS", f"turn_context:{given['session_id']}") == b":0"


class Told(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.heard.append((self.path, dict(self.headers), json.loads(body)))  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@contextmanager
def listening() -> Iterator[tuple[int, list[tuple[str, dict[str, str], dict[str, object]]]]]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Told) as server:
        server.heard = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_port, server.heard  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            thread.join(5)


@pytest.mark.spec("hook.report")
@pytest.mark.parametrize("event", sorted(hook.REPORTED_EVENTS))
def test_an_event_is_told_to_the_loom_without_any_text(event: str) -> None:
    given = {
        **PROMPT,
        "hook_event_name": event,
        "agent_id": "a",
        "agent_type": "Explore",
        "tool_name": "Bash",
        "tool_use_id": "toolu_1",
        "trigger": "auto",
        "reason": "other",
        "tool_input": {"command": "secret text"},
        "last_assistant_message": "secret text",
        "compact_summary": "secret text",
    }
    before = time.time_ns()
    with listening() as (port, heard):
        output = answered(given, ANTHROPIC_BASE_URL=f"http://127.0.0.1:{port}", LOOM_HOOK_TOKEN="loom_dummy")
    assert output == b"{}\n"
    ((path, headers, body),) = heard
    assert path == "/loom/hooks"
    assert headers["authorization"] == "Bearer loom_dummy"
    at = body.pop("at")
    assert isinstance(at, int)
    assert before <= at <= time.time_ns()
    assert body == {
        "hook": event,
        "session_id": PROMPT["session_id"],
        "prompt_id": "p-1",
        "agent_id": "a",
        "agent_type": "Explore",
        "tool_name": "Bash",
        "tool_use_id": "toolu_1",
        "trigger": "auto",
        "reason": "other",
    }


@pytest.mark.spec("hook.report", "hook.environment")
def test_a_prompt_is_not_told() -> None:
    with listening() as (port, heard):
        answered(PROMPT, LOOM_URL=f"http://127.0.0.1:{port}", ANTHROPIC_BASE_URL=f"http://127.0.0.1:{port}")
        answered({**PROMPT, "hook_event_name": "Notification"}, LOOM_URL=f"http://127.0.0.1:{port}")
    assert heard == []


@pytest.mark.spec("hook.store-fails", "hook.report-fails")
@pytest.mark.parametrize("event", ["UserPromptSubmit", "Stop"])
@pytest.mark.parametrize("place", ["silent", "gone", "nowhere"])
def test_a_network_that_fails_costs_nothing_but_its_time(event: str, place: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        if place == "gone":
            silent.close()
        where = f"127.0.0.1:{port}" if place != "nowhere" else "no-such-host.invalid:1"
        environ = {"LOOM_REDIS_URL": f"redis://{where}", "LOOM_URL": f"http://{where}"}
        output = answered({**PROMPT, "hook_event_name": event}, **environ)
    assert output == b"{}\n" if event == "Stop" else block(output)


@pytest.mark.spec("hook.store-fails", "hook.report-fails")
def test_what_hangs_is_left_behind_in_time() -> None:
    hangs, ended = threading.Event(), threading.Event()

    def work() -> None:
        hangs.wait(20)
        ended.set()

    began = time.monotonic()
    hook.within(hook.NETWORK_SECONDS, work)
    took = time.monotonic() - began
    hangs.set()
    assert ended.wait(5)
    assert hook.NETWORK_SECONDS <= took < 1
    assert hook.NETWORK_SECONDS == 0.05


def test_what_fails_ends_the_wait_at_once() -> None:
    def work() -> None:
        raise OSError

    began = time.monotonic()
    hook.within(20, work)
    assert time.monotonic() - began < 10


# What it costs


@pytest.mark.spec("hook.imports")
@pytest.mark.parametrize(
    ("event", "network"), [("UserPromptSubmit", False), ("SessionStart", False), ("Stop", True)]
)
def test_little_is_imported(event: str, *, network: bool) -> None:
    environ = {"LOOM_URL": "http://127.0.0.1:1"} if network else {}
    ran = run(json.dumps({**PROMPT, "hook_event_name": event}).encode(), "-X", "importtime", **environ)
    imported = {line.rpartition(b"|")[2].strip().decode() for line in ran.stderr.splitlines()}
    assert "json" in imported
    assert not imported & FORBIDDEN
    assert ("socket" in imported) is network
    ours = {name for name in imported if name.startswith("loom_")}
    assert ours == {"loom_shell"} | (
        {"loom_shell.hook_report", "loom_shell.address"}
        if network
        else {"loom_shell.turn_block", "loom_shell.machine_facts"}
    )


@pytest.mark.spec("hook.imports")
@pytest.mark.parametrize(
    "name", ["hook", "turn_block", "machine_facts", "address", "redis_line", "hook_report", "__init__"]
)
def test_nothing_but_these_of_the_standard_library_is_named(name: str) -> None:
    named = set()
    for node in ast.walk(ast.parse(SCRIPT.with_name(f"{name}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named |= {it.name for it in node.names}
        elif isinstance(node, ast.ImportFrom):
            named.add(node.module or "")
    assert {it for it in named if not it.startswith("loom_shell")} <= ALLOWED_IMPORTS
    assert {it for it in named if it.startswith("loom_shell")} <= {"loom_shell", "loom_shell.address"}


@pytest.mark.spec("hook.exit", "hook.command")
def test_main_answers_writes_and_exits_with_0(monkeypatch: pytest.MonkeyPatch) -> None:
    class Exited(BaseException): ...

    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        raise Exited

    source, target = os.pipe(), os.pipe()
    os.write(source[1], json.dumps({**PROMPT, "hook_event_name": "Stop"}).encode())
    os.close(source[1])
    read, write = hook.read, hook.write
    with listening() as (port, heard):
        monkeypatch.setenv("LOOM_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setattr(sys, "argv", ["loom", "hook"])
        monkeypatch.setattr(hook, "read", lambda _: read(source[0]))
        monkeypatch.setattr(hook, "write", lambda _, output: write(target[1], output))
        monkeypatch.setattr(os, "_exit", leave)
        with pytest.raises(Exited):
            hook.main()
    assert codes == [0]
    assert os.read(target[0], 100) == b"{}\n"
    assert heard[0][2]["hook"] == "Stop"
    for one in (source[0], *target):
        os.close(one)
