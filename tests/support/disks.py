"""A small disk of its own, and another program that fills it."""

from __future__ import annotations

import contextlib
import os
import subprocess
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
