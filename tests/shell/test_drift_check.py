import json

import pytest

from loom_shell.drift_check import compaction
from tests.support.answering import answering

PAGE = b"""# TYPE loom_turns_total counter
loom_turns_total{agent="main"} 3.0
"""
MET = b"""loom_compaction_drift_total{otel_scope_name="loom",phase="instruction"} 2.0
loom_compaction_drift_total{otel_scope_name="loom",phase="request"} 1.0
"""


def settings(url: str) -> str:
    return json.dumps({"env": {"ANTHROPIC_BASE_URL": url}})


@pytest.mark.spec("compact.doctor")
def test_words_that_are_not_known_are_a_fault_with_what_to_do() -> None:
    with answering({"/loom/metrics": (200, PAGE + MET)}) as (url, _):
        finding = compaction(settings(f"{url}/"))
    assert (finding.name, finding.state) == ("compaction", "wrong")
    assert "(instruction 2, request 1)" in finding.found
    assert finding.todo


@pytest.mark.spec("compact.doctor")
def test_a_loom_that_met_none_is_well() -> None:
    with answering({"/loom/metrics": (200, PAGE)}) as (url, _):
        assert compaction(settings(url)).state == "ok"


@pytest.mark.parametrize("text", ["", "{", "{}", settings("nonsense"), settings("http://127.0.0.1:1")])
@pytest.mark.spec("compact.doctor")
def test_without_a_loom_to_ask_it_is_no_fault(text: str) -> None:
    assert compaction(text).state == "absent"


@pytest.mark.spec("compact.doctor")
def test_a_page_that_is_none_of_ours_is_no_fault() -> None:
    with answering({"/loom/metrics": (200, b"\xff" * 9), "/other/loom/metrics": (404, MET)}) as (url, _):
        assert compaction(settings(url)).state == "ok"
        assert compaction(settings(f"{url}/other")).state == "absent"
