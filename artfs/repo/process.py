"""Which process a run is, in words that another process can check. See artfs-format(5), run.json.

A process id alone would not do: ids are given again, and other machines and containers have the
same ones.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")


def host() -> str:
    """This machine's name."""
    return os.uname().nodename


def user() -> str:
    """The name of the user whose rights this process has; the number, if it has none."""
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def boot() -> str:
    """Which boot of this machine it is; empty where /proc does not say."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def this_process() -> str:
    """This process; empty where /proc does not say."""
    try:
        return f"{_place()} {os.getpid()} {_started(os.getpid())}"
    except (OSError, ValueError):
        return ""


def is_gone(process: str) -> bool:
    """Whether a process is known to have ended: False also where that cannot be told from here."""
    place, _, rest = process.rpartition(" ")
    place, _, pid = place.rpartition(" ")
    try:
        if not pid.isdecimal() or place != _place():
            return False
        return _started(int(pid)) != int(rest)
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False


def _place() -> str:
    return f"{_BOOT.read_text().strip()} {_NAMESPACE.stat().st_ino}"


def _started(pid: int) -> int:
    # The name in parentheses, which may hold anything, is the second field; the 22nd is the start.
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
