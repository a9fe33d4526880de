"""What the caches of all stores hold, and taking it away."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from artfs.store.cached import counts
from artfs.store.cached.blockfile import discard
from artfs.store.cached.counts import Counts
from artfs.store.cached.room import COUNTS, kept, stores


class Cached(msgspec.Struct, frozen=True):
    """What one store has in the cache: its id, bytes on disk, packs and records, what it saved."""

    store: str
    size: int
    objects: int
    counts: Counts


def overview(cache: Path) -> list[Cached]:
    """The caches below a directory, one of each store."""
    found = []
    for directory in stores(cache):
        files = list(kept(directory))
        counted = counts.read(directory / COUNTS)
        if files or any(counted.values()):
            found.append(Cached(directory.name, sum(f.size for f in files), len(files), counted))
    return found


def clean(cache: Path, store: str | None = None) -> int:
    """Take away what is kept of one store, or of all; the bytes that are free again. Mounts that
    use it go on, and fetch what they need. Raises `OSError`."""
    freed = 0
    for directory in stores(cache):
        if store in (None, directory.name):
            for file in kept(directory):
                with contextlib.suppress(FileNotFoundError):
                    discard(file.path)
                    freed += file.size
            (directory / COUNTS).unlink(missing_ok=True)
    return freed
