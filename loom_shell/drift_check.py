"""What `loom doctor` says of compactions: whether a running Loom met words that it does not know."""

import http.client
import re

from loom_shell.checkup import PROXY_URL, Finding, call
from loom_shell.json_edit import JsonRefusedError, value

MOST = 4_000_000
"""Bytes of the page with the figures that are read."""
REMEDY = "a newer Loom may know them; until then the client's own words stand"
_DRIFT = re.compile(r'^loom_compaction_drift_total\{[^}]*phase="(\w+)"[^}]*\} (\d+)', re.MULTILINE)


def compaction(settings: str) -> Finding:
    """Asks the Loom that the settings' base URL leads to for its figures."""
    try:
        url = value(settings, PROXY_URL) if settings else None
        status, page = call("GET", f"{str(url).rstrip('/')}/loom/metrics", most=MOST)
    except (JsonRefusedError, OSError, http.client.HTTPException, ValueError):
        status, page = 0, b""
    if status != 200:
        return Finding("compaction", "absent", "no Loom to ask whether it knows the client's words")
    met = [(phase, int(count)) for phase, count in _DRIFT.findall(page.decode("utf-8", "replace"))]
    if not met:
        return Finding("compaction", "ok", "no unknown words of a compaction since the Loom was started")
    phases = ", ".join(f"{phase} {count}" for phase, count in sorted(met))
    found = f"unknown words of a compaction since the Loom was started ({phases}); its log says which"
    return Finding("compaction", "wrong", found, REMEDY)
