"""An Anthropic upstream that runs here, for `loom demo`, `loom simulate`, tests and benchmarks."""

from loom_shell.simulator.catalogue import SCENARIOS
from loom_shell.simulator.received import Received
from loom_shell.simulator.scenarios import Ending, Scenario, Upload
from loom_shell.simulator.server import Simulator

__all__ = ["SCENARIOS", "Ending", "Received", "Scenario", "Simulator", "Upload"]
