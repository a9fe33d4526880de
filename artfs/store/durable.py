"""Putting bytes and names on a disk so that a reset of the machine loses neither.

A name is durable only when the directory that holds it was synced, and that directory only when
its own parent was. Whoever meets a directory that somebody else has just made cannot know whether
it is durable yet, so `Directories` syncs the parent of each one it sees for the first time.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import time
from collections.abc import Callable, Sequence
from typing import cast

from artfs.store.base import BytesLike

STALE_SECONDS = 24 * 3600.0
_IOV_MAX = 1024
_SYNC_FILE_RANGE_WRITE = 2


def fsync_dir(directory: str) -> None:
    """Make the names in a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        # Some network file systems cannot sync a directory, and have nothing to sync there.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(fd)


class Directories:
    """Makes directories below a root that exists; remembers which are known to be durable.

    The root itself is never made: where a disk is not mounted, its mount point must stay empty.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._durable: set[str] = set()

    def ensure(self, relative: str) -> str:
        """The path of `relative`, which then exists durably, level by level."""
        path = self._root
        for component in filter(None, relative.split("/")):
            parent, path = path, os.path.join(path, component)
            try:
                os.mkdir(path)
            except FileExistsError:
                if path in self._durable:
                    continue
            fsync_dir(parent)
            self._durable.add(path)
        return path


def create_temporary(directory: str) -> tuple[int, str]:
    """A new file that nobody else has, open for writing, and its path.

    The name is random: pids repeat across the hosts of a network file system. The mode is the
    umask's business, so that users of one group can share a store.
    """
    path = os.path.join(directory, secrets.token_hex(16))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), path


def sweep_stale(directory: str) -> None:
    """Remove the temporary files of writers that died; one that still writes is never that old."""
    before = time.time() - STALE_SECONDS
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime < before:
                    os.unlink(entry.path)


def unlink_quietly(path: str) -> None:
    """Remove a temporary file if it can be; one that stays is swept some day."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def write_all(fd: int, parts: Sequence[BytesLike]) -> int:
    """Append all parts, however many writes that takes; returns the number of bytes."""
    views = [memoryview(p).cast("B") for p in parts if memoryview(p).nbytes]
    total = sum(map(len, views))
    first = 0
    while first < len(views):
        written = os.writev(fd, views[first : first + _IOV_MAX])
        while first < len(views) and written >= len(views[first]):
            written -= len(views[first])
            first += 1
        if written:
            views[first] = views[first][written:]
    return total


def _load_sync_file_range() -> Callable[[int, int, int, int], int] | None:
    try:
        function = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    function.restype = ctypes.c_int
    return cast("Callable[[int, int, int, int], int]", function)


_sync_file_range = _load_sync_file_range()


def start_writeback(fd: int, offset: int, length: int) -> None:
    """Let the kernel begin to write a range, so that the final fsync finds little left to do.

    A hint: it promises nothing about durability, and its failure means nothing.
    """
    if _sync_file_range is not None:
        _sync_file_range(fd, offset, length, _SYNC_FILE_RANGE_WRITE)
