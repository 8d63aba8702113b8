"""All scenarios by name."""

from collections.abc import Mapping

from loom_shell.simulator.compacting import COMPACTING
from loom_shell.simulator.faults import FAULTS
from loom_shell.simulator.scenarios import Scenario
from loom_shell.simulator.shapes import SHAPES
from loom_shell.simulator.sound import SOUND

SCENARIOS: Mapping[str, Scenario] = {one.name: one for one in (*SOUND, *COMPACTING, *SHAPES, *FAULTS)}
