import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from loom_shell import machine_facts
from loom_shell.machine_facts import fqdn, gather


@pytest.mark.spec("hook.machine")
def test_the_facts_are_told_without_a_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("getaddrinfo", "gethostbyname", "getfqdn", "gethostbyaddr"):
        monkeypatch.setattr(socket, name, pytest.fail)
    facts = gather()
    assert list(facts) == ["fqdn", "ram", "uptime", "disk_free"]
    assert str(facts["fqdn"]).partition(".")[0] == os.uname().nodename.partition(".")[0]
    assert all(
        isinstance(facts[name], int) and int(facts[name]) >= 0 for name in ("ram", "uptime", "disk_free")
    )
    assert int(facts["ram"]) > 1 << 20


@pytest.mark.spec("hook.machine")
@pytest.mark.parametrize("error", [OSError, ValueError, AttributeError])
def test_a_fact_that_cannot_be_told_is_left_out(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, "statvfs", fails)
    monkeypatch.setattr(os, "sysconf", fails)
    assert list(gather()) == ["fqdn", "uptime"]


@pytest.mark.parametrize(
    ("node", "hosts", "found"),
    [
        ("box.example.org", "", "box.example.org"),
        ("box", "127.0.0.1 localhost\n127.0.1.1\tbox.example.org box # box.wrong\n", "box.example.org"),
        ("box", "127.0.1.1 box box.example.org", "box.example.org"),
        ("box", "127.0.1.1 box\n# 1.1.1.1 box box.example.org\n", "box"),
        ("box", "127.0.1.1 boxer.example.org", "box"),
        ("box", "127.0.1.1 box box." + "x" * 300, "box"),
        ("box", "\xff\x00", "box"),
        ("box", None, "box"),
    ],
)
def test_the_domain_comes_from_the_file_of_hosts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, node: str, hosts: str | None, found: str
) -> None:
    file = tmp_path / "hosts"
    if hosts is not None:
        file.write_text(hosts, encoding="latin-1")
    monkeypatch.setattr(machine_facts, "HOSTS", str(file))
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename=node))
    assert fqdn() == found


def test_a_file_of_hosts_that_cannot_be_read_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine_facts, "HOSTS", str(tmp_path))
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename="box"))
    assert fqdn() == "box"
