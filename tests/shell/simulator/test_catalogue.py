import pytest

from loom_shell.simulator.catalogue import SCENARIOS
from loom_shell.simulator.compacting import COMPACTING
from loom_shell.simulator.faults import FAULTS
from loom_shell.simulator.shapes import SHAPES
from loom_shell.simulator.sound import SOUND


def test_every_scenario_is_listed_under_a_name_of_its_own() -> None:
    assert len(SCENARIOS) == len(SOUND) + len(COMPACTING) + len(SHAPES) + len(FAULTS)
    assert all(name == scenario.name for name, scenario in SCENARIOS.items())


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda one: one.name)
def test_every_scenario_says_one_sentence_about_itself(scenario: object) -> None:
    says = scenario.says
    assert says.endswith(".")
    assert says[0].isupper()
    assert len(says) < 110
