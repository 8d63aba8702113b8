import pytest
from msgspec.structs import replace as evolve

from loom_core.actions import Note
from loom_core.attributes import SPAN_KIND, Writer
from loom_core.compaction_told import (
    MOST_NAMED,
    drift_figure,
    drift_note,
    figures,
    lost,
    lost_notes,
    write,
)
from loom_core.message import Block, Seen
from loom_core.rules import Content
from loom_core.trace import AttributeValue
from loom_core.values import Figure, Headers
from loom_core.woven import Compacted, WovenIn

CLIENT: Headers = ((b"User-Agent", b"claude-cli/2.1.400 (external, cli)"),)
WOVEN = WovenIn("ann", 0, 0)
DRIFTED = evolve(WOVEN, compaction=Compacted(("request class",), "auto", "instruction", "Sum 'it' up."))
ASKED = evolve(WOVEN, compaction=Compacted(("instruction",), must_survive=("Bo", "the kettle", "Cy")))


def says(*texts: str, complete: bool = True) -> Seen:
    return Seen(complete=complete, blocks=tuple(Block("text", text) for text in texts))


SUMMARY = says("<analysis>Cy</analysis>", "<summary>\nbo has the\nkettle.\n</summary>")


def written(
    woven: WovenIn | None, seen: Seen | None = None, content: Content = Content.FULL
) -> dict[str, AttributeValue]:
    out = Writer("LLM", "")
    write(out, woven, seen, CLIENT, content)
    return {name: value for name, value in out.attributes() if name != SPAN_KIND}


@pytest.mark.spec("compact.drift-told")
def test_a_drift_is_one_sentence_with_client_signals_and_beginning() -> None:
    assert drift_note(DRIFTED, CLIENT) == (
        "compaction drift: the words of the instruction are not those known of claude-cli/2.1.400 (told by: "
        "request class), and stay as they are; they begin \"Sum 'it' up.\""
    )
    unsaid = evolve(WOVEN, compaction=Compacted(drift="continuation"))
    assert drift_note(unsaid, ()) == (
        "compaction drift: the words of the continuation are not those known of a client that names no"
        " version, and stay as they are"
    )
    long = drift_note(DRIFTED, ((b"user-agent", b"\xff" * 9_999),))
    assert len(long) < 300


@pytest.mark.parametrize("woven", [None, WOVEN, ASKED, evolve(WOVEN, reworded=("instruction",))])
@pytest.mark.spec("compact.drift-told")
def test_without_a_drift_there_is_no_sentence(woven: WovenIn | None) -> None:
    assert drift_note(woven, CLIENT) == ""


@pytest.mark.spec("compact.drift-told", "compact.told")
def test_drifts_are_counted_by_their_kind_and_rewrites_as_such() -> None:
    assert list(figures(DRIFTED)) == [drift_figure("instruction")]
    assert drift_figure("request") == Figure("loom.compaction.drift", 1, (("phase", "request"),))
    reworded = evolve(WOVEN, reworded=("system", "instruction"))
    assert list(figures(reworded)) == [Figure("loom.rewrites", 1, (("kind", "compaction"),))]
    assert list(figures(WOVEN)) == list(figures(ASKED)) == []


@pytest.mark.spec("compact.lost")
def test_what_a_summary_lacks_is_named_in_the_log() -> None:
    assert lost(ASKED, SUMMARY) == ("Cy",), "what stands outside the tags is not kept"
    said = "the summary of a compaction lacks what must survive for profile ann: Cy"
    assert lost_notes(ASKED, SUMMARY) == (Note(said),)
    whole = says("<summary>Cy, Bo, the kettle.</summary>")
    assert (lost(ASKED, whole), lost_notes(ASKED, whole)) == ((), ())


@pytest.mark.parametrize(
    ("woven", "seen"),
    [
        (None, SUMMARY),
        (WOVEN, SUMMARY),
        (DRIFTED, SUMMARY),
        (ASKED, None),
        (ASKED, says("No tags.")),
        (ASKED, says("<summary>Tea.</summary>", complete=False)),
        (ASKED, Seen(complete=True, blocks=(Block("tool_use", "<summary>Tea.</summary>"),))),
    ],
)
@pytest.mark.spec("compact.lost")
def test_without_a_whole_summary_nothing_is_missed(woven: WovenIn | None, seen: Seen | None) -> None:
    assert (lost(woven, seen), lost_notes(woven, seen)) == ((), ())


@pytest.mark.spec("compact.lost")
def test_of_many_lost_phrases_the_first_are_named() -> None:
    many = evolve(WOVEN, compaction=Compacted(must_survive=tuple(f"name-{it}-" for it in range(64))))
    assert lost(many, says("<summary>Tea.</summary>")) == tuple(f"name-{it}-" for it in range(MOST_NAMED))


@pytest.mark.spec("compact.told")
def test_a_span_says_by_what_why_and_what_is_lost() -> None:
    told = evolve(
        WOVEN,
        reworded=("system", "instruction"),
        compaction=Compacted(("summariser", "instruction"), "manual", must_survive=("Cy",)),
    )
    assert written(told, SUMMARY) == {
        "loom.compaction.reworded": ("system", "instruction"),
        "loom.compaction.by": ("summariser", "instruction"),
        "loom.compaction.trigger": "manual",
        "loom.compaction.missing": ("Cy",),
    }
    later = evolve(WOVEN, reworded=("continuation",))
    assert written(later) == {"loom.compaction.reworded": ("continuation",)}
    assert written(WOVEN) == written(None) == {}


@pytest.mark.parametrize("content", Content)
@pytest.mark.spec("compact.told", "spans.content")
def test_a_span_has_the_clients_words_only_where_content_is_full(content: Content) -> None:
    said = "instruction of claude-cli/2.1.400"
    words = f"{said}: Sum 'it' up." if content is Content.FULL else said
    assert written(DRIFTED, content=content)["loom.compaction.drift"] == words
