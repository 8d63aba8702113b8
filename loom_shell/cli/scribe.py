"""`loom scribe`: what is said in sessions, from the stream into the database."""

import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from loom_shell.cli.asking import fail
from loom_shell.cli.show import ConfigFile, Home, place
from loom_shell.config import Config, ConfigError, load
from loom_shell.consumer import Consumer
from loom_shell.embedded import Embedded, EmbeddedError
from loom_shell.log import Log, form_for
from loom_shell.scribe import Database, Scribe, group

TEND_SECONDS = 1.0
"""How often it is looked whether the embedded store still answers."""
ILL = frozenset({"in trouble", "left alone"})
LOG_SECONDS = 1.0


def scribe(*, config: ConfigFile = None, home: Home = None) -> None:
    """Store what is said in sessions, until Ctrl-C or SIGTERM. `loom serve` does so by itself."""
    try:
        settings = load({"config": config, "home": home})
        anyio.run(_run, settings)
    except (ConfigError, EmbeddedError) as error:
        fail(f"{error}")


async def _run(config: Config) -> None:
    async with AsyncExitStack() as stack:
        log = Log(2, form_for(config.log, 2))
        stack.callback(log.close, LOG_SECONDS)
        embedded = None
        if config.redis is None:
            embedded = Embedded(config.home)
            stack.push_async_callback(embedded.aclose)
        store = config.redis or await _started(embedded)
        kept, machine = place(config), os.uname().nodename
        consumer = Consumer(store, group(kept, machine if config.redis else ""), machine)
        stack.push_async_callback(consumer.aclose)
        one = Scribe(consumer, Database(kept), log.note)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_end_on_signal, tasks.cancel_scope)
            if embedded is not None:
                tasks.start_soon(_tend, embedded, consumer)
            log.note("info", "the scribe stores what is said")
            await one.run()
        status = one.status()
        log.note("info", "the scribe ends", stored=status.stored, seen=status.seen)


async def _started(embedded: Embedded | None) -> Path:
    assert embedded is not None  # noqa: S101 - for the type: there is one where no other is named
    return await embedded.start()


async def _end_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return


async def _tend(embedded: Embedded, consumer: Consumer) -> None:
    """Start the embedded store anew when it is gone."""
    while True:
        await anyio.sleep(TEND_SECONDS)
        if consumer.health().state in ILL:
            try:
                await embedded.start()
            except EmbeddedError:
                # The scribe itself tells of a store that does not answer.
                continue
