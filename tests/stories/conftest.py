"""One simulator and one Loom in front of it for the stories of a file; each story finds them as new."""

from collections.abc import AsyncIterator, Iterator

import pytest

from loom_shell import linewriter
from loom_shell.simulator import Simulator
from tests.support.proxy import RunningLoom, loom


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module", autouse=True)
def _prompt_log() -> Iterator[None]:
    """Each story reads the whole log at its end: nothing is gathered first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linewriter, "GATHERING", 0.001)
        yield


@pytest.fixture(scope="module")
async def shared_sim(anyio_backend: object) -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
async def shared_proxy(shared_sim: Simulator) -> AsyncIterator[RunningLoom]:
    async with loom(shared_sim.origin) as running:
        yield running


@pytest.fixture
def sim(shared_sim: Simulator) -> Simulator:
    shared_sim.forget()
    return shared_sim


@pytest.fixture
async def proxy(sim: Simulator, shared_proxy: RunningLoom) -> AsyncIterator[RunningLoom]:
    """The Loom. Whatever the story was, no exchange stays behind and nothing was printed."""
    shared_proxy.forget()
    yield shared_proxy
    await shared_proxy.idle()
    assert shared_proxy.faults == []
    assert shared_proxy.notes == []
