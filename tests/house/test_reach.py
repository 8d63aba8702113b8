"""The world is touched in few places: the environment in one file, clock and `step` in another.

The log, the metrics, the scribe and the files of the journal have clocks of their own: the stamp of a line, a
figure, a row or a file is no event, and neither is what "two days ago" means. The hook is a program of its
own, which imports nothing of the rest. A replay runs the core over a recording, and a journal over what it is
to hold.
"""

from collections.abc import Callable

import pytest

from tests.house import reach, tree

Find = Callable[[str], tuple[int, ...]]


@pytest.mark.parametrize(
    ("find", "only", "packages"),
    [
        (reach.environment, {"loom_shell/config.py", "loom_shell/hook.py"}, ("loom_core", "loom_shell")),
        (
            reach.clock,
            {
                "loom_shell/driver.py",
                "loom_shell/log.py",
                "loom_shell/metrics.py",
                "loom_shell/hook.py",
                "loom_shell/cli/search.py",
                "loom_shell/scribe/consuming.py",
                "loom_shell/replay/writing.py",
            },
            ("loom_core", "loom_shell"),
        ),
        (
            reach.step,  # in the core, loom.py routes to machines
            {"loom_shell/driver.py", "loom_shell/replay/running.py", "loom_shell/replay/shadow.py"},
            ("loom_shell",),
        ),
    ],
    ids=["environment", "wall clock", "step"],
)
def test_only_these_files_touch(find: Find, only: set[str], packages: tuple[str, ...]) -> None:
    places = {
        f"{tree.name(path)}:{line}"
        for path in tree.sources(*packages)
        for line in find(path.read_text(encoding="utf-8"))
        if tree.name(path) not in only
    }
    assert sorted(places) == []


@pytest.mark.parametrize(
    ("find", "source"),
    [
        (reach.environment, "import os\nos.environ['A']"),
        (reach.environment, "import os\nos.getenv('A')"),
        (reach.environment, "\nfrom os import path, environ"),
        (reach.clock, "import time\ntime.time_ns()"),
        (reach.clock, "import time\nclock = time.time"),
        (reach.clock, "\nfrom time import time_ns as now"),
        (reach.clock, "import time\ntime.gmtime()"),
        (reach.clock, "from datetime import datetime\ndatetime.now()"),
        (reach.clock, "import datetime as d\nd.datetime.now(d.UTC)"),
        (reach.clock, "from datetime import date\ndate.today()"),
        (reach.step, "from loom_core import loom\nloom.step(key, state, event)"),
        (reach.step, "\nfrom loom_core.loom import step as go"),
        (reach.step, "\nstep(1, 2, 3)"),
    ],
)
def test_the_check_finds(find: Find, source: str) -> None:
    assert find(source) == (2,)


@pytest.mark.parametrize(
    ("find", "source"),
    [
        (reach.environment, "import os\nos.path.join('a')\nconfig.environ"),
        (reach.clock, "import time\ntime.monotonic_ns()\ntime.perf_counter()\nloop.time()\ntime.gmtime(at)"),
        (reach.step, "footstep()\nstep = 1"),
    ],
)
def test_the_check_allows(find: Find, source: str) -> None:
    assert find(source) == ()
