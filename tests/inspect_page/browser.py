"""A headless Chromium, spoken to by its DevTools protocol over two pipes (`--remote-debugging-pipe`)."""

import base64
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 30.0
"""What one command may take."""
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-pipe",
)
Told = dict[str, Any]


class BrowserFailedError(Exception):
    """The browser is not there, or does not answer."""


def program() -> str:
    for name in PROGRAMS:
        if found := shutil.which(name):
            return found
    raise BrowserFailedError(
        f"none of {', '.join(PROGRAMS)} is on the path: install Debian's package chromium"
    )


class Page:
    """One tab. `told`: all that the browser said of it by itself, the oldest first."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._buffer = b""
        self._number = 0
        self._session = ""
        self.told: list[Told] = []

    def attach(self) -> None:
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        found = self.command("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.command(f"{domain}.enable")
        self.command("Page.setLifecycleEventsEnabled", enabled=True)
        self.command("Emulation.setFocusEmulationEnabled", enabled=True)

    def command(self, method: str, **given: Any) -> Told:  # noqa: ANN401 - JSON
        self._number += 1
        asked: Told = {"id": self._number, "method": method, "params": given}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._write, json.dumps(asked).encode() + b"\0")
        while True:
            said = self._next()
            if said.get("id") == self._number:
                if "error" in said:
                    raise BrowserFailedError(f"{method}: {said['error']}")
                result: Told = said["result"]
                return result
            self.told.append(said)

    def _next(self) -> Told:
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self._read, 1 << 20) if ready else b""
            if not piece:
                raise BrowserFailedError("the browser has ended" if ready else "the browser is silent")
            self._buffer += piece
        said, _, self._buffer = self._buffer.partition(b"\0")
        found: Told = json.loads(said)
        return found

    def opens(self, address: str) -> None:
        """Load it anew, and wait until its script has run."""
        for place in ("about:blank", address):
            self.told.clear()
            self._loaded(self.command("Page.navigate", url=place)["loaderId"])
        self.finds("new Promise((done) => setTimeout(done, 100))")

    def _loaded(self, loader: str) -> None:
        def is_load(said: Told) -> bool:
            given = said.get("params", {})
            return (given.get("name"), given.get("loaderId")) == ("load", loader)

        while not any(map(is_load, self.told)):
            self.told.append(self._next())

    def finds(self, expression: str) -> Any:  # noqa: ANN401 - JSON
        """The value of a JavaScript expression in the page."""
        result = self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise BrowserFailedError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def presses(self, *keys: str) -> None:
        for key in keys:
            name = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
            code = {"Enter": 13, "Escape": 27}.get(key, 0)
            for kind in ("keyDown", "keyUp"):
                more = name if kind == "keyDown" else {}
                self.command("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    def looks(self, width: int, height: int, *, dark: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])

    def shot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A page of a browser whose profile is in `folder`. BrowserFailedError if there is none."""
    path = program()
    its_read, our_write = os.pipe()
    our_read, its_write = os.pipe()
    # The pipes' numbers are the protocol's (3 to read, 4 to write); ours may be the same.
    actions = [(os.POSIX_SPAWN_DUP2, its_read, 103), (os.POSIX_SPAWN_DUP2, its_write, 104)]
    actions += [(os.POSIX_SPAWN_DUP2, 103, 3), (os.POSIX_SPAWN_DUP2, 104, 4)]
    silent = (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)
    arguments = [path, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
    process = os.posix_spawn(path, arguments, os.environ, file_actions=[silent, *actions], setpgroup=0)
    os.close(its_read)
    os.close(its_write)
    try:
        page = Page(our_read, our_write)
        page.attach()
        yield page
    finally:
        os.close(our_write)
        os.close(our_read)
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
