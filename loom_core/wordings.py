"""What the client says around a compaction, word for word, and the versions it was seen in: data, no rules.

A wording is a beginning, and phrases that must follow in the same text; how it goes on is the client's own
business. A new client's words are added here and nowhere else. Seen on the wire, or told by contracts
section 3.
"""

from msgspec import Struct


class Wording(Struct, frozen=True):
    """A text that begins so and `holds` these phrases. `needs_summariser`: only beside that system prompt.

    `closes`: how what the client says behind the user's own words begins, "" if it says nothing there.
    `seen`: the oldest and the newest client it was seen in.
    """

    begins: str
    seen: tuple[str, str]
    holds: tuple[str, ...] = ()
    needs_summariser: bool = False
    closes: str = ""


SUMMARISER = Wording(
    "You are a helpful AI assistant tasked with summarizing conversations.", ("1.0.128", "2.1.9")
)
"""The system prompt of the call that compacts (phase 1); later clients leave their own as it is."""

_TASK = "Your task is to create a detailed summary"
ADDITIONAL = "\n\nAdditional Instructions:\n"
"""Before what the user asks of the summary, in an instruction."""
REMINDER = "\n\nREMINDER: Do NOT call any tools."
"""What follows the user's words in the newer one, up to the end."""
INSTRUCTIONS = (
    Wording(_TASK, ("1.0.128", "2.1.9"), ("<summary>",), needs_summariser=True),
    Wording(
        "CRITICAL: Respond with TEXT ONLY.",
        ("2.1.328", "2.1.329"),
        (_TASK, "<summary>"),
        closes=REMINDER,
    ),
)
"""The text that asks for the summary (phase 2), the longer one of a second try too."""

CONTINUED = "This session is being continued from a previous conversation that ran out of context."
"""How the text with the summary begins, in the first message of the conversation that follows."""
CONTINUATIONS = (
    Wording(
        "Please continue the conversation from where we left it off without asking the user any further"
        " questions.",
        ("1.0.128", "2.1.9"),
    ),
    Wording(
        "Please continue the conversation from where we left off without asking the user any further"
        " questions.",
        ("1.0.128", "2.1.9"),
    ),
    Wording(
        "Continue the conversation from where it left off without asking the user any further questions.",
        ("2.1.328", "2.1.329"),
    ),
)
"""How the paragraph begins that tells how to go on (phase 3), on a line of its own behind the summary."""
GOING_ON = "without asking the user any further questions"
"""In all of them, and likely in the next."""

PHRASES = (
    SUMMARISER.begins,
    _TASK,
    INSTRUCTIONS[1].begins,
    ADDITIONAL.strip(),
    REMINDER.strip(),
    CONTINUED,
    GOING_ON,
)
"""What a profile's own texts must not hold: it would be taken for the client's."""
