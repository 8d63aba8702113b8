"""Every setting of the Loom, declared once: its names, what it may be, and what it is unless told.

A setting has a key in `loom.toml`, an environment variable, and nearly always a flag. All bring
their value through the same `parse`, which takes text or a TOML value and raises ValueError.
"""

import re
from typing import Literal

from attrs import frozen

from loom_shell.endpoints import exporters
from loom_shell.parsing import (
    Parse,
    RefusedError,
    folders,
    host,
    integer,
    key_text,
    number,
    one_of,
    or_none,
    path,
    project,
    size,
    statuses,
    switch,
    web_place,
)
from loom_shell.redis_url import redis
from loom_shell.scribe_url import postgres

LogForm = Literal["auto", "json", "text"]

ORIGIN = re.compile(r"(https?)://(\[[^]/]+]|[^]\[:/]+)(?::([0-9]{1,5}))?((?:/.*)?)", re.IGNORECASE)
ORIGIN_ONLY = "only scheme://host or scheme://host:port"
DEFAULT_PORTS = {"http": 80, "https": 443}


@frozen
class Origin:
    """Where upstream is. `host` is lower case, an IPv6 address without brackets."""

    scheme: Literal["http", "https"]
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Host and, unless it is the scheme's own, port: what a Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}"


@frozen
class Setting:
    """What a setting is called, what it may be, and what it is unless told.

    `allowed` completes the sentence `<key> must be …`; `default` is text, as a user would write it;
    `purpose` is what the help says.
    `flag` has no dashes in front and underscores inside: the name of a command's parameter.
    """

    key: str
    default: str | None
    parse: Parse
    allowed: str
    flag: str | None
    purpose: str = ""
    secret: bool = False

    @property
    def variable(self) -> str:
        return "LOOM_" + _flat(self.key).upper()

    @property
    def option(self) -> str:
        """The flag as it is typed."""
        return f"--{(self.flag or _flat(self.key)).replace('_', '-')}"


def _flat(key: str) -> str:
    return key.removeprefix("gateway.").replace(".", "_")


def _setting(key: str, default: str | None, parse: Parse, allowed: str, purpose: str) -> Setting:
    return Setting(key, default, parse, allowed, _flat(key), purpose)


def origin(value: object) -> Origin:
    """`scheme://host` or `scheme://host:port`. What else a URL can hold would go nowhere: refused."""
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - a wrong value, whatever its type
    if "@" in value:
        raise RefusedError(f"upstream must not hold a user or password, {ORIGIN_ONLY}")
    if "?" in value or "#" in value:
        raise RefusedError(f"upstream must not hold a query or fragment, {ORIGIN_ONLY}")
    match = ORIGIN.fullmatch(value)
    port = int(match[3] or DEFAULT_PORTS[match[1].lower()]) if match else 0
    if match is None or not 1 <= port <= 65535:
        raise ValueError
    if match[4] not in ("", "/"):
        raise RefusedError(
            f"upstream must not hold a path, {ORIGIN_ONLY}; the client's path goes up as it is"
        )
    scheme: Literal["http", "https"] = "https" if match[1].lower() == "https" else "http"
    return Origin(scheme, host(match[2]), port)


CONFIG = Setting("config", None, path, "the path of a TOML file", "config", "Settings file")
KEY = Setting(
    "gateway.upstream_api_key", None, key_text, "one word of visible ASCII characters", flag=None, secret=True
)
HOME = _setting("home", None, path, "the path of a folder", "Folder for the Loom's own data")
KEY_FILE = _setting(
    "gateway.upstream_api_key_file",
    None,
    path,
    "the path of a file that holds only the key",
    "Gateway mode: the upstream key",
)
TOKENS_FILE = _setting(
    "gateway.client_tokens_file",
    None,
    path,
    "the path of a file made by `loom token`",
    "Gateway mode: who may use the key",
)

SETTINGS: tuple[Setting, ...] = (
    CONFIG,
    _setting("host", "127.0.0.1", host, "an IP address or a host name", "Listen on"),
    _setting("port", "8080", integer(0, 65535), "0..=65535 (0: any free port)", "Listen on"),
    _setting(
        "upstream",
        "https://api.anthropic.com",
        origin,
        "scheme://host[:port] with http or https",
        "Relay to this origin",
    ),
    _setting("workers", "1", integer(1, 64), "1..=64", "Processes that serve"),
    HOME,
    _setting("drain_seconds", "90", number(0, 3600), "0..=3600", "What open streams get at shutdown"),
    _setting(
        "max_body_bytes",
        "none",
        or_none(size),
        "1 or more, such as 200000000 or 200MB, or none",
        "Largest request body",
    ),
    _setting(
        "connect_timeout_seconds",
        "10",
        number(0.001, 600),
        "0.001..=600",
        "Wait for a connection to upstream",
    ),
    _setting(
        "silence_timeout_seconds",
        "none",
        or_none(number(0.001, 86400)),
        "0.001..=86400, or none",
        "Wait for a byte from upstream",
    ),
    _setting("retry.max_attempts", "3", integer(1, 20), "1..=20", "Attempts before any answer"),
    _setting("retry.base_seconds", "0.5", number(0, 60), "0..=60", "Wait before the second attempt"),
    _setting("retry.factor", "2", number(1, 10), "1..=10", "Growth of the wait"),
    _setting("retry.cap_seconds", "8", number(0, 3600), "0..=3600", "Longest wait between attempts"),
    _setting(
        "retry.statuses",
        "none",
        statuses,
        "a list of 400..=599, such as 429,529, or none",
        "Answers to try again as well",
    ),
    KEY,
    KEY_FILE,
    TOKENS_FILE,
    _setting(
        "gateway.allow_open", "false", switch, "true or false", "Serve other machines without client tokens"
    ),
    Setting(
        "redis.url",
        "none",
        or_none(redis),
        "redis://[[user]:password@]host[:port][/db], or none",
        "redis_url",
        "The one Redis",
        secret=True,
    ),
    _setting("redis.deadline_seconds", "0.05", number(0.001, 5), "0.001..=5", "Longest wait for the store"),
    _setting("memory.url", None, web_place, "http[s]://host[:port][/path]", "A Cortex of another machine"),
    Setting("memory.key", None, key_text, "one word of visible ASCII characters", flag=None, secret=True),
    _setting("intro.url", None, web_place, "http[s]://host[:port][/path]", "A model that notices memorables"),
    _setting("intro.model", None, project, "1..=128 printable characters", "The name of that model"),
    _setting("intro.kind", "ollama", one_of("ollama", "messages"), "ollama or messages", "Its interface"),
    Setting("intro.key", None, key_text, "one word of visible ASCII characters", flag=None, secret=True),
    _setting("transcripts.watch", "true", switch, "true or false", "Publish what is said in sessions"),
    _setting(
        "transcripts.roots",
        "none",
        or_none(folders),
        "a list of folders, with : between them as text, or none",
        "Where transcripts may lie",
    ),
    _setting("transcripts.polling", "false", switch, "true or false", "Look at transcripts, not asked to"),
    Setting(
        "scribe.url",
        "none",
        or_none(postgres),
        "postgresql://[user[:password]@][host[:port]]/database[?sslmode=…], or none",
        flag=None,
        secret=True,
    ),
    _setting("scribe.serve", "true", switch, "true or false", "Store what is said while serving"),
    _setting("weave.headers", "true", switch, "true or false", "Tell clients what was woven in"),
    _setting(
        "trace.content", "full", one_of("full", "metadata", "off"), "full, metadata or off", "Spans hold"
    ),
    _setting("trace.project", "loom", project, "1..=128 printable characters", "Project of the spans"),
    _setting("trace.turns", "true", switch, "true or false", "Follow turns, make spans and figures"),
    Setting(
        "telemetry.exporters",
        None,
        exporters,
        "tables with endpoint (a URL), name, headers and metrics, or URLs with commas between",
        flag=None,
        secret=True,
    ),
    Setting(
        "journal.dir", None, path, "the path of a folder", "journal", "Record what happens, without secrets"
    ),
    _setting("journal.max_bytes", "1GB", size, "1 or more, such as 1GB", "All files of the journal together"),
    _setting("journal.max_days", "30", number(0.01, 3650), "0.01..=3650", "Days that the journal keeps"),
    _setting("log", "auto", one_of("auto", "json", "text"), "auto, json or text", "Form of the log lines"),
)
