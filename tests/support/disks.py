"""A small disk of its own, and another program that fills it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

MIB = 1 << 20


@contextlib.contextmanager
def small_disk(path: Path, size: int = 24 * MIB) -> Iterator[Path]:
    """A filesystem of `size` bytes on a directory that this makes."""
    path.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    options = f"size={size},mode=700"
    command = ["mount", "-t", "tmpfs", "-o", options, "artfs-test", str(path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def free(disk: Path) -> int:
    """Bytes that are left."""
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


@contextlib.contextmanager
def taken(disk: Path) -> Iterator[None]:
    """Another program has taken all that is left, and takes at once whatever comes free."""
    theirs = disk / "taken"
    script = (
        "import os, sys\n"
        "file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
        "print(flush=True)\n"
        "while os.getppid() == int(sys.argv[2]):\n"
        "    try: os.write(file, bytes(4096))\n"
        "    except OSError: pass\n"
    )
    command = [sys.executable, "-c", script, str(theirs), str(os.getpid())]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            while free(disk):
                time.sleep(0.001)
            yield
        finally:
            process.kill()
    theirs.unlink()


@contextlib.contextmanager
def filled(disk: Path, left: int = 0) -> Iterator[None]:
    """Another program has taken all but `left` bytes."""
    theirs = disk / "theirs"
    with theirs.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while free(disk) > left:
            file.write(bytes(min(MIB, max(4096, free(disk) - left))))
    try:
        yield
    finally:
        theirs.unlink()
