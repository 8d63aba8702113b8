"""What every test shares: the spec guard, the hypothesis profiles, the event loop."""

import os

import pytest
from hypothesis import settings

pytest_plugins = ["pytester", "tests.support.specs"]

# Repeatable, so that a red guard means a change and not a draw of the lot.
settings.register_profile("fast", max_examples=60, derandomize=True, deadline=None, database=None)
settings.register_profile("deep", max_examples=3000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture
def anyio_backend() -> str:
    """Hypercorn and uvloop run asyncio; so do the tests marked `anyio`."""
    return "asyncio"
