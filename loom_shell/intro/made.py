"""Intro put together: over the one Redis, with the model of the configuration."""

from collections.abc import Callable
from pathlib import Path

from loom_shell import config
from loom_shell.consumer import Consumer
from loom_shell.intro.model import HttpModel
from loom_shell.intro.notebook import Pace
from loom_shell.intro.reader import Intro, Parts
from loom_shell.intro.shelf import Shelf
from loom_shell.intro.stored import Stored
from loom_shell.redis_url import Redis

GROUP = "intro"
"""The consumer group on the stream of transcripts."""


def intro(
    settings: config.Intro,
    place: Redis | Path,
    name: str,
    note: Callable[[str], None],
    pace: Pace | None = None,
) -> Intro:
    """Intro over the store at `place`; `name` is this consumer's, the same after a restart."""
    parts = Parts(Consumer(place, GROUP, name), Shelf(place), Stored(place), HttpModel(settings))
    return Intro(parts, note, pace)
