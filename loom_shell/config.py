"""Flags, environment and `loom.toml` become one frozen, checked `Config`, or one clear line.

This is the only reader of os.environ.
"""

import ipaddress
import os
from pathlib import Path

from attrs import frozen

from loom_core.rules import SECOND, Content, Retry, Rules, Tracing
from loom_shell.endpoints import TelemetrySettings, of_environment
from loom_shell.files import FileRefusedError, is_missing, named, read_whole
from loom_shell.gateway import Gateway, read_tokens
from loom_shell.given import ConfigError, Flags, Found, Variables, gather, unknown_variables, xdg_folder
from loom_shell.parsing import key_text
from loom_shell.printable import shown
from loom_shell.redis_url import Redis
from loom_shell.scribe_url import Postgres
from loom_shell.secret import Secret
from loom_shell.settings import HOME, KEY, KEY_FILE, TOKENS_FILE, LogForm, Origin
from loom_shell.transcript_roots import Roots, projects_folder

__all__ = ["Config", "ConfigError", "Origin", "load", "tokens_file"]


@frozen
class Cortex:
    """A memory of another machine."""

    url: str
    key: Secret


@frozen
class Intro:
    """The model that says what is worth remembering: its interface (`ollama` or `messages`), and where."""

    kind: str
    url: str
    model: str
    key: Secret | None


@frozen
class Journal:
    """Where what happens is recorded, and how much of it is kept."""

    folder: Path
    max_bytes: int
    max_days: float


@frozen
class Config:
    """Everything a user can decide. `file` is the TOML file that was read; `warnings` are lines."""

    host: str
    port: int
    origin: Origin
    workers: int
    home: Path
    drain_seconds: float
    connect_timeout_seconds: float
    silence_timeout_seconds: float | None
    rules: Rules
    gateway: Gateway
    allow_open: bool
    redis: Redis | None
    redis_deadline_seconds: float
    memory: Cortex | None
    weave_headers: bool
    telemetry: TelemetrySettings
    log: LogForm
    file: Path | None
    warnings: tuple[str, ...]
    memory_key: Secret | None
    intro: Intro | None
    watches: bool
    transcript_roots: Roots
    transcript_polls: bool
    scribe: Postgres | None
    scribe_serves: bool
    journal: Journal | None


def load(flags: Flags, environ: Variables | None = None) -> Config:
    """Read and check every setting. `flags` are by parameter name, None for one not given.

    ConfigError for anything wrong; TypeError for a flag that does not exist (a fault of ours).
    """
    variables = os.environ if environ is None else environ
    file, found = gather(flags, variables)
    warnings = [*unknown_variables(variables)]
    home = _home(found, variables)
    gateway = _gateway(found, home, warnings)
    _refuse_open(found, gateway, warnings)
    _refuse_loop(found)
    return Config(
        host=found["host"].value,
        port=found["port"].value,
        origin=found["upstream"].value,
        workers=found["workers"].value,
        home=home,
        drain_seconds=found["drain_seconds"].value,
        connect_timeout_seconds=found["connect_timeout_seconds"].value,
        silence_timeout_seconds=found["silence_timeout_seconds"].value,
        rules=_rules(found),
        gateway=gateway,
        allow_open=found["gateway.allow_open"].value,
        redis=found["redis.url"].value,
        redis_deadline_seconds=found["redis.deadline_seconds"].value,
        memory=_memory(found),
        weave_headers=found["weave.headers"].value,
        telemetry=_telemetry(found, variables, warnings),
        log=found["log"].value,
        file=file,
        warnings=tuple(warnings),
        memory_key=Secret(found["memory.key"].value) if found["memory.key"].where else None,
        intro=_intro(found),
        watches=found["transcripts.watch"].value,
        transcript_roots=_roots(found, variables),
        transcript_polls=found["transcripts.polling"].value,
        scribe=found["scribe.url"].value,
        scribe_serves=found["scribe.serve"].value,
        journal=_journal(found),
    )


def tokens_file(flags: Flags, environ: Variables | None = None) -> Path:
    """Where client tokens are kept, whether it exists or not. ConfigError as from `load`."""
    variables = os.environ if environ is None else environ
    _file, found = gather(flags, variables)
    return _tokens_file(found, _home(found, variables))


def _home(found: Found, environ: Variables) -> Path:
    given = found[HOME.key]
    return Path(given.value) if given.where else xdg_folder(environ, "XDG_DATA_HOME", ".local/share") / "loom"


# What belongs together


def _rules(found: Found) -> Rules:
    retry = Retry(
        max_attempts=found["retry.max_attempts"].value,
        base=round(found["retry.base_seconds"].value * SECOND),
        factor=found["retry.factor"].value,
        cap=round(found["retry.cap_seconds"].value * SECOND),
        statuses=found["retry.statuses"].value,
    )
    tracing = Tracing(
        content=Content(found["trace.content"].value),
        project=found["trace.project"].value,
        tells=found["trace.turns"].value,
        is_recorded=bool(found["journal.dir"].where),
    )
    return Rules(retry, found["max_body_bytes"].value, tracing)


def _memory(found: Found) -> Cortex | None:
    url, key = found["memory.url"], found["memory.key"]
    if url.where and not key.where:
        raise ConfigError(f"{url.where} is given without LOOM_MEMORY_KEY: a Cortex needs both")
    return Cortex(url.value, Secret(key.value)) if url.where else None


def _intro(found: Found) -> Intro | None:
    url, model, key = found["intro.url"], found["intro.model"], found["intro.key"]
    if bool(url.where) != bool(model.where):
        given, missing = (url, "LOOM_INTRO_MODEL") if url.where else (model, "LOOM_INTRO_URL")
        raise ConfigError(f"{given.where} is given without {missing}: Intro needs both")
    if not url.where:
        return None
    return Intro(found["intro.kind"].value, url.value, model.value, Secret(key.value) if key.where else None)


def _journal(found: Found) -> Journal | None:
    folder = found["journal.dir"]
    if not folder.where:
        return None
    return Journal(folder.value, found["journal.max_bytes"].value, found["journal.max_days"].value)


def _roots(found: Found, environ: Variables) -> Roots:
    given = found["transcripts.roots"].value
    user = Path(environ.get("HOME") or "/")
    return Roots(given or (projects_folder(user, environ.get("CLAUDE_CONFIG_DIR", "")),))


def _telemetry(found: Found, environ: Variables, warnings: list[str]) -> TelemetrySettings:
    given = found["telemetry.exporters"].value or ()
    return TelemetrySettings(found["trace.project"].value, (*given, *of_environment(environ, warnings)))


def _gateway(found: Found, home: Path, warnings: list[str]) -> Gateway:
    key = _key(found, warnings)
    file, named_by = _tokens_file(found, home), found[TOKENS_FILE.key].where
    if named_by is None and is_missing(file):
        return Gateway(key)
    try:
        tokens = read_tokens(file)
    except FileRefusedError as error:
        raise ConfigError(f"{named_by}: {error}" if named_by else str(error)) from None
    if tokens and key is None:
        # Without a key of ours the client's credential goes upstream, and that would be the token.
        raise ConfigError(
            f"{named(file)} holds client tokens, but the Loom has no key for upstream: "
            f"set {KEY.variable} or {KEY_FILE.variable}, or remove that file"
        )
    if not tokens and (named_by or key):
        # Open to everyone is not what a person expects who took the last token back.
        raise ConfigError(
            f"{named(file)} holds no client token: make one with `loom token NAME`, or remove it"
        )
    return Gateway(key, tokens)


def _tokens_file(found: Found, home: Path) -> Path:
    return Path(found[TOKENS_FILE.key].value or home / "client-tokens")


def _key(found: Found, warnings: list[str]) -> Secret | None:
    literal, file = found[KEY.key], found[KEY_FILE.key]
    if literal.where and file.where:
        raise ConfigError(f"{literal.where} and {file.where} are both given: only one of them is allowed")
    if not file.where:
        return Secret(literal.value) if literal.where else None
    try:
        content, mode = read_whole(file.value)
    except FileRefusedError as error:
        raise ConfigError(f"{file.where}: {error}") from None
    try:
        key = Secret(key_text(content.decode("ascii", "replace")))
    except ValueError:
        raise ConfigError(
            f"{file.where}: {named(file.value)} must hold {KEY.allowed} and nothing else"
        ) from None
    if mode & 0o077:
        warnings.append(
            f"{named(file.value)} holds a key and other users may use it: chmod 600 makes it yours alone"
        )
    return key


def _refuse_open(found: Found, gateway: Gateway, warnings: list[str]) -> None:
    host = found["host"]
    if gateway.tokens or is_loopback(host.value):
        return
    if not found["gateway.allow_open"].value:
        raise ConfigError(
            f"{host.where} is {shown(host.value)}: not a loopback address, and there are no client tokens; "
            "make one with `loom token NAME`, or allow it with --allow-open (LOOM_ALLOW_OPEN=true)"
        )
    if gateway.key is not None:
        warnings.append(f"whoever can reach {host.value} uses the upstream key: there are no client tokens")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address. Of names, `localhost` alone (RFC 6761 section 6.3)."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse_loop(found: Found) -> None:
    host, port, upstream = found["host"].value, found["port"].value, found["upstream"]
    origin: Origin = upstream.value
    if origin.port == port and _same_place(host, origin.host):
        raise ConfigError(f"{upstream.where} is {shown(origin.url)}: that is where the Loom itself listens")


def _same_place(listening: str, asked: str) -> bool:
    """Whether asking for one address reaches the other, as far as that can be told without a lookup."""
    everywhere = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    if listening in everywhere or asked in everywhere:
        return asked in everywhere or is_loopback(asked)
    if "localhost" in (listening, asked):
        return is_loopback(listening) and is_loopback(asked)
    return listening == asked
