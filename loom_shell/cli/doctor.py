"""`loom doctor`: the whole chain, from the client's settings to store and exporter, and what to do."""

import json
import os
from pathlib import Path
from typing import Annotated

import attrs
import typer

from loom_shell import checkup
from loom_shell.checkup import Finding
from loom_shell.client_version import client_version
from loom_shell.config import ConfigError, load
from loom_shell.drift_check import compaction

SIGNS = {"ok": "✓", "wrong": "✗", "absent": "–"}


def doctor(
    claude_dir: Annotated[
        str,
        typer.Option(
            envvar="CLAUDE_CONFIG_DIR", metavar="DIR", help="Claude Code's folder.", show_envvar=True
        ),
    ] = "~/.claude",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check every link between Claude Code, this Loom, its profiles, store and memory, and the exporter.

    The exit code is 1 if something is wrong.
    """
    findings = examine(Path(os.path.expanduser(claude_dir)))  # noqa: PTH111
    well = all(finding.state != "wrong" for finding in findings)
    if as_json:
        checks = [attrs.asdict(finding) for finding in findings]
        typer.echo(json.dumps({"ok": well, "checks": checks}, ensure_ascii=False))
    else:
        for finding in findings:
            todo = f": {finding.todo}" if finding.todo else ""
            typer.echo(f"{SIGNS[finding.state]} {finding.name:<11}{finding.found}{todo}")
    raise typer.Exit(0 if well else 1)


def examine(folder: Path) -> list[Finding]:
    """Every check, in the order of the chain."""
    version = client_version()
    settings, text = checkup.settings(folder, version)
    findings = [checkup.client(version), settings, checkup.hook(text), checkup.proxy(text), compaction(text)]
    try:
        config = load({})
    except ConfigError as error:
        return [*findings, Finding("config", "wrong", str(error), "correct it")]
    endpoints = config.telemetry.endpoints
    none = Finding("exporter", "absent", "none is configured (OTEL_EXPORTER_OTLP_ENDPOINT)")
    return [
        *findings,
        checkup.profiles(config.home),
        checkup.store(config.redis, config.home),
        checkup.memory(config.memory, config.home),
        *(map(checkup.exporter, endpoints) if endpoints else [none]),
    ]
