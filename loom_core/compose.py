"""What is woven, out of a profile's pieces and the answers of the store and the memory.

Every text is made safe, and what comes from the store or the memory redacted, before it is measured: so
budgets hold for the bytes that are woven. What is absent is left out, with its heading. The classes of
woven text and their budgets are those of weaving.md.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

from msgspec import Struct

from loom_core.ledger import MAX_WORDS, Decision
from loom_core.lookup import Answers, Memory, Recalled
from loom_core.profile import Life, Piece, Profile
from loom_core.redaction import redacted
from loom_core.wrapper import BACKGROUND, EARLIER, NOTED, NOW, clip, listed, memory, reminder, safe, tokens

MOST_TOKENS = 30_000
"""Tokens of one woven text, whatever a profile allows: as JSON it stays below the store's longest value."""
MOST_LISTED = 64
"""Pieces, memorables and memories in one decision, each, whatever a profile allows."""
MOST_WORDS = 200
"""Tokens of a profile's words before what it introduces."""
NOTHING = "nothing found"
_PER_ENTRY = 1
"""The line or blank line that parts a text from the one before counts as a token."""


class _Said(Struct, frozen=True):
    """What a piece says now, and the heading it stands under, "" for none."""

    name: str
    heading: str
    text: str

    def within(self, budget: int) -> str:
        """Both, in at most so many tokens; "" if no word of the text would be left."""
        head = f"## {self.heading}\n\n" if self.heading else ""
        text = clip(self.text, budget - tokens(head))
        return head + text if text else ""

    @property
    def mark(self) -> str:
        """Which piece this is, and what it says."""
        said = f"{self.heading}\n{self.text}"
        return f"{_short(self.name)}:{_short(said)}"


def wanted(profile: Profile, life: Life) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys and the key patterns that the pieces of this life are read from, each once."""
    pieces = [piece for piece in profile.pieces if piece.life is life]
    texts = dict.fromkeys(piece.key for piece in pieces if piece.key)
    patterns = dict.fromkeys(piece.pattern for piece in pieces if piece.pattern)
    return tuple(texts), tuple(patterns)


def identity(profile: Profile, answers: Answers) -> str:
    """The identity block: its pieces in order, under their headings; "" if there is nothing to say."""
    return _joined(_pieces(profile, Life.IDENTITY, answers), profile.identity_budget)


def ephemeral(profile: Profile, answers: Answers) -> str:
    """The block for this request only; "" if there is nothing to say."""
    return reminder(NOW, [_joined(_pieces(profile, Life.EPHEMERAL, answers), profile.identity_budget)])


def sticky(
    profile: Profile,
    answers: Answers,
    memorables: Sequence[str],
    recalled: Recalled,
    before: Sequence[Decision],
) -> Decision:
    """The decision at the newest anchor: one block of what is new there since `before`, or none and why.

    `before`: the decisions at the earlier anchors, in their order.
    """
    room = profile.memories.session_budget - sum(decision.tokens for decision in before)
    room = min(room, MOST_TOKENS // 4)
    pieces, marks = _new_pieces(profile, answers, before)
    noted, noted_marks, noted_tokens = _new_memorables(profile, memorables, before, room)
    found = _new_memories(profile, recalled, before, room - noted_tokens)
    memories = [entry for _, entry in found]
    entries = [
        *pieces,
        _introduced(profile.memorables.words or NOTED, [listed(noted)] if noted else []),
        _introduced(profile.memories.words or EARLIER, memories),
    ]
    text = reminder(BACKGROUND, entries)
    trouble = safe(recalled.trouble or answers.trouble)[:MAX_WORDS]
    if not text:
        return Decision(why=trouble or NOTHING)
    return Decision(
        text=text,
        ids=tuple(name for name, _ in found),
        marks=(*marks, *noted_marks),
        tokens=noted_tokens + sum(map(_cost, memories)),
        why=trouble,
    )


def _pieces(profile: Profile, life: Life, answers: Answers) -> Iterator[_Said]:
    """The pieces of this life that have something to say."""
    for piece in profile.pieces:
        if piece.life is life:
            text = _text(piece, answers)
            text = clip(text, piece.budget) if piece.budget else text
            if text:
                yield _Said(piece.name, " ".join(safe(piece.heading).split()), text)


def _text(piece: Piece, answers: Answers) -> str:
    if piece.key:
        said = redacted(answers.texts.get(piece.key, ""))
    elif piece.pattern:
        found = (redacted(text).strip() for _, text in answers.matched.get(piece.pattern, ()))
        said = "\n\n".join(filter(None, found))
    else:
        said = piece.text
    return safe(said).strip()


def _fitting(pieces: Iterable[_Said], room: int) -> Iterator[tuple[_Said, str]]:
    """Each piece as it is woven, as far as so many tokens go: one that does not fit whole is cut."""
    for said in pieces:
        if text := said.within(room):
            yield said, text
            room -= _cost(text)


def _joined(pieces: Iterable[_Said], budget: int) -> str:
    room = min(budget, MOST_TOKENS)
    whole = "\n\n".join(text for _, text in _fitting(pieces, room))
    # A tag may yet begin in one piece and end in the next.
    return clip(safe(whole), room)


def _new_pieces(
    profile: Profile, answers: Answers, before: Sequence[Decision]
) -> tuple[list[str], list[str]]:
    """Sticky pieces that say something else than when last woven, and their marks: which piece, and what."""
    marks = set(_last_marks(before))
    new = [said for said in _pieces(profile, Life.STICKY, answers) if said.mark not in marks]
    fitting = list(_fitting(new[:MOST_LISTED], min(profile.identity_budget, MOST_TOKENS // 2)))
    return [text for _, text in fitting], [said.mark for said, _ in fitting]


def _new_memorables(
    profile: Profile, memorables: Sequence[str], before: Sequence[Decision], room: int
) -> tuple[list[str], list[str], int]:
    """Memorables not woven before, their marks, and the tokens they cost."""
    rules = profile.memorables
    known, most = set(_marks(before)), min(rules.most, MOST_LISTED)
    found: list[str] = []
    marks: list[str] = []
    spent = 0
    for memorable in memorables if rules.on else ():
        if len(found) == most:
            break
        line = safe(" ".join(redacted(memorable).split())).strip()
        mark, text = _short(line), clip(line, rules.budget)
        if not text or mark in known or spent + _cost(text) > room:
            continue
        known.add(mark)
        found.append(text)
        marks.append(mark)
        spent += _cost(text)
    return found, marks, spent


def _new_memories(
    profile: Profile, recalled: Recalled, before: Sequence[Decision], room: int
) -> list[tuple[str, str]]:
    """Memories not woven before, best first, as (id, entry): whole, but for a first one that is too long."""
    rules = profile.memories
    most = min(rules.most, MOST_LISTED)
    known = {name for decision in before for name in decision.ids}
    room = min(room, rules.budget)
    found: list[tuple[str, str]] = []
    for it in recalled.memories if rules.on else ():
        if len(found) == most:
            break
        if it.id in known or it.provenance not in rules.provenance or it.score < rules.min_score:
            continue
        entry = _entry(it, room - _PER_ENTRY, cut=not found)
        if entry and len(it.id) <= MAX_WORDS:
            known.add(it.id)
            found.append((it.id, entry))
            room -= _cost(entry)
    return found


def _entry(it: Memory, room: int, *, cut: bool) -> str:
    """A memory as it is woven, in so many tokens; "" if it has no place there or says nothing."""
    text = safe(redacted(it.text)).strip()
    whole = memory(it.id, it.at, text)
    if tokens(whole) <= room or not text:
        return whole if text else ""
    text = clip(text, room - tokens(memory(it.id, it.at, "")) - _PER_ENTRY) if cut else ""
    return memory(it.id, it.at, text) if text else ""


def _introduced(words: str, entries: Sequence[str]) -> str:
    return "\n\n".join([clip(safe(words).strip(), MOST_WORDS), *entries]) if entries else ""


def _cost(entry: str) -> int:
    return tokens(entry) + _PER_ENTRY


def _marks(before: Sequence[Decision]) -> Iterator[str]:
    return (mark for decision in before for mark in decision.marks)


def _last_marks(before: Sequence[Decision]) -> Iterable[str]:
    """Of each piece the mark it was woven with last; a memorable's mark names no piece."""
    return {mark.partition(":")[0]: mark for mark in _marks(before) if ":" in mark}.values()


def _short(text: str) -> str:
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
