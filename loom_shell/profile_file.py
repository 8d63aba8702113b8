"""A profile on disk: the folder `LOOM_HOME/profiles/NAME` becomes a checked `Profile`, or sentences.

The folder holds `profile.toml` (its form: `profile_form.py`) and the Markdown files that it names.
"""

import tomllib
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path, PurePath

from attrs import field, frozen

from loom_core.block import CANARY
from loom_core.profile import CompactionRules, Life, Piece, Profile
from loom_core.wordings import PHRASES
from loom_core.wrapper import safe, tokens
from loom_shell import slots
from loom_shell.files import FileRefusedError, named, read_whole
from loom_shell.printable import printable, shown
from loom_shell.profile_form import Form, GivenPiece, read_form
from loom_shell.profile_keys import COMPACTION_TOKENS, NAME, NAME_ALLOWED
from loom_shell.slots import fill

FILE = "profile.toml"
LIMIT = 256 * 1024
"""Bytes of one file, and characters of its text with the slots filled."""
MOST_FAULTS = 20
"""Sentences about one profile."""
LOOKED_FOR = (*PHRASES, CANARY.decode())
"""By these the Loom knows what the client and its own hook wrote: a text with one is taken for theirs."""


class BrokenProfileError(Exception):
    """A profile that cannot be used. `faults` are lines: what, where, and what is allowed."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def read_profile(folder: Path) -> Profile:
    """Read and check the profile in `folder`, whose name is the profile's. BrokenProfileError else."""
    if not NAME.fullmatch(folder.name):
        raise BrokenProfileError((f"{named(folder)} is no profile: its name must be {NAME_ALLOWED}",))
    reading = _Reading(folder, named(folder / FILE))
    try:
        form = read_form(_tables(reading.take(FILE), folder / FILE), reading.file, folder.name)
    except FileRefusedError as error:
        raise BrokenProfileError((str(error),)) from None
    reading.faults.extend(form.faults)
    pieces = tuple(reading.piece(number, given, form) for number, given in form.pieces)
    reading.check_budget(pieces, form)
    compaction = reading.compaction(form)
    if reading.faults:
        raise BrokenProfileError(_few(reading))
    return Profile(
        folder.name,
        reading.version(),
        pieces,
        memorables=form.memorables,
        memories=form.memories,
        compaction=compaction,
        **form.own,
    )


def length(pieces: Iterable[Piece]) -> int:
    """Tokens that the texts of these pieces' files take as they are woven, with headings and joints."""
    heads = [(f"## {one.heading}\n\n" if one.heading else "", one.text) for one in pieces if one.text]
    return max(0, sum(tokens(safe(head)) + tokens(safe(text)) + 1 for head, text in heads) - 1)


def whole_length(profile: Profile) -> int:
    """Tokens of all texts that a profile's files hold."""
    rules = profile.compaction
    return length(profile.pieces) + sum(map(tokens, (rules.identity, rules.prompt, rules.continuation)))


@frozen
class _Reading:
    """One look at a profile's folder: what was taken, what is wrong. `file` names `profile.toml`."""

    folder: Path
    file: str
    faults: list[str] = field(factory=list)
    taken: dict[str, bytes] = field(factory=dict)

    def take(self, name: str) -> bytes:
        """The content of a file in the folder. FileRefusedError for what is not, or lies elsewhere."""
        path = self.folder / name
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise FileRefusedError(
                f"{shown(name)} is not in the profile's folder: put the file beside {FILE}"
            )
        try:
            real = path.resolve()
            # The folder itself may be a link to where a person keeps such things.
            if not real.is_relative_to(self.folder.resolve()):
                raise FileRefusedError(
                    f"{named(path)} is a link out of the profile's folder: put the file itself there"
                )
        except (OSError, RuntimeError, ValueError):
            raise FileRefusedError(f"cannot read {named(path)}: its links lead nowhere") from None
        content, _mode = read_whole(path)
        if len(content) > LIMIT:
            raise FileRefusedError(f"cannot read {named(path)}: it is larger than {LIMIT} bytes")
        self.taken[name] = content
        return content

    def version(self) -> str:
        """A digest of the profile's name and of all its files."""
        digest = blake2b(self.folder.name.encode(), digest_size=16)
        for name, content in sorted(self.taken.items()):
            digest.update(f"\n{len(name)}:{name}:{len(content)}:".encode() + content)
        return digest.hexdigest()

    def piece(self, number: int, given: GivenPiece, form: Form) -> Piece:
        where = f"file of piece {number} in {self.file}"
        text = self._text(where, given.file, form, spare="the piece") if given.file else ""
        found = tokens(safe(text))
        if 0 < given.budget < found:
            self.faults.append(
                f"budget of piece {number} in {self.file} is {given.budget} tokens, and "
                f"{named(self.folder / given.file)} has {found}: shorten the file or raise the budget"
            )
        return Piece(given.name, given.life, given.heading, text, given.key, given.pattern, given.budget)

    def compaction(self, form: Form) -> CompactionRules:
        given = form.compaction
        for phrase in given.must_survive:
            # What a summary lacks may be woven, too.
            self._check_words(f"compaction.must_survive in {self.file}", shown(phrase), phrase)
        return CompactionRules(
            self._compaction_text("identity", given.identity, form),
            self._compaction_text("prompt", given.prompt, form),
            self._compaction_text("continuation", given.continuation, form),
            given.must_survive,
            given.tells_missing,
        )

    def _compaction_text(self, key: str, file: str, form: Form) -> str:
        """The text of one key as it will stand in a request; "" where the key is left out."""
        if not file:
            return ""
        where, path = f"compaction.{key} in {self.file}", named(self.folder / file)
        before = len(self.faults)
        text = self._text(where, file, form, spare="the key")
        self._check_words(where, path, text)
        text = safe(text).strip()
        if not text and len(self.faults) == before:
            self.faults.append(f"{where}: {path} is empty with its slots filled: write its text")
        found, most = tokens(text), COMPACTION_TOKENS[key]
        if found > most:
            self.faults.append(
                f"{where}: {path} has {found} tokens, and at most {most} are allowed: shorten the file"
            )
        return text

    def _check_words(self, where: str, what: str, text: str) -> None:
        # Unseen characters between its words hide a phrase, until they are taken out.
        texts = text, safe(text)
        self.faults.extend(
            f"{where}: {what} holds {shown(phrase)}, which the Loom looks for in what the client sends: "
            "say it in other words"
            for phrase in LOOKED_FOR
            if any(phrase in one for one in texts)
        )

    def _text(self, where: str, file: str, form: Form, spare: str) -> str:
        """The text of a file with its slots filled. `spare`: what to take out where there is no text."""
        path = named(self.folder / file)
        try:
            # Line ends are the file's, not the text's; so is the mark some editors begin a file with.
            text = self.take(file).decode("utf-8-sig").replace("\r\n", "\n").strip()
        except FileRefusedError as error:
            self.faults.append(f"{where}: {error}")
            return ""
        except UnicodeDecodeError:
            self.faults.append(f"{where}: cannot read {path}: it is not UTF-8 text")
            return ""
        filled = fill(text, form.slots, LIMIT)
        self.faults.extend(
            f"{path} line {line}: {printable(stray, 80)} is no slot: {slots.allowed(form.slots)}"
            for line, stray in filled.strays
        )
        if filled.is_long:
            self.faults.append(f"{where}: {path} has more than {LIMIT} characters with its slots filled")
            return ""
        if not text:
            # An editor may have emptied it only to write it anew.
            self.faults.append(f"{where}: {path} is empty: write its text, or take {spare} out")
        return filled.text

    def check_budget(self, pieces: tuple[Piece, ...], form: Form) -> None:
        """A person's own files are never cut in silence: what is woven of them must fit whole."""
        most = form.own.get("identity_budget", Profile("", "").identity_budget)
        for life in Life:
            found = length(one for one in pieces if one.life is life)
            if found > most:
                self.faults.append(
                    f"identity_budget in {self.file} is {most} tokens, and the files of life {life.value} "
                    f"have {found}: shorten them or raise it"
                )


def _tables(content: bytes, path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise FileRefusedError(f"cannot read {named(path)}: it is not UTF-8 text") from None
    except RecursionError:
        raise FileRefusedError(f"cannot read {named(path)}: it is nested too deeply") from None
    except ValueError as error:
        raise FileRefusedError(f"cannot read {named(path)} as TOML: {printable(str(error), 200)}") from None


def _few(reading: _Reading) -> tuple[str, ...]:
    more = len(reading.faults) - MOST_FAULTS
    rest = (f"{reading.file} has {more} more faults",) if more > 0 else ()
    return (*reading.faults[:MOST_FAULTS], *rest)
