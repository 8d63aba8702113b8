"""The checks of `loom doctor`: each looks at one link of the chain and says what it found."""

import asyncio
import http.client
import json
import shlex
import socket
import subprocess
import time
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from attrs import frozen

from loom_core.profile import Profile
from loom_shell import config, redis_line
from loom_shell.client_settings import BASE_URL, HINTS, SINCE, STRICT_BEFORE, Version, commands, events
from loom_shell.driver import Driver
from loom_shell.embedded import Embedded, server_binary
from loom_shell.endpoints import Endpoint
from loom_shell.files import FileRefusedError, is_missing, named
from loom_shell.json_edit import JsonRefusedError, find, value
from loom_shell.memory import Cortex, MemoryPort, RemoteMemory
from loom_shell.memory.schema import FILE_NAME
from loom_shell.printable import printable
from loom_shell.profiles import FOLDER, look
from loom_shell.redis_url import Redis
from loom_shell.settings_file import read
from loom_shell.turn_block import CANARY, LIMIT

SECONDS = 3.0
"""What one call over a network gets."""
HOOK_SECONDS = 10.0
SLOW_MILLISECONDS = 250
MOST_NAMED = 5
"""Broken profiles that are named."""
INSTALL = "run `loom install`"
PROXY_URL = ("env", BASE_URL)


@frozen
class Finding:
    """One line of the doctor's. `todo` is "" unless something is wrong; "absent" is no fault."""

    name: str
    state: Literal["ok", "wrong", "absent"]
    found: str
    todo: str = ""


def client(version: Version | None) -> Finding:
    if version is None:
        return Finding("client", "absent", "no `claude` on PATH says its version")
    return Finding("client", "ok", f"Claude Code {_dotted(version)}")


def settings(folder: Path, version: Version | None) -> tuple[Finding, str]:
    """What settings.json holds of ours, and its text ("" if it cannot be used)."""

    def wrong(found: str, todo: str = INSTALL) -> Finding:
        return Finding("settings", "wrong", found, todo)

    try:
        stands = read(folder)
        path = named(stands.path)
        if stands.content is None:
            return wrong(f"{path} is not there"), ""
        ours = commands(stands.text)
        hints, off = value(stands.text, ("env", HINTS)), value(stands.text, ("disableAllHooks",))
        find(stands.text, ("hooks", "Stop"))
        names = find(stands.text, ("hooks",))
    except FileRefusedError as error:
        return wrong(str(error), "correct it"), ""
    except JsonRefusedError as error:
        return wrong(f"{named(folder / 'settings.json')}: {error}", "correct it"), ""
    unknown = [it for it in (names.names if names else ()) if version and SINCE.get(it, version) > version]
    missing = [event for event in events(version) if event not in ours]
    if version and version < STRICT_BEFORE and unknown:
        return wrong(f"{path} names {unknown[0]}, for which this client ignores the whole file"), stands.text
    if missing:
        return wrong(f"{path} has no hook of ours for {', '.join(missing)}"), stands.text
    if hints != "1":
        return wrong(f"{path} does not set env.{HINTS}"), stands.text
    if off is True:
        return wrong(f"{path} switches all hooks off", "take disableAllHooks out"), stands.text
    return Finding("settings", "ok", f"{path} has our hooks for {', '.join(ours)}"), stands.text


def hook(text: str) -> Finding:
    """Run the command of the settings as the client would, with a prompt of our own."""
    command = commands(text).get("UserPromptSubmit") if text else None
    if command is None:
        return Finding("hook", "absent", "not in the settings: nothing to run")
    given = {"session_id": "loom-doctor", "hook_event_name": "UserPromptSubmit", "prompt": "Is all well?"}
    began = time.monotonic()
    try:
        ran = subprocess.run(  # noqa: S602 - a hook is a line for the shell, and this one is ours
            command,
            shell=True,
            input=json.dumps(given).encode(),
            capture_output=True,
            timeout=HOOK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return Finding("hook", "wrong", f"it did not end within {HOOK_SECONDS:.0f} s", INSTALL)
    took = round((time.monotonic() - began) * 1000)
    size = block_size(ran.stdout)
    if size is None or ran.returncode != 0:
        program = printable(shlex.split(command)[0], 200)
        gone = f": {program} is gone" if is_missing(Path(program)) else ""
        return Finding("hook", "wrong", f"it gives no valid block{gone}", INSTALL)
    slow = f", slow: over {SLOW_MILLISECONDS} ms" if took > SLOW_MILLISECONDS else ""
    return Finding("hook", "ok", f"a valid block of {size} bytes in {took} ms{slow}")


def block_size(output: bytes) -> int | None:
    """Bytes of the metadata block in what a hook printed, None if there is no valid one."""
    try:
        text = json.loads(output)["hookSpecificOutput"]["additionalContext"]
        canary, inner, closing = text[: len(CANARY)], text[len(CANARY) : -len(CANARY)], text[-len(CANARY) :]
        told = json.loads(inner)
        right = canary == closing == told["canary"] == CANARY and told["trace_id"] in told["traceparent"]
        size = len(text.encode())
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return size if right and size < LIMIT else None


def proxy(text: str) -> Finding:
    """Whether the client's base URL leads to a Loom that is ready."""
    try:
        url = value(text, PROXY_URL) if text else None
    except JsonRefusedError:
        url = None
    if not isinstance(url, str):
        return Finding("proxy", "wrong", f"the settings name no env.{BASE_URL}", INSTALL)
    shown = _shown(url)
    try:
        health, said = call("GET", f"{url.rstrip('/')}/loom/healthz")
        ready, _said = call("GET", f"{url.rstrip('/')}/loom/readyz")
    except (OSError, http.client.HTTPException, ValueError):
        return Finding("proxy", "wrong", f"nothing answers at {shown}", "start it: `loom serve`")
    if health != 200 or b'"status"' not in said:
        return Finding(
            "proxy",
            "wrong",
            f"what answers at {shown} is no Loom",
            "`loom install --url …` with the Loom's URL",
        )
    if ready != 200:
        return Finding(
            "proxy", "wrong", f"the Loom at {shown} is not ready ({ready})", "wait, or start it again"
        )
    return Finding("proxy", "ok", f"the client's base URL {shown} leads to a Loom that is ready")


def profiles(home: Path) -> Finding:
    try:
        seen = look(home)
    except FileRefusedError as error:
        return Finding("profiles", "wrong", str(error), "correct it")
    broken = [printable(name, 80) for name, one in seen.items() if not isinstance(one, Profile)]
    if not seen:
        return Finding("profiles", "absent", f"none in {named(home / FOLDER)}: nothing is woven")
    if broken:
        more = f" and {len(broken) - MOST_NAMED} more" if len(broken) > MOST_NAMED else ""
        found = f"{len(broken)} of {len(seen)} broken: {', '.join(broken[:MOST_NAMED])}{more}"
        return Finding("profiles", "wrong", found, "run `loom profile check`")
    return Finding("profiles", "ok", f"{len(seen)} in order in {named(home / FOLDER)}")


def store(redis: Redis | None, home: Path) -> Finding:
    if redis is None:
        return _embedded(home)
    try:
        answer = redis_line.ask(redis.place, SECONDS, ("PING",))
    except (OSError, ValueError):
        return Finding(
            "store", "wrong", f"Redis at {redis.shown} does not answer", "start it, or correct LOOM_REDIS_URL"
        )
    if answer != b"+PONG":
        reason = printable(answer.decode("utf-8", "replace"), 100)
        return Finding("store", "wrong", f"Redis at {redis.shown} says {reason}", "correct LOOM_REDIS_URL")
    return Finding("store", "ok", f"Redis at {redis.shown} answers")


def _embedded(home: Path) -> Finding:
    """The store of the home, which is asked if it runs, and not started."""
    folder = home / "valkey"
    if server_binary() is None:
        return Finding("store", "wrong", "there is no Valkey for this machine", "set LOOM_REDIS_URL")
    if is_missing(folder / "socket"):
        return Finding(
            "store", "absent", "embedded, not used yet: `loom serve` starts it when there is a profile"
        )
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(SECONDS)
            asking.connect(str(Embedded(home).place))
            asking.sendall(b"PING\r\n")
            answer = asking.recv(4096)
    except (ConnectionRefusedError, FileNotFoundError):
        return Finding(
            "store", "absent", f"embedded, not running now: `loom serve` starts it in {named(folder)}"
        )
    except OSError:
        answer = b"nothing"
    if not answer.startswith(b"+PONG"):
        said = printable(answer.decode("utf-8", "replace").strip(), 100)
        return Finding("store", "wrong", f"the embedded store in {named(folder)} says {said}", "end it")
    return Finding("store", "ok", f"the embedded store in {named(folder)} answers")


def memory(cortex: config.Cortex | None, home: Path) -> Finding:
    """The one of the configuration, else that of the home, which is looked at only if it is there."""
    if cortex is None and is_missing(home / FILE_NAME):
        return Finding("memory", "absent", "nothing is remembered yet")
    if trouble := asyncio.run(_trouble(cortex, home)):
        todo = "start it, or correct LOOM_MEMORY_URL" if cortex else "look after that file"
        return Finding("memory", "wrong", printable(trouble, 300), todo)
    where = named(home / FILE_NAME) if cortex is None else _shown(cortex.url)
    return Finding("memory", "ok", f"the Cortex {'in' if cortex is None else 'at'} {where} is well")


async def _trouble(cortex: config.Cortex | None, home: Path) -> str:
    asked: MemoryPort = RemoteMemory(cortex.url, cortex.key, Driver.now) if cortex else Cortex(home)
    try:
        return await asked.health()
    finally:
        await asked.aclose()


def exporter(endpoint: Endpoint) -> Finding:
    """An OTLP endpoint over HTTP. An empty body is a valid request that exports nothing."""
    url = endpoint.traces or endpoint.metrics
    shown = f"{endpoint.name} at {_shown(url)}"
    headers = {name: told.expose() for name, told in endpoint.headers}
    try:
        status, _said = call("POST", url, {**headers, "content-type": "application/x-protobuf"})
    except (OSError, http.client.HTTPException, ValueError):
        return Finding(
            "exporter", "wrong", f"nothing answers for {shown}", "start it, or correct the endpoint"
        )
    if status in {401, 403}:
        return Finding("exporter", "wrong", f"{shown} refuses our headers ({status})", "correct the headers")
    if not 200 <= status < 300:
        return Finding(
            "exporter", "wrong", f"{shown} takes no export ({status})", "give an OTLP/HTTP endpoint"
        )
    return Finding("exporter", "ok", f"{shown} takes exports")


def call(method: str, url: str, headers: dict[str, str] | None = None, most: int = 4096) -> tuple[int, bytes]:
    """Status and the first bytes of the body. OSError, HTTPException or ValueError when it cannot be done."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=SECONDS)
    try:
        connection.request(
            method, parts.path or "/", body=b"" if method == "POST" else None, headers=headers or {}
        )
        answer = connection.getresponse()
        return answer.status, answer.read(most)
    except socket.gaierror as error:
        raise ConnectionError from error
    finally:
        connection.close()


def _shown(url: str) -> str:
    """A URL without what could be a password."""
    place = url.rpartition("@")[2] if "@" in url else url.partition("://")[2]
    return printable(place.partition("?")[0], 200)


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
