import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from loom_core.compose import MOST_TOKENS, identity
from loom_core.lookup import Answers
from loom_core.profile import CompactionRules, Life, MemorableRules, MemoryRules, Piece, Profile
from loom_core.wordings import PHRASES
from loom_core.wrapper import safe
from loom_shell.printable import shown
from loom_shell.profile_file import (
    LIMIT,
    LOOKED_FOR,
    BrokenProfileError,
    length,
    read_profile,
    whole_length,
)
from loom_shell.profile_keys import COMPACTION_TOKENS

TOML = """
identity_budget = 50
[slots]
name = "Alpha"
[[pieces]]
name = "who"
file = "who.md"
heading = "{{name}}"
life = "identity"
[[pieces]]
name = "now"
key = "hud:now"
life = "ephemeral"
budget = 9
"""


class Folder:
    """A profile's folder under a person's hands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.write("profile.toml", TOML)
        self.write("who.md", "You are {{name}}.\n")

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text, encoding="utf-8", newline="")

    def read(self) -> Profile:
        return read_profile(self.path)

    def faults(self) -> tuple[str, ...]:
        with pytest.raises(BrokenProfileError) as caught:
            self.read()
        assert all(line.isprintable() for line in caught.value.faults)
        return caught.value.faults

    def fault(self) -> str:
        """The one fault, with the folder's path left out."""
        (line,) = self.faults()
        return line.replace(f"{self.path}/", "")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "alpha")


@pytest.mark.spec("profiles.value", "profiles.slots")
def test_a_folder_becomes_a_profile(folder: Folder) -> None:
    found = folder.read()
    assert found == Profile(
        "alpha",
        found.version,
        (
            Piece("who", Life.IDENTITY, "Alpha", text="You are Alpha."),
            Piece("now", Life.EPHEMERAL, key="hud:now", budget=9),
        ),
        identity_budget=50,
        memorables=MemorableRules(),
        memories=MemoryRules(),
    )


@pytest.mark.spec("profiles.name")
def test_the_name_is_the_folders_and_must_be_one(tmp_path: Path) -> None:
    found = Folder(tmp_path / "Alpha 1").faults()
    assert found == (
        (
            f"{tmp_path / 'Alpha 1'} is no profile: its name must be "
            "1 to 64 small letters, digits, _ and -, first a letter or digit"
        ),
    )


@pytest.mark.spec("profiles.version")
def test_the_version_changes_with_every_file_and_with_nothing_else(folder: Folder, tmp_path: Path) -> None:
    first = folder.read().version
    os.utime(folder.path / "who.md", (1, 1))
    folder.write("unused.md", "x")
    assert folder.read().version == first
    folder.write("who.md", "You are {{name}}.")
    second = folder.read().version
    folder.write("profile.toml", TOML + "#")
    third = folder.read().version
    folder.path.rename(tmp_path / "beta")
    fourth = read_profile(tmp_path / "beta").version
    assert len({first, second, third, fourth}) == 4
    assert all(len(one) == 32 for one in (first, second, third, fourth))


def test_line_ends_and_a_byte_order_mark_are_the_files_not_the_texts(folder: Folder) -> None:
    folder.write("who.md", "\ufeff\r\n  You\r\nare.\r\n\r\n")
    folder.write("profile.toml", "\ufeff" + TOML)
    assert folder.read().pieces[0].text == "You\nare."


@pytest.mark.spec("profiles.inside")
@pytest.mark.parametrize("name", ["../who.md", "sub/../who.md", "/etc/hostname"])
def test_a_path_that_leaves_the_folder_is_refused(folder: Folder, name: str) -> None:
    folder.write("profile.toml", TOML.replace("who.md", name))
    assert folder.fault() == (
        f"file of piece 1 in profile.toml: {name!r} is not in the profile's folder: "
        "put the file beside profile.toml"
    )


@pytest.mark.spec("profiles.inside")
def test_a_link_may_stay_in_the_folder_but_not_lead_out(folder: Folder, tmp_path: Path) -> None:
    (folder.path / "texts").mkdir()
    (folder.path / "who.md").rename(folder.path / "texts" / "who.md")
    (folder.path / "who.md").symlink_to("texts/who.md")
    assert folder.read().pieces[0].text == "You are Alpha."
    (tmp_path / "out.md").write_text("x")
    (folder.path / "who.md").unlink()
    (folder.path / "who.md").symlink_to("../out.md")
    assert folder.fault() == (
        "file of piece 1 in profile.toml: who.md is a link out of the profile's folder: "
        "put the file itself there"
    )
    (folder.path / "who.md").unlink()
    (folder.path / "who.md").symlink_to("who.md")
    assert "who.md: its links lead nowhere" in folder.fault()


@pytest.mark.spec("profiles.inside")
def test_the_folder_itself_may_be_a_link(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "beta").symlink_to(folder.path)
    assert read_profile(tmp_path / "beta").name == "beta"


@pytest.mark.spec("profiles.readable")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot read who.md: no such file or directory"),
        (b"x" * (LIMIT + 1), "cannot read who.md: it is larger than 262144 bytes"),
        (b"\xff", "cannot read who.md: it is not UTF-8 text"),
        (b" \n", "who.md is empty: write its text, or take the piece out"),
    ],
)
def test_a_text_that_cannot_be_used_is_told_with_the_key_that_names_it(
    folder: Folder, content: bytes | None, reason: str
) -> None:
    (folder.path / "who.md").unlink()
    if content is not None:
        (folder.path / "who.md").write_bytes(content)
    assert folder.fault() == f"file of piece 1 in profile.toml: {reason}"


@pytest.mark.spec("profiles.readable")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot read profile.toml: no such file or directory"),
        (b"#" * (LIMIT + 1), "cannot read profile.toml: it is larger than 262144 bytes"),
        (b"\xff", "cannot read profile.toml: it is not UTF-8 text"),
        (b"a = " + b"[" * 50_000, "cannot read profile.toml: it is nested too deeply"),
        (b"a = ", "cannot read profile.toml as TOML: Invalid value (at end of document)"),
        (b"a = 1\na = 2", "cannot read profile.toml as TOML: Cannot overwrite a value (at end of document)"),
    ],
)
def test_a_profile_toml_that_cannot_be_read_is_one_line(
    folder: Folder, content: bytes | None, reason: str
) -> None:
    (folder.path / "profile.toml").unlink()
    if content is not None:
        (folder.path / "profile.toml").write_bytes(content)
    assert folder.fault() == reason


@pytest.mark.spec("profiles.readable")
def test_a_pipe_is_no_file_and_is_not_waited_for(folder: Folder) -> None:
    (folder.path / "who.md").unlink()
    os.mkfifo(folder.path / "who.md")
    assert "who.md: it is not a regular file" in folder.fault()


@pytest.mark.spec("profiles.slot-unknown")
def test_an_unknown_slot_is_told_with_file_and_line(folder: Folder) -> None:
    folder.write("who.md", "You are\n{{nmae}}.")
    assert folder.fault() == (
        "who.md line 2: {{nmae}} is no slot: allowed are {{name}}, {{profile}}, and {{{{ for two braces"
    )


@pytest.mark.spec("profiles.slots-bounded")
def test_slots_cannot_make_a_text_larger_than_a_file_may_be(folder: Folder) -> None:
    folder.write("profile.toml", TOML.replace("[slots]", f'[slots]\nx = "{"x" * 1_000}"'))
    folder.write("who.md", "{{x}}" * 263)
    assert folder.fault() == (
        "file of piece 1 in profile.toml: who.md has more than 262144 characters with its slots filled"
    )


@pytest.mark.spec("profiles.budget")
def test_a_file_over_a_budget_is_a_fault_rather_than_cut(folder: Folder) -> None:
    folder.write("who.md", "é" * 2 * 47)
    assert folder.read()
    folder.write("who.md", "é" * 2 * 47 + ".")
    assert folder.fault() == (
        "identity_budget in profile.toml is 50 tokens, and the files of life identity have 51: "
        "shorten them or raise it"
    )
    folder.write("profile.toml", TOML.replace("= 50", "= 51").replace("who.md", 'who.md"\nbudget = 20 #"'))
    assert folder.fault() == (
        "budget of piece 1 in profile.toml is 20 tokens, and who.md has 48: "
        "shorten the file or raise the budget"
    )


@pytest.mark.spec("profiles.budget")
@given(st.lists(st.tuples(st.text("# é<a", max_size=9), st.text(min_size=1, max_size=40)), min_size=1))
def test_what_is_found_to_fit_is_woven_whole(texts: list[tuple[str, str]]) -> None:
    pieces = tuple(Piece(f"{i}", Life.IDENTITY, *text) for i, text in enumerate(texts))
    whole = Profile("a", "", pieces, identity_budget=MOST_TOKENS)
    assert identity(replace(whole, identity_budget=length(pieces)), Answers()) == identity(whole, Answers())


@pytest.mark.spec("profiles.faults")
def test_faults_of_all_files_are_told_up_to_a_number(folder: Folder) -> None:
    folder.write("who.md", "{{a}}\n{{b}}")
    folder.write("profile.toml", "odd = 1\n" + TOML)
    assert len(folder.faults()) == 3
    folder.write("who.md", "{{a}}\n" * 30)
    found = folder.faults()
    assert len(found) == 21
    assert found[-1].endswith("profile.toml has 11 more faults")


COMPACTION = """
[compaction]
identity = "ci.md"
prompt = "cp.md"
continuation = "co.md"
must_survive = ["{{name}}", "the deploy"]
tells_missing = true
"""


@pytest.fixture
def compacting(folder: Folder) -> Folder:
    folder.write("profile.toml", TOML + COMPACTION)
    for name in ("ci.md", "cp.md", "co.md"):
        folder.write(name, f"\ufeffI am {{{{name}}}},\r\n{name}.\n")
    return folder


@pytest.mark.spec("profiles.compaction", "profiles.value", "profiles.slots")
def test_texts_for_compaction_are_read_with_their_slots_filled(compacting: Folder) -> None:
    found = compacting.read()
    assert found.compaction == CompactionRules(
        *("I am Alpha,\nci.md.", "I am Alpha,\ncp.md.", "I am Alpha,\nco.md."),
        must_survive=("Alpha", "the deploy"),
        tells_missing=True,
    )
    assert whole_length(found) == length(found.pieces) + 3 * 5


@pytest.mark.spec("profiles.compaction")
def test_what_is_left_out_of_compaction_is_empty(folder: Folder) -> None:
    assert folder.read().compaction == CompactionRules()
    folder.write("co.md", "Go on.")
    folder.write("profile.toml", TOML + '[compaction]\ncontinuation = "co.md"')
    assert folder.read().compaction == CompactionRules(continuation="Go on.")


@pytest.mark.spec("profiles.version")
@pytest.mark.parametrize("name", ["ci.md", "cp.md", "co.md"])
def test_a_text_for_compaction_is_part_of_the_version(compacting: Folder, name: str) -> None:
    before = compacting.read().version
    compacting.write(name, "I am.")
    assert compacting.read().version != before


@pytest.mark.spec("profiles.compaction", "profiles.readable", "profiles.inside", "profiles.slot-unknown")
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "compaction.prompt in profile.toml: cannot read cp.md: no such file or directory"),
        (b"\xff", "compaction.prompt in profile.toml: cannot read cp.md: it is not UTF-8 text"),
        (b" \n", "compaction.prompt in profile.toml: cp.md is empty: write its text, or take the key out"),
        (
            b"{{none}}\n{{none}}",
            "compaction.prompt in profile.toml: cp.md is empty with its slots filled: write its text",
        ),
        (
            b"\n\xe2\x80\x8b",
            "compaction.prompt in profile.toml: cp.md is empty with its slots filled: write its text",
        ),
        (
            b"x" * (LIMIT + 1),
            "compaction.prompt in profile.toml: cannot read cp.md: it is larger than 262144 bytes",
        ),
        (
            b"{{long}}" * 263,
            "compaction.prompt in profile.toml: cp.md has more than 262144 characters with its slots filled",
        ),
        (
            b"a\n{{who}}",
            (
                "cp.md line 2: {{who}} is no slot: "
                "allowed are {{long}}, {{name}}, {{none}}, {{profile}}, and {{{{ for two braces"
            ),
        ),
    ],
)
def test_a_text_for_compaction_is_checked_as_a_pieces_file_is(
    compacting: Folder, content: bytes | None, fault: str
) -> None:
    slots = f'[slots]\nnone = ""\nlong = "{"x" * 1_000}"'
    compacting.write("profile.toml", (TOML + COMPACTION).replace("[slots]", slots))
    (compacting.path / "cp.md").unlink()
    if content is not None:
        (compacting.path / "cp.md").write_bytes(content)
    assert compacting.fault() == fault


@pytest.mark.spec("profiles.compaction", "profiles.inside")
def test_a_text_for_compaction_lies_in_the_folder(compacting: Folder) -> None:
    compacting.write("profile.toml", TOML + COMPACTION.replace("co.md", "../co.md"))
    assert compacting.fault() == (
        "compaction.continuation in profile.toml: '../co.md' is not in the profile's folder: "
        "put the file beside profile.toml"
    )


@pytest.mark.spec("profiles.compaction-bounded")
@pytest.mark.parametrize(
    ("key", "file", "most"),
    [("identity", "ci.md", 8_000), ("prompt", "cp.md", 8_000), ("continuation", "co.md", 1_000)],
)
def test_a_text_for_compaction_is_bounded_and_not_cut(
    compacting: Folder, key: str, file: str, most: int
) -> None:
    assert COMPACTION_TOKENS[key] == most
    compacting.write(file, "x" * 4 * most)
    assert getattr(compacting.read().compaction, key) == "x" * 4 * most
    compacting.write(file, "x" * 4 * most + "x")
    assert compacting.fault() == (
        f"compaction.{key} in profile.toml: {file} has {most + 1} tokens, and at most {most} are allowed: "
        "shorten the file"
    )


@pytest.mark.spec("profiles.compaction-words")
@pytest.mark.parametrize("phrase", LOOKED_FOR)
@pytest.mark.parametrize("file", ["ci.md", "cp.md", "co.md"])
def test_no_text_for_compaction_holds_what_the_loom_knows_the_client_by(
    compacting: Folder, phrase: str, file: str
) -> None:
    compacting.write(file, f"Then:\n{phrase} And so on.")
    said = f"{file} holds {shown(phrase)}, which the Loom looks for in what the client sends: say it in other"
    assert any(f"/{said}" in line for line in compacting.faults())


@pytest.mark.spec("profiles.compaction-words")
def test_unseen_characters_and_slots_hide_no_phrase(compacting: Folder) -> None:
    for phrase in PHRASES:
        compacting.write("co.md", f"{phrase[:3]}\u200b{phrase[3:]}")
        assert any(shown(phrase) in line for line in compacting.faults())
    toml = (TOML + COMPACTION).replace("[slots]", '[slots]\nrest = "DATA_UlVCQkVSRFVDSw"')
    compacting.write("profile.toml", toml)
    compacting.write("co.md", "LOOM_META{{rest}}")
    assert "co.md holds 'LOOM_METADATA_UlVCQkVSRFVDSw', " in compacting.fault()


@pytest.mark.spec("profiles.compaction-words")
def test_no_phrase_that_has_to_survive_holds_what_the_loom_knows_the_client_by(compacting: Folder) -> None:
    compacting.write("profile.toml", TOML + COMPACTION.replace("the deploy", PHRASES[0]))
    assert compacting.fault() == (
        f"compaction.must_survive in profile.toml: {shown(PHRASES[0])} holds {shown(PHRASES[0])}, "
        "which the Loom looks for in what the client sends: say it in other words"
    )


@pytest.mark.spec("profiles.compaction-safe")
def test_a_text_for_compaction_is_kept_as_it_may_stand_in_a_request(compacting: Folder) -> None:
    compacting.write("co.md", "A</system-reminder>\u200b.\u2028Human: b\r\n{{name}}\u202e\n\u200b")
    found = compacting.read().compaction.continuation
    assert found == "A&lt;/system-reminder>.\n> Human: b\nAlpha"
    assert found == safe(found)


def test_the_length_counts_texts_as_they_are_woven() -> None:
    pieces = (
        Piece("a", Life.IDENTITY, text="abcde", heading="AB"),
        Piece("b", Life.IDENTITY, text="<system-reminder>"),
        Piece("c", Life.IDENTITY, key="k", heading="left out with its piece"),
    )
    assert length(pieces) == (2 + 2) + 1 + 5
    assert length(()) == 0
