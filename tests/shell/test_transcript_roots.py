import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.transcript_roots import (
    LONGEST_PATH,
    RefusedPathError,
    Roots,
    agent_of,
    projects_folder,
    subagents_folder,
)

SESSION = "0a1b2c3d-0000-4000-8000-000000000001"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "projects" / "-work").mkdir(parents=True)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "keys.jsonl").write_bytes(b"{}\n")
    return tmp_path


@pytest.fixture
def roots(home: Path) -> Roots:
    return Roots((home / "projects",))


def file(home: Path, name: str = f"{SESSION}.jsonl") -> Path:
    path = home / "projects" / "-work" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"{}\n")
    return path


@pytest.mark.spec("watcher.roots")
def test_a_file_under_a_root_is_admitted_also_before_it_is_there(home: Path, roots: Roots) -> None:
    path = home / "projects" / "-work" / "s.jsonl"
    assert roots.admitted(str(path)) == path
    assert roots.admitted(str(home / "projects" / "new" / "s.jsonl")).parent.name == "new"
    path.write_bytes(b"x")
    assert roots.admitted(f"{path.parent}/../-work//./s.jsonl") == path
    descriptor = roots.opened(path)
    assert os.read(descriptor, 9) == b"x"
    os.close(descriptor)


@pytest.mark.spec("watcher.roots")
@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("{home}/secrets/keys.jsonl", "it does not lie under {home}/projects"),
        ("{home}/projects/../secrets/keys.jsonl", "it does not lie under {home}/projects"),
        ("{home}/projects-of-others/s.jsonl", "it does not lie under {home}/projects"),
        ("/etc/passwd", "its name does not end in .jsonl"),
        ("{home}/projects/s.JSONL", "its name does not end in .jsonl"),
        ("{home}/projects/-work", "its name does not end in .jsonl"),
        ("projects/s.jsonl", "it is not absolute"),
        ("", "it is not absolute"),
        ("~/.claude/projects/s.jsonl", "it is not absolute"),
        ("/a\0b.jsonl", "it is not a file name"),
        ("/\ud800.jsonl", "it is not a file name"),
        ("/" + "a" * LONGEST_PATH + ".jsonl", "it is not a file name"),
    ],
)
def test_any_other_path_is_refused_with_the_reason(home: Path, roots: Roots, path: str, why: str) -> None:
    with pytest.raises(RefusedPathError) as refused:
        roots.admitted(path.replace("{home}", str(home)))
    assert str(refused.value).endswith(f"is not followed: {why.replace('{home}', str(home))}")
    assert len(str(refused.value)) < 600
    assert str(refused.value).isprintable()


@pytest.mark.spec("watcher.roots")
def test_a_link_out_is_refused_and_one_within_leads_to_its_file(home: Path, roots: Roots) -> None:
    inside = file(home)
    (inside.parent / "in.jsonl").symlink_to(inside)
    assert roots.admitted(str(inside.parent / "in.jsonl")) == inside
    (inside.parent / "out.jsonl").symlink_to(home / "secrets" / "keys.jsonl")
    (home / "projects" / "out").symlink_to(home / "secrets")
    (inside.parent / "other.jsonl").symlink_to("/dev/null")
    (inside.parent / "loop.jsonl").symlink_to(inside.parent / "loop.jsonl")
    for path in ("-work/out.jsonl", "out/keys.jsonl", "-work/other.jsonl", "-work/loop.jsonl"):
        with pytest.raises(RefusedPathError):
            roots.admitted(str(home / "projects" / path))
    subagents_folder(inside).mkdir(parents=True)
    (subagents_folder(inside) / "agent-1.jsonl").symlink_to(home / "secrets" / "keys.jsonl")
    assert list(roots.subagents(inside)) == []


@pytest.mark.spec("watcher.roots")
def test_what_became_a_link_after_it_was_admitted_is_not_opened(home: Path, roots: Roots) -> None:
    path = roots.admitted(str(file(home, "keys.jsonl")))
    path.unlink()
    path.symlink_to(home / "secrets" / "keys.jsonl")
    with pytest.raises(RefusedPathError, match="it has become a link"):
        roots.opened(path)
    path.unlink()
    path.parent.rmdir()
    path.parent.symlink_to(home / "secrets")
    with pytest.raises(OSError, match="Not a directory"):
        roots.opened(path)
    with pytest.raises(RefusedPathError, match="does not lie under"):
        roots.opened(home / "secrets" / "keys.jsonl")


@pytest.mark.spec("watcher.roots")
def test_only_a_regular_file_is_opened_and_a_pipe_holds_nobody_up(home: Path, roots: Roots) -> None:
    path = home / "projects" / "-work" / "pipe.jsonl"
    assert roots.admitted(str(path)) == path
    os.mkfifo(path)
    with pytest.raises(RefusedPathError, match="not a regular file"):
        roots.opened(path)
    with pytest.raises(RefusedPathError, match="not a regular file"):
        roots.admitted(str(path))
    (path.parent / "folder.jsonl").mkdir()
    with pytest.raises(RefusedPathError, match="not a regular file"):
        roots.admitted(str(path.parent / "folder.jsonl"))
    with pytest.raises(FileNotFoundError):
        roots.opened(path.parent / "gone.jsonl")


@pytest.mark.spec("watcher.roots")
def test_a_root_may_be_a_link_itself(home: Path) -> None:
    path = file(home)
    (home / "linked").symlink_to(home / "projects")
    roots = Roots((home / "gone", home / "linked"))
    assert roots.admitted(str(path)) == path
    assert roots.admitted(str(home / "linked" / "-work" / path.name)) == path
    os.close(roots.opened(path))
    with pytest.raises(RefusedPathError, match="any folder, for none is configured"):
        Roots(()).admitted(str(path))


@pytest.mark.spec("watcher.derived")
def test_a_session_without_a_path_is_found_in_any_project(home: Path, roots: Roots) -> None:
    assert list(roots.of_session(SESSION)) == []
    path = file(home)
    (home / "projects" / "-empty").mkdir()
    (home / "projects" / "a file").write_bytes(b"")
    assert list(roots.of_session(SESSION)) == [path]
    (home / "projects" / "-empty" / f"{SESSION}.jsonl").symlink_to("/dev/null")
    assert list(roots.of_session(SESSION)) == [path]
    assert list(Roots((home / "gone",)).of_session(SESSION)) == []


@pytest.mark.spec("watcher.derived")
@given(st.text(max_size=20) | st.sampled_from(["..", "../-work/s", "*", "-s", "s/", "s\n", "s\0"]))
def test_a_session_is_a_name_and_no_path(session: str) -> None:
    for path in Roots((Path("/proc/self"),)).of_session(session):
        assert path.name == f"{session}.jsonl"


@pytest.mark.spec("watcher.subagents")
def test_files_of_subagents_are_found_by_name(home: Path, roots: Roots) -> None:
    path = file(home)
    assert list(roots.subagents(path)) == []
    for name in ("agent-a1.jsonl", "agent-b_2-c.jsonl", "agent-.jsonl", "agent-c.json", "notes.jsonl"):
        file(home, f"{SESSION}/subagents/{name}")
    found = list(roots.subagents(path))
    assert [one.name for one in found] == ["agent-a1.jsonl", "agent-b_2-c.jsonl"]
    assert [agent_of(one) for one in (*found, path)] == ["a1", "b_2-c", ""]


@pytest.mark.spec("watcher.derived")
def test_the_folder_of_the_client_may_be_configured() -> None:
    assert projects_folder(Path("/u")) == Path("/u/.claude/projects")
    assert projects_folder(Path("/u"), "/etc/claude") == Path("/etc/claude/projects")
