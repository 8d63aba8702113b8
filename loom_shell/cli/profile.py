"""`loom profile`: make, list, check and show the profiles of this Loom."""

import shutil
import tempfile
from importlib import resources
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from loom_core import compose
from loom_core.compose import MOST_TOKENS
from loom_core.lookup import Answers, Recalled
from loom_core.profile import CompactionRules, Life, Piece, Profile
from loom_core.wrapper import tokens
from loom_shell.config import ConfigError, load
from loom_shell.files import FileRefusedError, is_missing, named, sole_writer
from loom_shell.printable import printable, shown
from loom_shell.profile_file import FILE, length, whole_length
from loom_shell.profile_keys import COMPACTION_TOKENS, NAME, NAME_ALLOWED
from loom_shell.profiles import FOLDER, Faults, look

TEMPLATE = "alpha"
LIVES = {
    Life.IDENTITY: "Identity, after the client's own system prompt",
    Life.STICKY: "Sticky, at a prompt when it is new or changed",
    Life.EPHEMERAL: "Ephemeral, at the newest prompt only",
}
COMPACTION = {
    "identity": "Compaction, identity: in place of the summariser's system prompt, where the client has one",
    "prompt": "Compaction, prompt: in place of the client's instruction, before the demand for text and tags",
    "continuation": "Compaction, continuation: in place of the client's words on how to go on",
}

ConfigOption = Annotated[
    str | None, typer.Option(metavar="FILE", help="The TOML file to read.", show_default=False)
]
HomeOption = Annotated[
    str | None, typer.Option(metavar="FOLDER", help="Folder of the Loom's files.", show_default=False)
]
Seen = dict[str, Profile | Faults]

profile = typer.Typer(no_args_is_help=True, help="Make, list, check and show profiles.")


@profile.command()
def new(
    name: Annotated[str, typer.Argument(help="The name of the profile and of its folder.")],
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Make a profile to start from: a folder with a commented profile.toml and Markdown files."""
    folder = _home(config, home) / FOLDER / name
    if not NAME.fullmatch(name):
        _refuse(f"{shown(name)} is no name: {NAME_ALLOWED}")
    try:
        with sole_writer(folder):
            if not is_missing(folder):
                _refuse(f"{named(folder)} is there already: choose another name, or move it away first")
            _copy(folder)
    except FileRefusedError as error:
        _refuse(str(error))
    typer.echo(f"Profile {name} is made. Its texts are yours to write: {named(folder)}")
    typer.echo(f"Then look with `loom profile show {name}`, and use it with `loom install --source {name}`.")


@profile.command(name="list")
def list_profiles(config: ConfigOption = None, home: HomeOption = None) -> None:
    """List the profiles: pieces, tokens of their files (an estimate), state."""
    place = _home(config, home)
    seen = _seen(place)
    if not seen:
        typer.echo(
            f"There are no profiles in {named(place / FOLDER)}: make one with `loom profile new NAME`."
        )
        return
    table = Table("profile", "pieces", "tokens", "state", box=None, pad_edge=False)
    for column in table.columns[1:3]:
        column.justify = "right"
    for name, one in seen.items():
        if isinstance(one, Profile):
            table.add_row(name, str(len(one.pieces)), str(whole_length(one)), "in order")
        else:
            table.add_row(printable(name, 80), "–", "–", "broken: see `loom profile check`")
    Console(highlight=False, markup=False).print(table)


@profile.command()
def check(
    name: Annotated[str | None, typer.Argument(help="Only this one.", show_default=False)] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Say what is wrong with the profiles, one line for each fault. The exit code is 1 if anything is."""
    place = _home(config, home)
    seen = _seen(place)
    if name is not None:
        seen = {name: _one(seen, place, name)}
    well = True
    for one_name, one in seen.items():
        if isinstance(one, Profile):
            typer.echo(f"{one_name} is in order.")
        else:
            well = False
            _tell(one)
    if not seen:
        typer.echo(f"There are no profiles in {named(place / FOLDER)}.")
    raise typer.Exit(0 if well else 1)


@profile.command()
def show(
    name: Annotated[str, typer.Argument(help="The profile.")],
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Show what a profile weaves, as far as its files say; what comes from the store is named as such."""
    place = _home(config, home)
    one = _one(_seen(place), place, name)
    if not isinstance(one, Profile):
        _tell(one)
        raise typer.Exit(1)
    for text in (*sections(one), *compaction_sections(one.compaction)):
        for line in text.splitlines():
            typer.echo(printable(line, len(line)))


def sections(one: Profile) -> list[str]:
    """What `show` prints: for each life that has pieces a line that says where, and the block woven there."""
    # Files have been found to fit; how long the rest is, only the store knows.
    pieces = tuple(piece if piece.text else replace(piece, budget=0) for piece in one.pieces)
    roomy = replace(one, pieces=pieces, identity_budget=MOST_TOKENS)
    store = Answers(
        texts={piece.key: _named(piece) for piece in one.pieces},
        matched={piece.pattern: ((piece.pattern, _named(piece)),) for piece in one.pieces},
    )
    found = []
    for life, block in (
        (Life.IDENTITY, compose.identity(roomy, store)),
        (Life.STICKY, compose.sticky(roomy, store, (), Recalled(), ()).text),
        (Life.EPHEMERAL, compose.ephemeral(roomy, store)),
    ):
        if block:
            files = length(piece for piece in one.pieces if piece.life is life)
            found.append(
                f"--- {LIVES[life]}: {files} of {one.identity_budget} tokens from files\n\n{block}\n\n"
            )
    return found


def compaction_sections(rules: CompactionRules) -> list[str]:
    """What `show` prints of the texts for compaction, and of what a summary has to hold."""
    texts = {"identity": rules.identity, "prompt": rules.prompt, "continuation": rules.continuation}
    found = [
        f"--- {COMPACTION[key]}: {tokens(text)} of {COMPACTION_TOKENS[key]} tokens\n\n{text}\n\n"
        for key, text in texts.items()
        if text
    ]
    if rules.must_survive:
        told = ", and told after the continuation" if rules.tells_missing else ""
        phrases = "\n".join(f"- {phrase}" for phrase in rules.must_survive)
        found.append(f"--- Compaction, must survive: what a summary lacks is noted{told}\n\n{phrases}\n\n")
    return found


def _named(piece: Piece) -> str:
    most = f", at most {piece.budget} tokens" if piece.budget else ""
    return f"[from the store: {piece.key or piece.pattern}{most}]"


def _home(config: str | None, home: str | None) -> Path:
    try:
        # Who may use the port does not matter to a command that opens none.
        return load({"config": config, "home": home, "allow_open": True}).home
    except ConfigError as error:
        _refuse(str(error))


def _seen(home: Path) -> Seen:
    try:
        return dict(look(home))
    except FileRefusedError as error:
        _refuse(str(error))


def _one(seen: Seen, home: Path, name: str) -> Profile | Faults:
    there = seen.get(name)
    return there or (f"there is no profile {shown(name)} in {named(home / FOLDER)}: see `loom profile list`",)


def _copy(folder: Path) -> None:
    """The template under the folder's name: whole or not at all, so that no Loom reads half of it."""
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for source in (resources.files("loom_shell") / "templates" / TEMPLATE).iterdir():
            text = source.read_text(encoding="utf-8")
            if source.name == FILE:
                called = folder.name.replace("-", " ").replace("_", " ").title()
                text = text.replace(f'"{TEMPLATE.title()}"', f'"{called}"')
            (fresh / source.name).write_text(text, encoding="utf-8")
        fresh.rename(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _tell(faults: Faults) -> None:
    for fault in faults:
        typer.echo(fault, err=True)


def _refuse(reason: str) -> NoReturn:
    typer.echo(f"loom profile: {reason}", err=True)
    raise typer.Exit(2)
