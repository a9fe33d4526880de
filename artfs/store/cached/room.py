"""How much the cache takes, and what goes first when that is too much.

One bound for the caches of all stores below one directory. Nobody keeps accounts: after every so
many bytes filled, one process looks at the files that there are, some hundred for 10 GiB, and takes
away those used least recently until the cache is within its bound and a tenth of the disk is free.
A file's modification time is when it was last used: filling sets it, and readers do now and then.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from artfs.store import filelock
from artfs.store.cached.blockfile import discard

PACKS, OBJECTS, COUNTS = "packs", "objects", "counts"
#: Of the disk, what stays free.
_FREE_SHARE = 0.1
#: How far below its bound the cache is taken, so that it is not at it again at once.
_SLACK = 0.05
#: Bytes filled between two looks, at most; each process can be over the bound by as much.
_STEP = 64 << 20
#: Seconds to wait for another process that looks through the cache, before doing without it.
_PATIENCE = 10.0


class Kept(msgspec.Struct, frozen=True):
    """A file of the cache: bytes on disk, and when it was last used."""

    path: Path
    size: int
    used: float


def kept(directory: Path) -> Iterator[Kept]:
    """The files that one store has in the cache."""
    for kind in (PACKS, OBJECTS):
        with contextlib.suppress(FileNotFoundError), os.scandir(directory / kind) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    yield Kept(Path(entry.path), status.st_blocks * 512, status.st_mtime)


def stores(cache: Path) -> list[Path]:
    """The directories of stores of which anything is kept."""
    with contextlib.suppress(OSError):
        return sorted(
            path for path in cache.iterdir() if any((path / k).is_dir() for k in (PACKS, OBJECTS))
        )
    return []


class Room:
    """Asked before something is kept in `cache`, a directory that may be missing. Thread-safe."""

    def __init__(self, cache: Path, limit: int) -> None:
        """`limit` in bytes; 0: nothing is kept."""
        self._cache = cache
        self._limit = limit
        self._lock = threading.Lock()
        self._step = max(1, min(_STEP, limit // 16))
        self._left = 0
        self._is_room = True

    def take(self, size: int) -> bool:
        """Whether so many bytes may be kept now. May wait for the disk, and removes files."""
        if self._limit <= 0:
            return False
        with self._lock:
            self._left -= size
            if self._left >= 0:
                return self._is_room
            self._left = self._step
            try:
                self._is_room = self._trim(self._step + size)
            except OSError:
                self._is_room = False
            return self._is_room

    def failed(self) -> None:
        """The disk did not take what there was room for: do without for a while."""
        with self._lock:
            self._is_room = False

    def _trim(self, wanted: int) -> bool:
        self._cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self._cache / "room.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            filelock.lock(lock, _PATIENCE)
            found = sorted(
                (file for store in stores(self._cache) for file in kept(store)),
                key=lambda file: file.used,
            )
            excess = self._excess(sum(file.size for file in found), wanted)
            if excess > 0:
                excess += int(self._limit * _SLACK)
            for file in found:
                if excess <= 0:
                    break
                with contextlib.suppress(FileNotFoundError):
                    discard(file.path)
                    excess -= file.size
            return excess <= 0
        finally:
            os.close(lock)

    def _excess(self, used: int, wanted: int) -> int:
        """Bytes that must go before those wanted can be kept."""
        status = os.statvfs(self._cache)
        floor = int(status.f_blocks * _FREE_SHARE) * status.f_frsize
        free = status.f_bavail * status.f_frsize
        return max(used + wanted - self._limit, floor + wanted - free)
