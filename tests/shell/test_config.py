import ast
from hashlib import sha256
from pathlib import Path

import attrs
import msgspec
import pytest

from loom_core.rules import SECOND, Content, Retry, Rules, Tracing
from loom_shell.config import (
    Config,
    ConfigError,
    Cortex,
    Intro,
    Journal,
    Origin,
    is_loopback,
    load,
    tokens_file,
)
from loom_shell.endpoints import Endpoint, TelemetrySettings
from loom_shell.gateway import ClientToken, Gateway, write_tokens
from loom_shell.redis_url import Redis
from loom_shell.scribe_url import postgres
from loom_shell.secret import Secret
from loom_shell.transcript_roots import Roots

KEY = "sk-ant-dummy"
TOKEN = ClientToken("one", sha256(b"loom_x").digest())


class Case:
    """One user: a home folder, an environment, and what `load` makes of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environ = {"HOME": str(home)}

    def load(self, **flags: object) -> Config:
        return load(flags, self.environ)

    def wrong(self, **flags: object) -> str:
        with pytest.raises(ConfigError) as refused:
            self.load(**flags)
        (line,) = str(refused.value).splitlines()
        assert KEY not in line
        return line

    def file(self, name: str, content: str, mode: int = 0o600) -> str:
        path = self.home / name
        path.write_text(content)
        path.chmod(mode)
        return str(path)

    def tokens(self, *tokens: ClientToken) -> Path:
        folder = self.home / ".local/share/loom"
        folder.mkdir(parents=True, exist_ok=True)
        write_tokens(folder / "client-tokens", tokens)
        return folder / "client-tokens"


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_what_nobody_decided_is_the_default(case: Case) -> None:
    assert case.load() == Config(
        host="127.0.0.1",
        port=8080,
        origin=Origin("https", "api.anthropic.com", 443),
        workers=1,
        home=case.home / ".local/share/loom",
        drain_seconds=90,
        connect_timeout_seconds=10,
        silence_timeout_seconds=None,
        rules=Rules(Retry(3, SECOND // 2, 2.0, 8 * SECOND, frozenset()), None, Tracing(tells=True)),
        gateway=Gateway(),
        allow_open=False,
        redis=None,
        redis_deadline_seconds=0.05,
        memory=None,
        weave_headers=True,
        telemetry=TelemetrySettings(),
        log="auto",
        file=None,
        warnings=(),
        memory_key=None,
        intro=None,
        watches=True,
        transcript_roots=Roots((case.home / ".claude/projects",)),
        transcript_polls=False,
        scribe=None,
        scribe_serves=True,
        journal=None,
    )
    assert case.load().rules == Rules(tracing=Tracing(tells=True))


def test_a_file_decides_everything(case: Case) -> None:
    key = case.file("key", KEY + "\n")
    text = f"""
        host = "::1"
        port = 9000
        upstream = "http://127.0.0.1:9"
        workers = 2
        home = "data"
        drain_seconds = 1.5
        max_body_bytes = "200MB"
        connect_timeout_seconds = 3
        silence_timeout_seconds = 60
        log = "text"
        [retry]
        max_attempts = 5
        base_seconds = 0.25
        factor = 3
        cap_seconds = 2
        statuses = [429]
        [gateway]
        upstream_api_key_file = "{key}"
        allow_open = true
        [redis]
        url = "redis://:pw@[::1]:7000/2"
        deadline_seconds = 0.2
        [memory]
        url = "https://cortex.example:9/v1/"
        key = "dummy-key"
        [intro]
        url = "http://127.0.0.1:8080/"
        model = "small"
        kind = "messages"
        key = "intro-key"
        [transcripts]
        watch = false
        roots = ["/srv/projects", "~/mine"]
        polling = true
        [scribe]
        url = "postgresql://me:pw@db.example/said"
        serve = false
        [journal]
        dir = "happened"
        max_bytes = "5MB"
        max_days = 2
        [weave]
        headers = false
        [trace]
        content = "metadata"
        project = "mine"
        turns = false
        [[telemetry.exporters]]
        name = "here"
        endpoint = "http://127.0.0.1:6006"
        headers = {{ authorization = "Bearer x" }}
        metrics = false
    """
    file = case.file("x.toml", text)
    assert case.load(config=file) == Config(
        host="::1",
        port=9000,
        origin=Origin("http", "127.0.0.1", 9),
        workers=2,
        home=case.home / "data",
        drain_seconds=1.5,
        connect_timeout_seconds=3.0,
        silence_timeout_seconds=60.0,
        rules=Rules(
            Retry(5, SECOND // 4, 3.0, 2 * SECOND, frozenset({429})),
            200_000_000,
            Tracing(Content.METADATA, "mine", tells=False, is_recorded=True),
        ),
        gateway=Gateway(Secret(KEY)),
        allow_open=True,
        redis=Redis("::1", 7000, 2, "", Secret("pw")),
        redis_deadline_seconds=0.2,
        memory=Cortex("https://cortex.example:9/v1", Secret("dummy-key")),
        memory_key=Secret("dummy-key"),
        intro=Intro("messages", "http://127.0.0.1:8080", "small", Secret("intro-key")),
        weave_headers=False,
        telemetry=TelemetrySettings(
            "mine",
            (
                Endpoint(
                    "here", "http://127.0.0.1:6006/v1/traces", "", (("authorization", Secret("Bearer x")),)
                ),
            ),
        ),
        log="text",
        file=Path(file),
        warnings=(),
        watches=False,
        transcript_roots=Roots((Path("/srv/projects"), case.home / "mine")),
        transcript_polls=True,
        scribe=postgres("postgresql://me:pw@db.example/said"),
        scribe_serves=False,
        journal=Journal(case.home / "happened", 5_000_000, 2.0),
    )


def test_the_clients_folder_tells_where_transcripts_lie(case: Case) -> None:
    case.environ["CLAUDE_CONFIG_DIR"] = "/of/the/client"
    assert case.load().transcript_roots == Roots((Path("/of/the/client/projects"),))


def test_home_is_what_is_told_or_xdg_data(case: Case) -> None:
    case.environ["XDG_DATA_HOME"] = "/xdg"
    assert case.load().home == Path("/xdg/loom")
    assert case.load(home="~/mine").home == case.home / "mine"


@pytest.mark.spec("config.unknown-variable")
def test_unknown_variables_are_warnings_of_the_config(case: Case) -> None:
    case.environ["LOOM_WORKER"] = "7"
    config = case.load()
    assert config.workers == 1
    assert config.warnings == ("LOOM_WORKER is not a setting (did you mean LOOM_WORKERS?): it is ignored",)


@pytest.mark.spec("config.open")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "box", "fe80::1", "localhost.example.org"])
def test_other_machines_need_tokens_or_a_word(case: Case, host: str) -> None:
    line = case.wrong(host=host)
    assert line.startswith(f"--host is '{host}': not a loopback address, and there are no client tokens; ")
    assert "--allow-open (LOOM_ALLOW_OPEN=true)" in line
    assert case.load(host=host, allow_open=True).warnings == ()
    case.environ["LOOM_UPSTREAM_API_KEY"] = KEY
    (warning,) = case.load(host=host, allow_open=True).warnings
    assert warning == f"whoever can reach {host} uses the upstream key: there are no client tokens"
    case.tokens(TOKEN)
    assert case.load(host=host).gateway.tokens == (TOKEN,)


@pytest.mark.spec("config.open")
@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_needs_neither(case: Case, host: str) -> None:
    assert is_loopback(case.load(host=host).host)


@pytest.mark.spec("config.token-leak")
def test_tokens_without_a_key_are_refused(case: Case) -> None:
    path = case.tokens(TOKEN)
    line = case.wrong()
    assert line.startswith(f"{path} holds client tokens, but the Loom has no key for upstream")
    case.environ["LOOM_UPSTREAM_API_KEY"] = KEY
    assert case.load().gateway == Gateway(Secret(KEY), (TOKEN,))


@pytest.mark.spec("config.no-token-left")
def test_a_file_without_tokens_does_not_open_the_gateway(case: Case) -> None:
    path = case.tokens()
    assert case.load().gateway == Gateway()
    assert case.wrong(client_tokens_file=str(path)).startswith(f"{path} holds no client token")
    case.environ["LOOM_UPSTREAM_API_KEY"] = KEY
    assert case.wrong().startswith(f"{path} holds no client token")
    path.unlink()
    assert case.load().gateway == Gateway(Secret(KEY))


def test_a_tokens_file_that_cannot_be_read_stops_the_start(case: Case) -> None:
    case.environ["LOOM_CLIENT_TOKENS_FILE"] = "/nowhere"
    assert case.wrong() == "LOOM_CLIENT_TOKENS_FILE: cannot read /nowhere: no such file or directory"
    del case.environ["LOOM_CLIENT_TOKENS_FILE"]
    case.tokens().write_text("nonsense")
    assert "line 1 of" in case.wrong()


@pytest.mark.spec("config.key-file")
def test_a_key_comes_from_a_variable_or_a_file_and_not_from_both(case: Case) -> None:
    file = case.file("key", f"  {KEY}\n")
    assert case.load(upstream_api_key_file=file).gateway.key == Secret(KEY)
    case.environ["LOOM_UPSTREAM_API_KEY"] = KEY
    assert case.load().gateway.key == Secret(KEY)
    told = "LOOM_UPSTREAM_API_KEY and --upstream-api-key-file are both given: only one of them is allowed"
    assert case.wrong(upstream_api_key_file=file) == told


@pytest.mark.spec("config.key-file", "config.secret-errors")
@pytest.mark.parametrize("content", ["", " \n", f"{KEY} {KEY}", f"{KEY}\n{KEY}", f"{KEY}\x00", f"{KEY}é"])
def test_a_file_that_does_not_hold_one_key_is_refused_unseen(case: Case, content: str) -> None:
    file = case.file("key", content)
    told = f"{file} must hold one word of visible ASCII characters and nothing else"
    assert case.wrong(upstream_api_key_file=file) == f"--upstream-api-key-file: {told}"


def test_a_key_file_that_is_not_there_stops_the_start(case: Case) -> None:
    assert case.wrong(upstream_api_key_file="/nowhere").startswith(
        "--upstream-api-key-file: cannot read /nowhere"
    )


@pytest.mark.spec("config.key-mode")
@pytest.mark.parametrize(("mode", "count"), [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1), (0o666, 1)])
def test_a_key_file_others_may_use_is_a_warning(case: Case, mode: int, count: int) -> None:
    file = case.file("key", KEY, mode)
    warnings = case.load(upstream_api_key_file=file).warnings
    assert (
        warnings
        == (f"{file} holds a key and other users may use it: chmod 600 makes it yours alone",) * count
    )


@pytest.mark.spec("config.memory")
def test_a_memory_of_another_machine_needs_a_url_and_a_key(case: Case) -> None:
    both = "a Cortex needs both"
    told = case.wrong(memory_url="http://cortex")
    assert told == f"--memory-url is given without LOOM_MEMORY_KEY: {both}"
    case.environ["LOOM_MEMORY_KEY"] = KEY
    assert (case.load().memory, case.load().memory_key) == (None, Secret(KEY)), "of a Cortex of its own"
    config = case.load(memory_url="http://cortex")
    assert config.memory == Cortex("http://cortex", Secret(KEY))
    assert KEY not in repr(config) + repr(attrs.asdict(config))
    file = case.file("x.toml", f'[memory]\nurl = "http://{KEY}@h"')
    assert case.wrong(config=file) == f"memory.url in {file}: it must not hold a user or password"
    case.environ["LOOM_MEMORY_KEY"] = f"{KEY} {KEY}"
    assert "LOOM_MEMORY_KEY: memory.key must be" in case.wrong()


@pytest.mark.spec("config.intro")
def test_a_model_for_intro_needs_a_url_and_a_name(case: Case) -> None:
    both = "Intro needs both"
    assert case.wrong(intro_url="http://m") == f"--intro-url is given without LOOM_INTRO_MODEL: {both}"
    assert case.wrong(intro_model="small") == f"--intro-model is given without LOOM_INTRO_URL: {both}"
    case.environ |= {"LOOM_INTRO_KEY": KEY, "LOOM_INTRO_MODEL": "qwen 7b"}
    config = case.load(intro_url="http://m:11434")
    assert config.intro == Intro("ollama", "http://m:11434", "qwen 7b", Secret(KEY))
    assert KEY not in repr(config) + repr(attrs.asdict(config))


@pytest.mark.spec("config.loop")
@pytest.mark.parametrize(
    ("host", "upstream"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("127.0.0.1", "http://localhost:8080"),
        ("localhost", "http://[::1]:8080"),
        ("localhost", "https://localhost:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("::", "http://localhost:8080"),
        ("127.0.0.1", "http://0.0.0.0:8080"),
        ("box", "http://BOX:8080"),
    ],
)
def test_an_upstream_that_is_the_loom_itself_is_refused(case: Case, host: str, upstream: str) -> None:
    line = case.wrong(host=host, upstream=upstream, allow_open=True)
    assert line == f"--upstream is '{upstream.lower()}': that is where the Loom itself listens"


@pytest.mark.spec("config.loop")
@pytest.mark.parametrize(
    ("host", "port", "upstream"),
    [
        ("127.0.0.1", 8080, "http://127.0.0.1:8081"),
        ("127.0.0.1", 8080, "http://127.0.0.2:8080"),
        ("127.0.0.1", 8080, "http://elsewhere:8080"),
        ("0.0.0.0", 8080, "http://10.0.0.1:8080"),
        ("127.0.0.1", 0, "http://127.0.0.1:80"),
        ("localhost", 8080, "http://elsewhere:8080"),
    ],
)
def test_another_address_is_no_loop(case: Case, host: str, port: int, upstream: str) -> None:
    assert case.load(
        host=host, port=port, upstream=upstream, allow_open=True
    ).origin.url == upstream.removesuffix(":80")


@pytest.mark.spec("telemetry.endpoints")
def test_exporters_of_the_file_and_of_the_environment_stand_side_by_side(case: Case) -> None:
    case.environ["LOOM_TELEMETRY_EXPORTERS"] = "http://127.0.0.1:6006"
    case.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "https://otel.example"
    case.environ["LOOM_TRACE_CONTENT"] = "off"
    config = case.load(trace_project="p")
    assert [it.traces for it in config.telemetry.endpoints] == [
        "http://127.0.0.1:6006/v1/traces",
        "https://otel.example/v1/traces",
    ]
    assert config.telemetry.project == config.rules.tracing.project == "p"
    assert config.rules.tracing.content is Content.OFF


@pytest.mark.spec("config.secret-errors")
def test_a_wrong_exporter_is_told_of_without_its_headers(case: Case) -> None:
    file = case.file(
        "x.toml", f'[[telemetry.exporters]]\nendpoint = "x"\nheaders = {{ authorization = "{KEY}" }}\n'
    )
    assert case.wrong(config=file).startswith(
        f"telemetry.exporters in {file}: number 1 of telemetry.exporters"
    )
    case.environ["LOOM_TELEMETRY_EXPORTERS"] = f"{KEY}://x"
    assert "LOOM_TELEMETRY_EXPORTERS" in case.wrong()


@pytest.mark.spec("config.secret")
def test_no_dump_of_a_config_shows_its_key(case: Case) -> None:
    case.environ["LOOM_UPSTREAM_API_KEY"] = KEY
    config = case.load()
    assert KEY not in repr(config) + str(config) + repr(attrs.asdict(config))
    with pytest.raises(TypeError):
        msgspec.json.encode(config)


def test_the_place_of_the_tokens_is_known_without_a_key(case: Case) -> None:
    path = case.tokens(TOKEN)
    assert tokens_file({}, case.environ) == path
    assert tokens_file({"home": "/h"}, case.environ) == Path("/h/client-tokens")
    assert tokens_file({"client_tokens_file": "/x"}, case.environ) == Path("/x")


def test_nothing_else_in_the_shell_reads_the_environment() -> None:
    shell = Path(__file__).parents[2] / "loom_shell"
    readers = set()
    for path in shell.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "putenv"}:
                readers.add(path.name)
    assert readers == {"config.py", "hook.py"}  # the hook is a program of its own
