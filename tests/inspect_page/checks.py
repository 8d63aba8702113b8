"""What a page must do in a browser. Each check is a function that raises `Wrong`, with what is wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from loom_shell.inspect.page import page as written
from loom_shell.inspect.shown import Exchange, Inside, Lane, Line, Recording, Session, Turn
from tests.inspect_page.browser import Page
from tests.support.inspected import HOSTILE, told

MANY, IN_A_TURN = 5_000, 20
OPEN_ALL = """(async () => {
  for (const more of document.querySelectorAll(".more")) while (more.isConnected) more.click();
  for (const all of document.querySelectorAll(".card")) if (all.open) all.open(true);
  for (const fold of document.querySelectorAll(".fold")) fold.open(true);
  const held = () => document.querySelectorAll("details:not([open])");
  for (let round = 0; round < 4; round++) {
    for (const it of held()) it.open = true;
    await new Promise((done) => setTimeout(done, 60)); // what is opened is drawn a little later
  }
  return held().length;
})()"""
ATTACKS = """(async () => {
  const refused = new Set(), script = document.createElement("script"), image = new Image();
  document.addEventListener("securitypolicyviolation", (it) => refused.add(it.effectiveDirective));
  try { script.text = "document.title = 'owned'"; document.body.append(script); } catch {}
  try { document.body.innerHTML += "<b>x</b>"; } catch {}
  document.body.setAttribute("style", "background: url(http://192.0.2.1/y)");
  image.src = "http://192.0.2.1/x";
  await fetch("http://192.0.2.1/").catch(() => 0);
  await new Promise((done) => setTimeout(done, 100));
  return [...[...refused].sort(), document.title];
})()"""
INSIDE = (
    "What went up",
    "What came back",
    "Dialogue",
    "RequestReceived",
    "→ Streaming",
    "reworded: instruction",
    "woven in: sticky",
    "the profile's words in the place of the client's",
)
"""What an exchange says that is a compaction."""
ROWS = "document.querySelectorAll('button.row:not(.tool)').length"
SEEN = "[...document.querySelectorAll('button.turn')].filter((it) => it.offsetParent).length"
CONTRAST = """(() => {
  const rgb = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((it) => it / 255)
    .map((it) => (it <= 0.03928 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4))
    .reduce((sum, it, at) => sum + it * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (it) => {
    for (; it; it = it.parentElement) {
      const found = rgb(getComputedStyle(it).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const low = new Set();
  for (const it of document.querySelectorAll("main *, header *")) {
    const says = [...it.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!says || !it.offsetParent) continue;
    const [one, other] = [light(rgb(getComputedStyle(it).color)), light(ground(it))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) low.add(`${it.tagName}.${it.className} ${ratio.toFixed(2)}`);
  }
  return [...low];
})()"""


class Wrong(Exception):  # noqa: N818 - a finding
    """What is wrong; the text is a sentence."""


def demand(is_so: object, otherwise: str) -> None:
    if not is_so:
        raise Wrong(otherwise)


class Stage:
    """The pages that are tried. `shots`: where pictures of them go."""

    def __init__(self, browser: Page, folder: Path, shots: Path) -> None:
        self.browser, self.shots = browser, shots
        self.small, self.large = folder / "small.html", folder / "large.html"
        self.small.write_bytes(written(told().recording()))
        self.large.write_bytes(written(many()))

    def opens(self, path: Path, at: str = "") -> None:
        self.browser.opens(path.as_uri() + at)


def many() -> Recording:
    """Thousands of exchanges in hundreds of turns."""
    lines = [Line(it * 1_000, ">>", "UpstreamChunkReceived", it % 3) for it in range(20)]
    count = MANY // IN_A_TURN
    rows = [_row(number, lines) for number in range(MANY)]
    turns = [
        Turn(0, f"{it}", it % 3, "complete", rows[it * IN_A_TURN].start, rows[it * IN_A_TURN + 19].end,
             [Lane("", "", "complete", [])], [], list(range(it * IN_A_TURN, (it + 1) * IN_A_TURN)))
        for it in range(count)
    ]  # fmt: skip
    texts = [("Tea, please.", 0), ("Milk? " * 200, 0), ("needle", 0)]
    return Recording("many", 0, MANY * 1_000_000, MANY * 40, [Session("s", [])], turns, rows, texts)


def _row(number: int, lines: list[Line]) -> Exchange:
    start = number * 1_000_000
    end = start + 800_000
    return Exchange(
        number=number + 1, id=f"x-{number}", turn=number // IN_A_TURN, lane=0, index=1, kind="main",
        method="POST", path="/v1/messages", model="m", start=start, end=end, status=200,
        outcome="complete", why=-1, attempts=1, received=1, relayed=1, cut=0, stop="end_turn",
        fresh=1, written=2, read=3, out=4,
        phases=[("AwaitingHead", start, start + 300_000), ("Streaming", start + 300_000, end)], woven=None,
        inside=Inside(-1, None, [], lines),
    )  # fmt: skip


def hostile_text_does_nothing(stage: Stage) -> None:
    browser = stage.browser
    stage.opens(stage.small)
    title = browser.finds("document.title")
    demand(browser.finds(OPEN_ALL) == 0, "something does not open")
    demand(browser.finds("document.title") == title == "Recorded session - the Loom", "a recorded text ran")
    text = browser.finds("document.getElementById('turns').textContent")
    for said in (HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[3], "⟨U+202E⟩gnp.exe"):
        demand(said in text, f"{said} is not to be read on the page")
    counted = browser.finds("document.querySelectorAll('script, img, svg, iframe, a, object, style').length")
    demand(counted == 3, f"recorded markup became elements: {counted}, and not the page's own three")
    _is_quiet(browser)


def _is_quiet(browser: Page) -> None:
    browser.finds("new Promise((done) => setTimeout(done, 200))")
    for said in browser.told:
        name, given = said.get("method", ""), said.get("params", {})
        demand(name not in {"Runtime.exceptionThrown", "Page.javascriptDialogOpening"}, f"{name}: {given}")
        if name == "Log.entryAdded":
            raise Wrong(f"the browser complains: {given['entry'].get('text')}")
        if name == "Network.requestWillBeSent":
            address = given["request"]["url"]
            demand(address.startswith(("file:", "about:")), f"a network was asked for {address}")


def policy_holds(stage: Stage) -> None:
    """What got into the page all the same would neither run nor ask a network."""
    browser = stage.browser
    stage.opens(stage.small)
    found = browser.finds(ATTACKS)
    refused = ["connect-src", "img-src", "require-trusted-types-for", "style-src-attr"]
    demand(found == [*refused, "Recorded session - the Loom"], f"the policy has a hole: it refused {found}")


def exchanges_open(stage: Stage) -> None:
    browser = stage.browser
    stage.opens(stage.small, "#exchange-10")
    shown = browser.finds("document.querySelector('#exchange-10 .inside').innerText")
    for said in INSIDE:
        demand(said in shown, f"an exchange that is open does not say: {said}")
    stage.opens(stage.small, "#exchange-2")
    marks = browser.finds("[...document.querySelectorAll('#exchange-2 .block')].map((it) => it.className)")
    for mark in ("m-identity", "m-sticky", "m-ephemeral"):
        demand(any(mark in name for name in marks), f"no block is marked {mark}")
    demand(
        "a-credential-of-somebody" not in browser.finds("document.documentElement.outerHTML"),
        "a credential is shown",
    )


def search_and_filters_choose(stage: Stage) -> None:
    browser = stage.browser
    stage.opens(stage.small, "#find=KETTLE")
    demand(browser.finds("document.querySelectorAll('mark').length") > 0, "no word is marked")
    demand(
        "exchange" in browser.finds("document.getElementById('found').textContent"),
        "a search does not say what it found",
    )
    demand(0 < browser.finds(ROWS) < 6, "a search shows more than it found")
    stage.opens(stage.small, "#find=no such word anywhere")
    demand(
        "Nothing fits" in browser.finds("document.getElementById('turns').innerText"),
        "an empty search is silent",
    )
    for value, rows in (("bad", 2), ("compaction", 2), ("subagent", 2), ("beside", 2), ("all", 0)):
        stage.opens(stage.small)
        browser.finds(f"document.getElementById('show').value = '{value}'")
        browser.finds("document.getElementById('show').dispatchEvent(new Event('change'))")
        found = browser.finds(ROWS)
        demand(found == rows, f"of {value} {found} rows are shown, not {rows}")


def keys_do_without_a_mouse(stage: Stage) -> None:
    browser = stage.browser
    stage.opens(stage.small)
    browser.presses("j", "j", "Enter")
    demand(
        browser.finds("document.activeElement.getAttribute('aria-expanded')") == "true", "Enter opens no turn"
    )
    browser.presses("j", "Enter")
    opened = browser.finds("[...document.querySelectorAll('.inside')].filter((it) => !it.hidden).length")
    demand(opened == 1, f"j and Enter open {opened} exchanges")
    browser.presses("Escape")
    opened = browser.finds("[...document.querySelectorAll('.inside')].filter((it) => !it.hidden).length")
    demand(opened == 0, "Escape closes nothing")
    browser.presses("/")
    demand(browser.finds("document.activeElement.id") == "search", "/ leads to no search")
    browser.presses(*"tea", "Escape")
    browser.finds("new Promise((done) => setTimeout(done, 300))")
    demand(browser.finds("document.getElementById('search').value") == "", "Escape does not clear the search")
    demand(browser.finds(SEEN) == 5, "a search that was cleared still hides turns")


def thousands_are_no_burden(stage: Stage) -> None:
    browser = stage.browser
    stage.opens(stage.large)
    nodes = browser.finds("document.querySelectorAll('*').length")
    demand(nodes < 6_000, f"{MANY} exchanges are {nodes} elements before anything is open")
    took = browser.finds("performance.getEntriesByType('navigation')[0].loadEventEnd")
    demand(took < 5_000, f"{MANY} exchanges take {took:.0f} ms to load")
    took = browser.finds(
        "(() => { const began = performance.now(); setWords('needle'); return performance.now() - began; })()"
    )
    demand(took < 2_000, f"a search through {MANY} exchanges takes {took:.0f} ms")
    stage.opens(stage.large, f"#exchange-{MANY}")
    demand(
        browser.finds("document.activeElement.parentElement.id") == f"exchange-{MANY}",
        "the last exchange cannot be reached",
    )


def it_can_be_read_everywhere(stage: Stage) -> None:
    browser = stage.browser
    for name, width, height, dark in (
        ("light", 1280, 1000, False),
        ("dark", 1280, 1000, True),
        ("narrow", 380, 1000, False),
    ):
        browser.looks(width, height, dark=dark)
        for place in ("", "#turn-2", "#exchange-2", "#exchange-10"):
            stage.opens(stage.small, place)
            browser.shot(stage.shots / f"{name}{place.replace('#', '-')}.png")
        browser.finds(OPEN_ALL)
        wide = browser.finds("document.scrollingElement.scrollWidth - innerWidth")
        demand(wide <= 0, f"{name}: the page is {wide} pixels wider than its window")
        low: list[Any] = browser.finds(CONTRAST)
        demand(not low, f"{name}: too little contrast (below 4.5): {', '.join(low[:8])}")
        browser.shot(stage.shots / f"{name}-all.png")
    browser.looks(1280, 1000)


CHECKS: tuple[Callable[[Stage], None], ...] = (
    hostile_text_does_nothing,
    policy_holds,
    exchanges_open,
    search_and_filters_choose,
    keys_do_without_a_mouse,
    thousands_are_no_burden,
    it_can_be_read_everywhere,
)
