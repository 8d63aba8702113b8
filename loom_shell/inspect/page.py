"""A recording as one HTML file that needs no network and runs no script but its own.

All that was recorded is hostile. It stands in the file as JSON that holds no `<`, in a script element that no
browser runs, and the page's script puts it on the screen as text only. The policy (Content Security Policy
level 3) allows the page's own script and style by their hashes and nothing else: no address can be asked,
and no text can become markup.
"""

import base64
import hashlib
from pathlib import Path
from string import Template

import msgspec

from loom_shell.inspect.shown import Recording

_FOLDER = Path(__file__).parent
SCRIPTS = ("elements.js", "timeline.js", "detail.js", "page.js")
"""They share one scope: the order is that of their use at the start."""
UNSAFE = ((b"<", rb"\u003c"), (b">", rb"\u003e"), (b"&", rb"\u0026"))
"""What could end the element that the JSON stands in, by its escape in JSON."""


def page(recording: Recording) -> bytes:
    """The whole file, UTF-8."""
    script = "\n".join(_read(name) for name in SCRIPTS)
    style = _read("page.css")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_digest(script)}'",
            f"style-src '{_digest(style)}'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )
    parts = {"policy": policy, "style": style, "script": script, "recording": encoded(recording).decode()}
    return Template(_read("page.html")).substitute(parts).encode()


def encoded(recording: Recording) -> bytes:
    """JSON fit to stand in a script element."""
    found = msgspec.json.encode(recording)
    for sign, escape in UNSAFE:
        found = found.replace(sign, escape)
    return found


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Of what stands in the element, to the byte."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
