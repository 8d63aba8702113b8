"""What must hold of one woven request after the other."""

import pytest
from attrs import evolve

from loom_shell.demo.places import Part
from loom_shell.demo.woven import Cache, Woven, cache_of, fault

SELF = Part("system[2]", {"type": "text", "text": "I am Ann."})
NOTE = Part("messages[0][1]", {"type": "text", "text": "Tea."})
FIRST = Woven(7, b"asked", b"asked and woven", (SELF, NOTE), Cache(1_000, 400))
NEXT = Woven(8, b"asked more", b"asked more and woven", (SELF, NOTE), Cache(1_400, 100))


@pytest.mark.spec("demo.prefix")
def test_a_request_that_keeps_what_stood_and_reads_all_that_was_there_is_well() -> None:
    assert fault(FIRST, []) == ""
    assert fault(NEXT, [FIRST]) == ""
    assert fault(evolve(NEXT, number=9, cache=Cache(1_500, 0)), [FIRST, NEXT]) == ""


@pytest.mark.spec("demo.woven-equal")
def test_one_into_which_nothing_was_woven_is_at_fault() -> None:
    assert fault(evolve(FIRST, parts=()), []) == "went up as its client wrote it: nothing was woven into it"


@pytest.mark.spec("demo.prefix")
@pytest.mark.parametrize(
    ("new", "why"),
    [
        (
            evolve(FIRST, up=b"woven anew", cache=Cache(1_400, 0)),
            "is request 7 once more, and was woven otherwise",
        ),
        (evolve(NEXT, parts=(SELF,)), "has not what was woven at messages[0][1] before"),
        (
            evolve(NEXT, parts=(evolve(SELF, path="system[3]"), NOTE)),
            "has not what was woven at system[2] before",
        ),
        (evolve(NEXT, cache=Cache(1_399, 0)), "read 1,399 tokens from the cache, and 1,400 were there"),
    ],
)
def test_one_that_breaks_the_prefix_is_at_fault(new: Woven, why: str) -> None:
    assert fault(new, [FIRST]) == why


@pytest.mark.spec("demo.honest")
def test_the_figures_of_the_cache_are_those_of_the_log() -> None:
    assert cache_of({"tokens": {"cache_read": 5, "cache_creation": 7, "input": 1}}) == Cache(5, 7)
    assert cache_of({}) == cache_of({"tokens": {}}) == Cache(0, 0)
