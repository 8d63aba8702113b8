"""The whole core as one function: `step(key, state, event) -> (state, actions)`.

The same events give the same states and actions. A recording of the outside events alone replays
the system, since machines speak to each other only by `Tell`.
"""

from collections.abc import Callable
from functools import partial
from typing import cast

from loom_core import exchange, transcript, turn
from loom_core.actions import Actions
from loom_core.events import Event
from loom_core.values import ExchangeKey, Key, TranscriptKey

State = exchange.State | turn.State | transcript.State
Stepper = Callable[[State, Event], tuple[State, Actions]]


def begin(key: Key) -> State:
    """The state of a machine nobody has told anything yet."""
    match key:
        case ExchangeKey():
            return exchange.Idle()
        case TranscriptKey():
            return transcript.Idle()
        case _:
            return turn.WaitingForUser()


def step(key: Key, state: State, event: Event) -> tuple[State, Actions]:
    """Route one event to the machine `key` names; its state is the one `begin` gave, stepped on."""
    return stepper(key)(state, event)


def stepper(key: Key) -> Stepper:
    """The step of the machine that `key` names, for whoever brings it many events."""
    match key:
        case ExchangeKey():
            return cast(Stepper, partial(exchange.step, key))
        case TranscriptKey():
            return cast(Stepper, partial(transcript.step, key))
        case _:
            return cast(Stepper, partial(turn.step, key))
