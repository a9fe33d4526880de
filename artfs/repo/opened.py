"""Which paths of a version a run has opened, of the bitmap that is recorded."""

from __future__ import annotations

from collections.abc import Iterator

from artfs.format import walk
from artfs.repo.blobs import Blobs
from artfs.repo.reading import drive
from artfs.types import Entry


def opened_paths(root: Entry, bitmap: bytes, blobs: Blobs) -> Iterator[bytes]:
    """The paths whose ordinals are set, in the order of a walk; directories in which nothing was
    opened are not read. Raises `Damaged`, `Unreachable`."""
    yield from _below(root, 0, b"", bitmap, blobs)


def _below(
    directory: Entry, ordinal: int, prefix: bytes, bitmap: bytes, blobs: Blobs
) -> Iterator[bytes]:
    after = ordinal
    while page := drive(walk.page(directory, ordinal, after), blobs):
        for number, entry in page:
            if not _any(bitmap, number, entry.count + 1):
                continue
            path = prefix + entry.name
            if entry.is_dir:
                yield from _below(entry, number, path + b"/", bitmap, blobs)
            else:
                yield path
        after = page[-1][0]


def _any(bitmap: bytes, first: int, count: int) -> bool:
    """Whether one of `count` bits from `first` on is set."""
    begin, end = first >> 3, (first + count + 7) >> 3
    bits = int.from_bytes(bitmap[begin:end], "little") >> (first & 7)
    return bool(bits & ((1 << count) - 1))
