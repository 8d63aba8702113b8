"""What this machine is, told at once: nothing is asked for over a network, no file system but the root's.

Standard library only, and little of it: it is imported by `loom_shell/hook.py`.
"""

import os
import time

HOSTS = "/etc/hosts"
HOSTS_LIMIT = 65_536


def gather() -> dict[str, str | int]:
    """fqdn; ram and disk_free (of the root) in bytes; uptime in seconds. What cannot be told is left out."""
    facts: dict[str, str | int] = {}
    for name, find in (("fqdn", fqdn), ("ram", ram), ("uptime", uptime), ("disk_free", disk_free)):
        try:
            facts[name] = find()
        except (OSError, ValueError, AttributeError):
            continue
    return facts


def fqdn() -> str:
    """The host's name with its domain, if the name itself or the file of hosts has it. Never by DNS."""
    name = os.uname().nodename[:255]
    return name if "." in name else _in_hosts(name)


def _in_hosts(name: str) -> str:
    try:
        file = os.open(HOSTS, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return name
    try:
        lines = os.read(file, HOSTS_LIMIT).decode("ascii", "replace").splitlines()
    except OSError:
        return name
    finally:
        os.close(file)
    for line in lines:
        names = line.partition("#")[0].split()[1:]
        if name in names:
            for other in names:
                if other.startswith(f"{name}.") and len(other) <= 255:
                    return other
    return name


def ram() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def uptime() -> int:
    # Linux counts sleep with BOOTTIME; elsewhere the monotonic clock begins with the machine.
    return int(time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)))


def disk_free() -> int:
    # The root, for any other file system may be a network's that hangs.
    found = os.statvfs("/")
    return found.f_bavail * found.f_frsize
