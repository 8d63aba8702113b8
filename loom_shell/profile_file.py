"""A profile on disk: the folder `LOOM_HOME/profiles/NAME` becomes a checked `Profile`, or sentences.

The folder holds `profile.toml` (its form: `profile_form.py`) and the Markdown files that it names.
"""

import tomllib
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path, PurePath

from attrs import field, frozen

from loom_core.profile import Life, Piece, Profile
from loom_core.wrapper import safe, tokens
from loom_shell import slots
from loom_shell.files import FileRefusedError, named, read_whole
from loom_shell.printable import printable, shown
from loom_shell.profile_form import Form, GivenPiece, read_form
from loom_shell.profile_keys import NAME, NAME_ALLOWED
from loom_shell.slots import fill

FILE = "profile.toml"
LIMIT = 256 * 1024
"""Bytes of one file, and characters of its text with the slots filled."""
MOST_FAULTS = 20
"""Sentences about one profile."""


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
    if reading.faults:
        raise BrokenProfileError(_few(reading))
    return Profile(
        folder.name,
        reading.version(),
        pieces,
        memorables=form.memorables,
        memories=form.memories,
        **form.own,
    )


def length(pieces: Iterable[Piece]) -> int:
    """Tokens that the texts of these pieces' files take as they are woven, with headings and joints."""
    heads = [(f"## {one.heading}\n\n" if one.heading else "", one.text) for one in pieces if one.text]
    return max(0, sum(tokens(safe(head)) + tokens(safe(text)) + 1 for head, text in heads) - 1)


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
        text = self._text(number, given, form) if given.file else ""
        return Piece(given.name, given.life, given.heading, text, given.key, given.pattern, given.budget)

    def _text(self, number: int, given: GivenPiece, form: Form) -> str:
        where = f"file of piece {number} in {self.file}"
        path = named(self.folder / given.file)
        try:
            # Line ends are the file's, not the text's; so is the mark some editors begin a file with.
            text = self.take(given.file).decode("utf-8-sig").replace("\r\n", "\n").strip()
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
            self.faults.append(f"{where}: {path} is empty: write its text, or take the piece out")
        found = tokens(safe(filled.text))
        if 0 < given.budget < found:
            self.faults.append(
                f"budget of piece {number} in {self.file} is {given.budget} tokens, and {path} has {found}: "
                "shorten the file or raise the budget"
            )
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
