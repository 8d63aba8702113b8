"""How well a memory recalls: questions about conversations, and which turns hold the answers.

A set is JSON in the form of LoCoMo: a list of samples, each with a `conversation` of dated sessions and
`qa`, where `evidence` names the turns that answer a question. A question of category `abstention`
is answered by none. R@k is the share of a question's evidence among the first k, the mean over questions.
"""

import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from loom_core.lookup import Memory, Provenance, Question
from loom_shell.memory.port import MemoryPort, NewMemory, TextRefusedError

DEPTHS = (1, 5, 10)
"""The k of R@k."""
ABSTENTION = "abstention"
UNBOUNDED = 10_000_000
"""Tokens: no budget cuts what is measured."""
PATIENCE = 10_000_000_000
"""Nanoseconds: nor does a deadline."""

Found = Callable[[str], Awaitable[tuple[str, ...]]]
"""What is measured: a question's words -> ids of turns, best first. An empty answer is an abstention."""

_SESSION = re.compile(r"session_(\d+)")
_EVIDENCE = re.compile(r"D\d+:\d+")
_DATE = re.compile(r"(\d{1,2}):(\d\d) ([ap])m on (\d{1,2}) ([A-Z][a-z]{2})[a-z]*,? (\d{4})")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class SetRefusedError(Exception):
    """A set that cannot be read; the text is one line."""


class Turn(Struct, frozen=True):
    """One thing somebody said. `at`: nanoseconds since the epoch, 0 if the set does not tell."""

    id: str
    text: str
    session: str
    at: int


class Asked(Struct, frozen=True):
    """A question and the turns that answer it; none for one that should find nothing."""

    question: str
    evidence: frozenset[str]
    category: str


class Sample(Struct, frozen=True):
    """One conversation, its turns in order. `unusable`: questions without evidence that can be found."""

    name: str
    turns: tuple[Turn, ...]
    questions: tuple[Asked, ...]
    unusable: int = 0


class Outcome(Struct, frozen=True):
    """One question asked. `shares`: R@k for each of `DEPTHS`; `took`: nanoseconds."""

    category: str
    shares: tuple[float, ...]
    is_empty: bool
    took: int


class Figures(Struct, frozen=True):
    """Means over questions. `abstained` is the share of abstention questions that found nothing."""

    questions: int
    recall: Mapping[int, float]
    abstentions: int
    abstained: float
    p50: int
    p95: int


class _Said(Struct):
    speaker: str
    dia_id: str
    text: str = ""
    blip_caption: str = ""


class _Answerable(Struct):
    question: str
    category: int | str = ""
    evidence: list[str] = field(default_factory=list)


class _Sample(Struct):
    conversation: dict[str, Any]
    qa: list[_Answerable]
    sample_id: str | int = ""


def read_set(content: bytes) -> tuple[Sample, ...]:
    """The samples of a set. SetRefusedError for what is none."""
    try:
        read = msgspec.json.decode(content, type=list[_Sample])
        return tuple(_sample(i, one) for i, one in enumerate(read))
    except (ValueError, RecursionError) as error:
        raise SetRefusedError(f"this is no set in the form of LoCoMo: {error}") from None


def _sample(i: int, read: _Sample) -> Sample:
    turns: list[Turn] = []
    for key, said in read.conversation.items():
        if (match := _SESSION.fullmatch(key)) and isinstance(said, list):
            at = moment(read.conversation.get(f"{key}_date_time"))
            turns += [_turn(one, match[1], at) for one in msgspec.convert(said, list[_Said])]
    known = {turn.id for turn in turns}
    asked = [_asked(one, known) for one in read.qa]
    usable = tuple(one for one in asked if one.evidence or one.category == ABSTENTION)
    return Sample(f"{read.sample_id or i}", tuple(turns), usable, len(asked) - len(usable))


def _turn(said: _Said, session: str, at: int) -> Turn:
    shown = f" (a picture: {said.blip_caption})" if said.blip_caption else ""
    return Turn(said.dia_id, f"{said.speaker}: {said.text}{shown}", session, at)


def _asked(read: _Answerable, known: set[str]) -> Asked:
    named = {turn for one in read.evidence for turn in _EVIDENCE.findall(one)}
    return Asked(read.question, frozenset(named & known), f"{read.category}")


def moment(told: object) -> int:
    """`1:56 pm on 8 May, 2023` as nanoseconds since the epoch, UTC; 0 for anything else."""
    match = _DATE.fullmatch(told.strip()) if isinstance(told, str) else None
    if match is None or match[5] not in _MONTHS:
        return 0
    hour = int(match[1]) % 12 + (12 if match[3] == "p" else 0)
    try:
        month = _MONTHS.index(match[5]) + 1
        found = datetime(int(match[6]), month, int(match[4]), hour, int(match[2]), tzinfo=UTC)
    except ValueError:
        return 0
    return round(found.timestamp()) * 1_000_000_000


async def fill(memory: MemoryPort, sample: Sample) -> dict[str, str]:
    """Store every turn of a sample; the turn for each memory's id. A turn without words is left out."""
    turns: dict[str, str] = {}
    for turn in sample.turns:
        new = NewMemory(turn.text, turn.at, Provenance.USER, sample.name, turn.session)
        try:
            turns[(await memory.put(new)).id] = turn.id
        except TextRefusedError:
            continue
    return turns


def through(memory: MemoryPort, turns: Mapping[str, str], min_score: float = 0.0) -> Found:
    """A filled memory as what is measured. `min_score`: what is farther counts as not found."""

    async def found(words: str) -> tuple[str, ...]:
        question = Question(
            words,
            limit=max(DEPTHS),
            budget=UNBOUNDED,
            provenance=frozenset(Provenance),
            min_score=min_score,
            deadline=PATIENCE,
        )
        memories: tuple[Memory, ...] = (await memory.search(question)).memories
        return tuple(turns[one.id] for one in memories if one.id in turns)

    return found


async def outcomes(found: Found, sample: Sample) -> list[Outcome]:
    """Ask every question of a sample."""
    told = []
    for one in sample.questions:
        began = time.perf_counter_ns()
        ids = await found(one.question)
        took = time.perf_counter_ns() - began
        shares = tuple(_share(one.evidence, ids[:depth]) for depth in DEPTHS)
        told.append(Outcome(one.category, shares, not ids, took))
    return told


def _share(evidence: frozenset[str], ids: Sequence[str]) -> float:
    return len(evidence.intersection(ids)) / len(evidence) if evidence else 0.0


def figures(told: Sequence[Outcome]) -> Figures:
    answerable = [one for one in told if one.category != ABSTENTION]
    others = [one for one in told if one.category == ABSTENTION]
    took = sorted(one.took for one in told) or [0]
    return Figures(
        len(answerable),
        {depth: _mean([one.shares[i] for one in answerable]) for i, depth in enumerate(DEPTHS)},
        len(others),
        _mean([one.is_empty for one in others]),
        took[len(took) // 2],
        took[len(took) * 95 // 100],
    )


def _mean(shares: Sequence[float]) -> float:
    return sum(shares) / len(shares) if shares else 0.0
