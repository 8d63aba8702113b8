"""`loom serve`: the proxy."""

from inspect import Parameter, Signature
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from loom_core.profile import Profile
from loom_shell.config import Config, ConfigError, load
from loom_shell.files import FileRefusedError
from loom_shell.profiles import look
from loom_shell.server import CannotBind, listen, run
from loom_shell.settings import SETTINGS, Setting


def serve(**flags: str | bool | None) -> None:
    """Relay requests to Anthropic's API, every byte as it came."""
    problems = Console(stderr=True, highlight=False)
    try:
        settings = load(flags)
        sock = listen(settings)
    except (ConfigError, CannotBind) as error:
        problems.print(f"loom: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    for warning in settings.warnings:
        problems.print(f"loom: {warning}", markup=False, soft_wrap=True)
    bound = sock.getsockname()[1]
    raise typer.Exit(run(settings, sock, lambda: show(settings, bound, Console(highlight=False))))


def show(config: Config, port: int, console: Console) -> None:
    """The start screen: where it listens, where it relays to, what is on, how to point a client at it."""
    reachable = "127.0.0.1" if config.host in ("0.0.0.0", "::") else config.host  # noqa: S104
    address = f"http://{_bracketed(reachable)}:{port}"
    workers = f" ({config.workers} workers)" if config.workers > 1 else ""
    rows = [
        ("listening", f"http://{_bracketed(config.host)}:{port}{workers}"),
        ("upstream", config.origin.url),
        ("credential", _credential(config)),
        ("profiles", _profiles(config)),
        ("retries", f"up to {config.rules.retry.max_attempts} attempts, before any answer only"),
        ("body limit", f"{config.rules.max_body} bytes" if config.rules.max_body else "none"),
        ("health", f"{address}/loom/healthz  {address}/loom/readyz"),
    ]
    console.print("[bold]The Loom[/bold] relays.\n")
    for name, value in rows:
        console.print(f"  {name:<11}{value}", markup=False, soft_wrap=True)
    console.print(
        f"\nPoint a client at it:\n\n  ANTHROPIC_BASE_URL={address} claude\n", markup=False, soft_wrap=True
    )


def _bracketed(host: str) -> str:
    """A host as a URL holds it (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def _credential(config: Config) -> str:
    if config.gateway.key is None:
        return "the client's own, passed through"
    if config.gateway.tokens:
        return f"the Loom's key; {len(config.gateway.tokens)} client tokens known"
    return "the Loom's key, for every caller"


def _profiles(config: Config) -> str:
    try:
        seen = look(config.home)
    except FileRefusedError as error:
        return str(error)
    good = [name for name, one in seen.items() if isinstance(one, Profile)]
    broken = len(seen) - len(good)
    words = ", ".join(good) or "none: requests go on as they come"
    return f"{words}; {broken} broken, see `loom profile check`" if broken else words


def _option(setting: Setting) -> Parameter:
    """The flag of a setting. It brings raw text, so that a wrong value is told of in one place only."""
    usual = f" [{setting.default}]" if setting.default not in (None, "false") else ""
    name = setting.flag or ""
    switches = setting.default == "false"
    says = escape(f"{setting.purpose}: {setting.allowed}{usual}")
    option = typer.Option(setting.option, help=says, show_default=False)
    kind = Annotated[bool | None, option] if switches else Annotated[str | None, option]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=kind)


# Each setting that has a flag becomes an option of the command; the table of settings is the only list.
_OPTIONS = [_option(setting) for setting in SETTINGS if setting.flag]
serve.__signature__ = Signature(_OPTIONS)  # type: ignore[attr-defined]
serve.__annotations__ = {option.name: option.annotation for option in _OPTIONS}
