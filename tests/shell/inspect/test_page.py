import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.inspect import page as module
from loom_shell.inspect.page import SCRIPTS, encoded, page
from loom_shell.inspect.shown import Recording
from tests.support.conversations import hostile
from tests.support.inspected import HOSTILE, told

FOLDER = Path(module.__file__).parent
WHOLE = page(told().recording())


class Elements(HTMLParser):
    """The elements of a page with their attributes, and what stands in scripts and styles."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[tuple[str, str]] = []
        self._open = ""
        self.feed(html.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data: str) -> None:
        if self._open in {"script", "style"} and data.strip():
            self.inside.append((self._open, data))

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open if tag != self._open else ""


def recording(*texts: str) -> Recording:
    return Recording("a journal", 0, 0, 0, [], [], [], [(text, 0) for text in texts])


def stored(html: bytes) -> dict[str, Any]:
    [found] = re.findall(rb'<script type="application/json" id="recording">(.*?)</script>', html, re.DOTALL)
    held: dict[str, Any] = json.loads(found)
    return held


@pytest.mark.spec("inspect.inert")
def test_what_was_recorded_makes_no_element() -> None:
    assert [tag for tag, _ in Elements(WHOLE).found] == [tag for tag, _ in Elements(page(recording())).found]


@given(st.lists(st.one_of(hostile, st.sampled_from(HOSTILE), st.text(max_size=20)), max_size=6))
@pytest.mark.spec("inspect.inert")
def test_no_text_can_end_the_element_it_stands_in(texts: list[str]) -> None:
    kept = [text.encode("utf-8", "replace").decode() for text in texts]
    held = encoded(recording(*kept))
    assert not set(b"<>&") & set(held)
    assert [text for text, _ in json.loads(held)["texts"]] == kept
    assert stored(page(recording(*kept))) == json.loads(held)


@pytest.mark.spec("inspect.policy")
def test_the_policy_allows_the_pages_own_script_and_style_and_nothing_else() -> None:
    elements = Elements(WHOLE)
    [policy] = [
        it["content"] for tag, it in elements.found if it.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    digests = {
        kind: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for kind, text in elements.inside
    }
    assert rules == {
        "default-src": "'none'",
        "script-src": f"'sha256-{digests['script']}'",
        "style-src": f"'sha256-{digests['style']}'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    kinds = [tag for tag, _ in elements.found]
    assert kinds.index("meta") < kinds.index("style") < kinds.index("script")


@pytest.mark.spec("inspect.alone")
def test_the_file_names_no_other() -> None:
    elements = Elements(page(recording()))
    assert {tag for tag, _ in elements.found}.isdisjoint(
        {"link", "img", "iframe", "object", "embed", "base", "a"}
    )
    names = {name for _, attributes in elements.found for name in attributes}
    assert names.isdisjoint({"src", "href", "srcset", "action", "style"})
    assert not [name for name in names if name.startswith("on")]
    own = "".join(text for _, text in elements.inside)
    assert not re.search(r"url\(|@import|https?:|fetch\(|XMLHttpRequest|WebSocket|import\(", own)


@pytest.mark.spec("inspect.inert")
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_has_no_way_to_read_a_text_as_markup_or_as_code(name: str) -> None:
    script = (FOLDER / name).read_text("utf-8")
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|Function\(|srcdoc|</"
    )
    assert not re.search(forbidden, script)
    assert "javascript:" not in script


def test_a_page_is_utf8_and_the_same_each_time() -> None:
    assert page(told().recording()) == WHOLE
    assert WHOLE.decode().startswith("<!doctype html>")


@pytest.mark.parametrize(
    "path", sorted(FOLDER.glob("page.*")) + [FOLDER / name for name in SCRIPTS], ids=lambda it: it.name
)
def test_a_template_is_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 300
