import subprocess
import sys
from pathlib import Path

import pytest

from loom_shell.claims import Claims

HOLDER = """
import sys
from pathlib import Path
from loom_shell.claims import Claims
one = Claims(Path(sys.argv[1]))
print(one.take(Path(sys.argv[2])), flush=True)
sys.stdin.readline()
"""
FILE, OTHER = Path("/p/a.jsonl"), Path("/p/b.jsonl")


def holder(home: Path, path: Path) -> subprocess.Popen[str]:
    command = (sys.executable, "-c", HOLDER, str(home), str(path))
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.mark.spec("watcher.one")
def test_a_file_is_one_process_at_a_time_and_free_when_that_is_killed(tmp_path: Path) -> None:
    home, one = tmp_path / "home", Claims(tmp_path / "home")
    with holder(home, FILE) as first:
        assert said(first) == "True"
        assert not one.take(FILE)
        assert one.take(OTHER)
        assert one.take(OTHER)
        with holder(home, OTHER) as second:
            assert said(second) == "False"
            second.kill()
        first.kill()
    assert one.take(FILE)
    one.release(FILE)
    with holder(home, FILE) as third:
        assert said(third) == "True"
        assert not one.take(FILE)
        third.kill()
    one.close()
    with holder(home, OTHER) as fourth:
        assert said(fourth) == "True"
        fourth.kill()
    assert (home / "transcripts.lock").stat().st_size == 0


@pytest.mark.spec("watcher.one")
def test_where_nothing_can_be_locked_nobody_is_kept_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "home").write_bytes(b"a file")
    one = Claims(tmp_path / "home")
    assert one.take(FILE)
    one.release(FILE)
    one.close()
