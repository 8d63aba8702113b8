"""What the model answers, read strictly: an envelope of XML tags with memorables in it, or garbage.

    <memorables>
    <memorable>One sentence.</memorable>
    </memorables>

A model that thinks aloud does so before its answer, so the last envelope counts.
"""

import re

MOST_READ = 32_768
"""Characters of an answer that are looked at, from its end."""
MOST_FOUND = 5
"""Memorables of one answer."""
EXAMPLES = frozenset({"first sentence.", "second sentence."})
"""What the prompt shows as a form; a model that repeats it has noted nothing."""

_OPEN, _CLOSE, _EMPTY = "<memorables>", "</memorables>", "<memorables/>"
_ONE = re.compile(r"<memorable>([^<]*)</memorable>")
_ENTITY = re.compile(r"&(lt|gt|amp|quot|apos|#39);")
_CHARACTERS = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'", "#39": "'"}


class GarbageError(Exception):
    """An answer without the envelope."""


def opened(answer: str) -> tuple[str, ...]:
    """The texts in the envelope, in their order, as they stand there. GarbageError if there is none."""
    answer = answer[-MOST_READ:]
    end, empty = answer.rfind(_CLOSE), answer.rfind(_EMPTY)
    if empty > end:
        return ()
    start = answer.rfind(_OPEN, 0, max(0, end))
    if start < 0:
        raise GarbageError
    inside = answer[start + len(_OPEN) : end]
    found = [_plain(one).strip() for one in _ONE.findall(inside)]
    if not found and inside.strip():
        raise GarbageError
    return tuple(one for one in found if one and one.lower() not in EXAMPLES)[:MOST_FOUND]


def _plain(text: str) -> str:
    """The five entities of XML as what they stand for, once."""
    return _ENTITY.sub(lambda entity: _CHARACTERS[entity[1]], text)
