from loom_shell.simulator.scenarios import Ending, Scenario, Upload
from loom_shell.simulator.steps import Script
from tests.shell.simulator.raw import asked


def quiet(_: object) -> Script:
    """Says nothing,
    on two lines."""
    return []


def test_a_scenario_says_what_its_script_says_on_one_line() -> None:
    assert Scenario("quiet", quiet).says == "Says nothing, on two lines."
    assert Scenario("bare", lambda _: []).says == ""


def test_a_scenario_reads_the_upload_and_ends_cleanly_unless_told_otherwise() -> None:
    scenario = Scenario("quiet", quiet)
    assert (scenario.ending, scenario.upload) == (Ending.CLEAN, Upload.READ)
    assert list(scenario.script(asked())) == []
