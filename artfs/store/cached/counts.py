"""What the cache of a store has saved, counted by all processes together.

A process adds what it has counted when it has fetched something, and when it closes the store.
Losing some to SIGKILL harms nobody.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from pathlib import Path

import msgspec

from artfs.store import filelock

_FORMAT = struct.Struct("<8s4Q")
_MAGIC = b"ARTFSBN1"
#: Seconds to wait for other processes that add theirs.
_PATIENCE = 10.0


class Counts(msgspec.Struct):
    """`hits`: reads of packs that waited for no request; `misses`: those that did. `requests` to
    the store, of any kind; `fetched`: bytes of packs that they brought."""

    hits: int = 0
    misses: int = 0
    requests: int = 0
    fetched: int = 0

    def values(self) -> tuple[int, int, int, int]:
        """All of them, in the order above."""
        return self.hits, self.misses, self.requests, self.fetched


class Counter:
    """Counts in memory, and in the file `path` by `flush`. Thread-safe, but for `hits`, which the
    one event loop of a mount counts without a lock: losing one to a race harms nobody."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._counts = Counts()
        self.hits = 0

    def add(self, *, misses: int = 0, requests: int = 0, fetched: int = 0) -> None:
        """Count."""
        with self._lock:
            self._counts.misses += misses
            self._counts.requests += requests
            self._counts.fetched += fetched

    def flush(self) -> None:
        """Add what was counted to the file. Where none can be written, nothing is counted."""
        with self._flushing:
            with self._lock:
                counts, self._counts = self._counts, Counts()
                counts.hits = max(0, self.hits)
                self.hits -= counts.hits
            if any(counts.values()):
                with contextlib.suppress(OSError):
                    _add(self._path, counts)


def _add(path: Path, counts: Counts) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        filelock.lock(fd, _PATIENCE)
        known = _decode(os.pread(fd, _FORMAT.size, 0))
        sums = [a + b for a, b in zip(known.values(), counts.values(), strict=True)]
        os.pwrite(fd, _FORMAT.pack(_MAGIC, *sums), 0)
    finally:
        os.close(fd)


def _decode(data: bytes) -> Counts:
    if len(data) != _FORMAT.size or not data.startswith(_MAGIC):
        return Counts()
    return Counts(*_FORMAT.unpack(data)[1:])


def read(path: Path) -> Counts:
    """What the file says; zeros if there is none."""
    try:
        return _decode(path.read_bytes())
    except OSError:
        return Counts()
