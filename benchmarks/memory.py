"""`python -m benchmarks.memory [FILE]`: how well, and how fast, the embedded memory recalls.

FILE is a set in the form of LoCoMo; without one the small set beside this file is asked. Each sample gets
a memory of its own, and raw BM25 over the same texts stands beside it. `--speed` fills one memory
with 10,000 made texts and measures searches.
"""

import argparse
import asyncio
import random
import re
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from loom_core.lookup import Question
from loom_shell.memory import Cortex, NewMemory
from loom_shell.memory.recall import (
    ABSTENTION,
    DEPTHS,
    Figures,
    Found,
    Outcome,
    Sample,
    SetRefusedError,
    figures,
    fill,
    outcomes,
    read_set,
    through,
)

OWN_SET = Path(__file__).with_name("recall_set.json")
MANY = 10_000
WORDS = 20_000
"""Different words of the made texts; the n-th is n times rarer than the first, as in a language."""
SEARCHES = 1_000
LIMIT_MS = 25.0
"""What 95 of 100 searches among so many may take: a tenth of a question's usual deadline."""


def read(file: Path) -> tuple[Sample, ...]:
    """The samples of a file. SetRefusedError, which names the file, for one that cannot be asked."""
    try:
        samples = read_set(file.read_bytes())
    except OSError as error:
        raise SetRefusedError(f"{file} cannot be read: {error.strerror}") from None
    except SetRefusedError as error:
        raise SetRefusedError(f"{file}: {error}") from None
    if not any(sample.questions for sample in samples):
        raise SetRefusedError(f"{file}: no question in it has evidence that can be found")
    return samples


def raw(sample: Sample) -> Found:
    """BM25 as FTS5 has it, and nothing else: every word of the question, no stemming, no neighbours."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE words USING fts5(text)")
    db.executemany("INSERT INTO words VALUES (?)", [(turn.text,) for turn in sample.turns])

    async def found(question: str) -> tuple[str, ...]:
        words = dict.fromkeys(re.findall(r"[^\W_]+", question.lower()))
        expression = " OR ".join(f'"{word}"' for word in words)
        query = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?"
        rows = db.execute(query, (expression, max(DEPTHS))) if words else ()
        return tuple(sample.turns[row - 1].id for (row,) in rows)

    return found


async def compare(samples: tuple[Sample, ...], min_score: float) -> dict[str, list[Outcome]]:
    """Every question asked of both."""
    told: dict[str, list[Outcome]] = {"cortex": [], "raw BM25": []}
    for sample in samples:
        with tempfile.TemporaryDirectory() as folder:
            memory = Cortex(Path(folder))
            try:
                turns = await fill(memory, sample)
                told["cortex"] += await outcomes(through(memory, turns, min_score), sample)
            finally:
                await memory.aclose()
        told["raw BM25"] += await outcomes(raw(sample), sample)
    return told


def rows(told: dict[str, list[Outcome]]) -> Iterator[tuple[str, str, Figures]]:
    for name, all_of_it in told.items():
        yield name, "all", figures(all_of_it)
        for category in sorted({one.category for one in all_of_it} - {ABSTENTION}):
            yield name, category, figures([one for one in all_of_it if one.category == category])


def table(told: dict[str, list[Outcome]]) -> Table:
    shown = Table("", "kind", "questions", *(f"R@{depth}" for depth in DEPTHS), "abstained", "p50", "p95")
    for name, category, found in rows(told):
        recall = (f"{found.recall[depth]:.3f}" for depth in DEPTHS)
        abstained = f"{found.abstained:.2f} of {found.abstentions}" if found.abstentions else ""
        took = (f"{nanoseconds / 1e6:.2f} ms" for nanoseconds in (found.p50, found.p95))
        shown.add_row(name, category, f"{found.questions}", *recall, abstained, *took)
    return shown


def made_words(chance: random.Random, count: int) -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return ["".join(chance.choices(letters, k=chance.randint(4, 9))) for _ in range(count)]


async def speed(out: Console) -> float:
    """Milliseconds that 95 of 100 searches stay under, among `MANY` memories."""
    chance = random.Random(20)  # noqa: S311 - texts, no secrets
    words = made_words(chance, WORDS)
    weights = [1 / (rank + 1) for rank in range(WORDS)]
    with tempfile.TemporaryDirectory() as folder:
        memory = Cortex(Path(folder))
        try:
            began = time.perf_counter()
            for at in range(MANY):
                text = " ".join(chance.choices(words, weights, k=chance.randint(10, 60)))
                await memory.put(NewMemory(text, at, session=f"{at // 50}"))
            put_us = (time.perf_counter() - began) / MANY * 1e6
            took = []
            for _ in range(SEARCHES):
                # The hundred most frequent words of a language are its stop words.
                query = " ".join(chance.choices(words[100:], weights[100:], k=chance.randint(3, 30)))
                began = time.perf_counter()
                told = await memory.search(Question(query, deadline=10_000_000_000))
                took.append((time.perf_counter() - began) * 1000)
                if told.trouble:
                    raise SetRefusedError(told.trouble)
            octets = memory.path.stat().st_size
        finally:
            await memory.aclose()
    took.sort()
    at_95 = took[SEARCHES * 95 // 100]
    out.print(
        f"{MANY:,} memories, {octets / 1e6:.0f} MB: put {put_us:.0f} µs; "
        f"search p50 {took[SEARCHES // 2]:.2f} ms, p95 {at_95:.2f} ms, longest {took[-1]:.2f} ms"
    )
    return at_95


def main() -> int:
    parser = argparse.ArgumentParser(prog="just bench-memory", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=OWN_SET, help="a set in the form of LoCoMo")
    parser.add_argument("--min-score", type=float, default=0.0, help="what is farther counts as not found")
    parser.add_argument("--speed", action="store_true", help="measure searches among many memories instead")
    asked = parser.parse_args()
    out = Console(highlight=False, width=110)
    try:
        if asked.speed:
            return 0 if asyncio.run(speed(out)) < LIMIT_MS else 1
        samples = read(asked.file)
        out.print(table(asyncio.run(compare(samples, asked.min_score))))
    except (OSError, SetRefusedError) as error:
        Console(stderr=True).print(f"just bench-memory: {error}", markup=False, soft_wrap=True)
        return 2
    left_out = sum(sample.unusable for sample in samples)
    if left_out:
        out.print(f"Left out, since no evidence for them can be found: {left_out} of the questions.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
