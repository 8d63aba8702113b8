import pytest
from msgspec.structs import replace as evolve

from loom_core.woven import WovenIn

REPLAYED = WovenIn("ann", 5, 9, identity=30, sticky=12, ephemeral=4, anchors=3, replayed=2)


@pytest.mark.parametrize(
    ("woven", "outcome"),
    [
        (WovenIn("ann", 0, 0), "nothing"),
        (WovenIn("ann", 0, 0, ephemeral=1), "replayed"),
        (REPLAYED, "replayed"),
        (evolve(REPLAYED, decided="woven"), "woven"),
        (evolve(REPLAYED, decided="empty"), "empty"),
        (evolve(REPLAYED, trouble="slow"), "replayed"),
        (evolve(REPLAYED, decided="woven", missing="store"), "unwoven"),
        (WovenIn("ann", 0, 0, reworded=("instruction",)), "reworded"),
        (evolve(REPLAYED, reworded=("continuation",)), "replayed"),
    ],
)
@pytest.mark.spec("weave.figures")
def test_what_became_of_it_is_one_word_of_few(woven: WovenIn, outcome: str) -> None:
    assert woven.outcome == outcome


@pytest.mark.spec("weave.told")
def test_the_client_is_told_in_tokens_and_of_a_store_that_was_not_there() -> None:
    assert REPLAYED.told == "identity=30,sticky=12,tokens=46"
    assert evolve(REPLAYED, missing="store").told == "identity=30,sticky=12,tokens=46,missing=store"
    assert evolve(REPLAYED, trouble="the store: slow").told == REPLAYED.told


@pytest.mark.spec("compact.told")
def test_the_client_is_told_which_of_its_words_made_room() -> None:
    told = "identity=30,sticky=12,tokens=46,reworded=system+instruction"
    assert evolve(REPLAYED, reworded=("system", "instruction")).told == told


def test_tokens_are_those_of_all_three_classes() -> None:
    assert REPLAYED.tokens == 46
    assert WovenIn("ann", 0, 0).tokens == 0
