import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.profile import Profile
from loom_shell import profiles as module
from loom_shell.profiles import MOST, Profiles, look

PIECE = '[[pieces]]\nname = "who"\nfile = "who.md"\nlife = "identity"\n'
LONG = 3_600.0
"""A look that never comes: what is seen was told of."""


class Home:
    """A home with its profiles, under a person's hands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path / "profiles"
        self.notes: list[str] = []

    def write(self, name: str, text: str, toml: str = PIECE) -> None:
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / name / "profile.toml").write_text(toml, encoding="utf-8")
        (self.folder / name / "who.md").write_text(text, encoding="utf-8")

    def profiles(self) -> Profiles:
        return Profiles(self.path, self.note)

    def note(self, sentence: str) -> None:
        assert sentence.isprintable()
        self.notes.append(sentence.replace(f"{self.path}/", ""))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def text(profiles: Profiles, name: str = "alpha") -> str | None:
    found = profiles.get(name)
    return None if found is None else found.pieces[0].text


@asynccontextmanager
async def watching(profiles: Profiles, *, polling: bool = False, look_seconds: float) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: profiles.watch(force_polling=polling, look_seconds=look_seconds))
        yield
        group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_it_ends_at_once_when_cancelled(home: Home) -> None:
    home.write("alpha", "A")
    with anyio.fail_after(5):
        async with watching(home.profiles(), look_seconds=LONG):
            await anyio.sleep(0.1)


async def until(is_so: Callable[[], bool], again: Callable[[], object] = lambda: None) -> None:
    """Wait for it; `again` is what a person does once more, for a watch takes a moment to begin."""
    with anyio.fail_after(20):
        while not is_so():
            again()
            for _ in range(50):
                if not is_so():
                    await anyio.sleep(0.01)


@pytest.mark.spec("profiles.value")
def test_every_folder_is_a_profile_and_hidden_ones_and_files_are_none(home: Home) -> None:
    home.write("alpha", "A")
    home.write("beta", "B")
    home.write(".alpha.x1", "half made")
    (home.folder / "README.md").write_text("x")
    seen = look(home.path)
    assert list(seen) == ["alpha", "beta"]
    assert all(isinstance(one, Profile) for one in seen.values())
    profiles = home.profiles()
    assert (text(profiles), text(profiles, "beta"), profiles.get("gamma")) == ("A", "B", None)
    assert home.notes == []


@pytest.mark.spec("profiles.no-raise")
def test_without_a_folder_there_are_no_profiles_and_nothing_is_said(home: Home) -> None:
    assert home.profiles().get("alpha") is None
    home.folder.write_text("a file")
    assert home.profiles().get("alpha") is None
    assert Profiles(home.path / "nowhere", home.note).get("alpha") is None
    assert home.notes == []


@pytest.mark.spec("profiles.last-good", "profiles.told-once")
def test_a_broken_profile_stays_as_it_was_and_is_told_of_once_for_each_state(home: Home) -> None:
    home.write("alpha", "A")
    profiles = home.profiles()
    home.write("alpha", "B", "odd = 1")
    profiles.load()
    profiles.load()
    assert text(profiles) == "A"
    assert home.notes == [
        (
            "profile alpha is broken and stays as it was: odd in profiles/alpha/profile.toml is no key: "
            "allowed are agents, placeholder, identity_budget, slots, pieces, memorables, memories, "
            "compaction"
        )
    ]
    home.write("alpha", "", PIECE + "odd = 1\nodder = 2\n")
    profiles.load()
    assert text(profiles) == "A"
    assert home.notes[1].endswith(" (and 2 more: see `loom profile check`)")
    home.write("alpha", "C")
    profiles.load()
    assert text(profiles) == "C"
    assert home.notes[2:] == ["profile alpha is in order again"]


@pytest.mark.spec("profiles.told-once")
def test_a_profile_that_was_never_in_order_is_not_used(home: Home) -> None:
    home.write("alpha", "A", "odd = 1")
    home.write("Big", "B")
    profiles = home.profiles()
    assert profiles.get("alpha") is None
    assert profiles.get("Big") is None
    assert [line.partition(":")[0] for line in home.notes] == [
        "profile Big is broken and is not used",
        "profile alpha is broken and is not used",
    ]


@pytest.mark.spec("profiles.watched")
def test_a_profile_that_was_removed_is_gone_and_may_come_back_broken(home: Home) -> None:
    home.write("alpha", "A")
    profiles = home.profiles()
    shutil.rmtree(home.folder / "alpha")
    profiles.load()
    assert profiles.get("alpha") is None
    home.write("alpha", "A", "odd = 1")
    profiles.load()
    assert profiles.get("alpha") is None
    assert home.notes[0].startswith("profile alpha is broken and is not used")


@pytest.mark.spec("profiles.last-good", "profiles.told-once")
def test_a_folder_that_cannot_be_listed_changes_nothing(home: Home) -> None:
    home.write("alpha", "A")
    profiles = home.profiles()
    home.folder.rename(home.path / "aside")
    home.folder.symlink_to("profiles")
    profiles.load()
    profiles.load()
    assert text(profiles) == "A"
    assert home.notes == [
        "cannot list profiles: too many levels of symbolic links: the profiles stay as they are"
    ]


def test_there_are_only_so_many_profiles(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    for name in ("a", "b", "c", "d"):
        home.write(name, name)
    profiles = home.profiles()
    assert [text(profiles, name) for name in ("a", "b", "c", "d")] == ["a", "b", None, None]
    assert home.notes == [
        "profile c is broken and is not used: profiles holds 4 folders: only the first 2 are read"
    ]
    assert MOST == 256


@pytest.mark.anyio
@pytest.mark.spec("profiles.watched")
async def test_a_change_is_taken_up_when_it_is_told(home: Home) -> None:
    home.write("alpha", "A")
    profiles = home.profiles()
    async with watching(profiles, look_seconds=LONG):
        await until(lambda: text(profiles) == "B", lambda: home.write("alpha", "B"))
        await until(lambda: text(profiles, "beta") == "N", lambda: home.write("beta", "N"))
        shutil.rmtree(home.folder / "alpha")
        await until(lambda: profiles.get("alpha") is None)
    assert home.notes == []


@pytest.mark.anyio
@pytest.mark.spec("profiles.watched")
async def test_a_folder_that_appears_later_or_is_replaced_is_followed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def counted(path: Path) -> object:
        looks.append(path)
        return look(path)

    monkeypatch.setattr(module, "look", counted)
    profiles = home.profiles()
    async with watching(profiles, look_seconds=0.05):
        await until(lambda: len(looks) > 3)
        home.write("alpha", "A")
        await until(lambda: text(profiles) == "A")
        home.folder.rename(home.path / "aside")
        home.write("alpha", "B")
        await until(lambda: text(profiles) == "B")
        shutil.rmtree(home.folder)
        await until(lambda: profiles.get("alpha") is None)
        home.write("alpha", "C")
        await until(lambda: text(profiles) == "C")
    assert home.notes == []


@pytest.mark.anyio
@pytest.mark.spec("profiles.polling")
async def test_where_nothing_tells_of_changes_it_looks_by_itself(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_MS", 20)
    home.write("alpha", "A")
    profiles = home.profiles()
    async with watching(profiles, polling=True, look_seconds=LONG):
        await until(lambda: text(profiles, "b") == "B", lambda: home.write("b", "B"))
    async with watching(profiles, polling=True, look_seconds=0.05):
        home.write("alpha", "C")
        await until(lambda: text(profiles) == "C")


@pytest.mark.anyio
@pytest.mark.spec("profiles.polling", "profiles.no-raise", "profiles.told-once")
async def test_a_watch_that_cannot_begin_is_told_of_once_and_polled_instead(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = module.awatch, []

    def awatch(*paths: Path, force_polling: bool, **options: object) -> object:
        asked.append(force_polling)
        if len(asked) < 4:
            raise OSError(28, "OS file watch limit reached")
        return real(*paths, force_polling=force_polling, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "awatch", awatch)
    home.write("alpha", "A")
    profiles = home.profiles()
    async with watching(profiles, look_seconds=0.02):
        await until(lambda: len(asked) > 4)
        home.write("alpha", "B")
        await until(lambda: text(profiles) == "B")
    assert asked[:4] == [False, True, True, True]
    assert home.notes == [
        "nothing tells of changes in profiles, so it is polled: [Errno 28] OS file watch limit reached"
    ]


@pytest.mark.spec("profiles.no-raise")
@given(st.binary(max_size=80), st.binary(max_size=20), st.sampled_from((PIECE, "", '[slots]\na="{{"\n')))
def test_no_content_of_files_makes_it_raise(
    tmp_path_factory: pytest.TempPathFactory, toml: bytes, who: bytes, before: str
) -> None:
    home = Home(tmp_path_factory.mktemp("home"))
    home.write("alpha", "A")
    profiles = home.profiles()
    (home.folder / "alpha" / "profile.toml").write_bytes(before.encode() + toml)
    (home.folder / "alpha" / "who.md").write_bytes(who)
    profiles.load()
    assert profiles.get("alpha") is not None
    assert len(home.notes) <= 1


@pytest.mark.spec("profiles.no-raise")
def test_odd_things_in_the_folder_are_passed_over_or_told(home: Home) -> None:
    home.folder.mkdir()
    os.mkfifo(home.folder / "pipe")
    (home.folder / "loop").symlink_to("loop")
    (home.folder / "gone").symlink_to("nowhere")
    (home.folder / "empty").mkdir()
    (home.folder / os.fsdecode(b"\xff\n")).mkdir()
    home.profiles()
    assert [line.partition(":")[0] for line in home.notes] == [
        "profile empty is broken and is not used",
        r"profile \udcff\n is broken and is not used",
    ]
