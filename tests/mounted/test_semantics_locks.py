"""What artfs-semantics(7) says of locks in a draft, sentence by sentence."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.mounts import wait_for

pytestmark = pytest.mark.fuse

LOCKER = """
import fcntl, os, struct, sys
kind, how, start, length = sys.argv[2], *map(int, sys.argv[3:6])
fd = os.open(sys.argv[1], os.O_RDWR)
try:
    if kind == "flock":
        fcntl.flock(fd, how)
    elif kind == "fcntl":
        fcntl.lockf(fd, how, length, start)
    else:
        type_ = fcntl.F_WRLCK if how & fcntl.LOCK_EX else fcntl.F_RDLCK
        command = fcntl.F_OFD_SETLK if how & fcntl.LOCK_NB else fcntl.F_OFD_SETLKW
        fcntl.fcntl(fd, command, struct.pack("hhqqi4x", type_, 0, start, length, 0))
except BlockingIOError:
    print("refused", flush=True)
else:
    print("locked", flush=True)
sys.stdin.read()
"""
SHARED, EXCLUSIVE = fcntl.LOCK_SH, fcntl.LOCK_EX


@contextmanager
def locker(
    path: Path, kind: str, how: int, start: int = 0, length: int = 0
) -> Iterator[subprocess.Popen[str]]:
    """A process that takes a lock, says whether it has got it, and holds it."""
    args = [str(path), kind, str(how), str(start), str(length)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", LOCKER, *args], stdin=pipe, stdout=pipe, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tried(path: Path, kind: str, how: int, start: int = 0, length: int = 0) -> str:
    """What comes of trying to get a lock without waiting."""
    with locker(path, kind, how | fcntl.LOCK_NB, start, length) as process:
        return said(process)


def test_locks(place: Path) -> None:
    """flock(2) and fcntl(2) locks, of whole files and of ranges, shared and exclusive, hold between
    the programs of this machine."""
    (place / "new").write_text("new")
    os.link(place / "text", place / "other")
    for path, name in ((place / "text", place / "other"), (place / "new", place / "new")):
        for kind in ("flock", "fcntl", "ofd"):
            with locker(path, kind, EXCLUSIVE) as process:
                assert said(process) == "locked"
                assert tried(name, kind, EXCLUSIVE) == "refused"
                assert tried(name, kind, SHARED) == "refused"
            assert tried(name, kind, EXCLUSIVE) == "locked"
        with locker(path, "flock", SHARED) as process:
            assert said(process) == "locked"
            assert tried(name, "flock", SHARED) == "locked"
            assert tried(name, "flock", EXCLUSIVE) == "refused"


def test_ranges(place: Path) -> None:
    """flock(2) and fcntl(2) locks, of whole files and of ranges, shared and exclusive, hold between
    the programs of this machine."""
    path = place / "big"
    for kind in ("fcntl", "ofd"):
        with locker(path, kind, EXCLUSIVE, 100, 50) as process:
            assert said(process) == "locked"
            assert tried(path, kind, EXCLUSIVE, 150, 10) == "locked"
            assert tried(path, kind, SHARED, 149, 1) == "refused"
            assert tried(path, kind, SHARED, 0, 0) == "refused"
            # Who asks is told who holds it.
            asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
            fd = os.open(path, os.O_RDWR)
            told = struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, asked))
            os.close(fd)
            holder = process.pid if kind == "fcntl" else -1
            assert told == (fcntl.F_WRLCK, 0, 100, 50, holder)


def _is_waited_for(path: Path) -> bool:
    waiting = [line for line in Path("/proc/locks").read_text().splitlines() if " -> " in line]
    return any(f":{path.stat().st_ino} " in line for line in waiting)


@pytest.mark.parametrize("kind", ["flock", "fcntl", "ofd"])
@pytest.mark.parametrize("end", ["close", "kill"])
def test_the_end_of_a_lock(place: Path, kind: str, end: str) -> None:
    """Locks end when their holder closes the file or is killed, and then who waits gets them."""
    path = place / "text"
    with locker(path, kind, EXCLUSIVE) as holder:
        assert said(holder) == "locked"
        with locker(path, kind, EXCLUSIVE) as waits:
            wait_for(lambda: _is_waited_for(path), what="somebody waiting for the lock")
            if end == "kill":
                holder.kill()
            else:
                assert holder.stdin is not None
                holder.stdin.close()
            assert said(waits) == "locked"
