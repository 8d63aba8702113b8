"""The whole core as one function: `step(key, state, event) -> (state, actions)`.

The same events give the same states and actions. A recording of the outside events alone replays
the system, since machines speak to each other only by `Tell`.
"""

from loom_core import exchange
from loom_core.actions import Actions
from loom_core.events import Event
from loom_core.values import Key

State = exchange.State


def begin(key: Key) -> State:
    """The state of a machine nobody has told anything yet."""
    del key
    return exchange.Idle()


def step(key: Key, state: State, event: Event) -> tuple[State, Actions]:
    """Route one event to the machine `key` names."""
    return exchange.step(key, state, event)
