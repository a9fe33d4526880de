"""Whether what a version refers to is all there, and is what was stored: by reading it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import msgspec

from artfs.errors import ArtfsError, Damaged, ObjectNotFound
from artfs.format import walk
from artfs.format.build import DirBuilder, ListBuilder, Root, unstored
from artfs.format.node import Run
from artfs.repo.blobs import Blobs
from artfs.repo.reading import children, drive
from artfs.types import Entry, Kind, path_shown

#: Bytes of a file whose chunks are looked up at once.
_WINDOW = 16 << 20

#: Called with (bytes, files) read since the last call.
Progress: TypeAlias = Callable[[int, int], None]


class Fault(msgspec.Struct, frozen=True):
    """Something of a version that cannot be read as it was stored. `path` is b"" of its root."""

    path: bytes
    error: ArtfsError


class Check:
    """Reads versions. `references`: how many were met, which are not followed."""

    def __init__(self, blobs: Blobs, progress: Progress) -> None:
        self.references = 0
        self._blobs = blobs
        self._progress = progress

    def faults(self, directory: Entry, path: bytes = b"") -> Iterator[Fault]:
        """All that is wrong with a version, or with a directory of it: content or directories that
        are gone or damaged, and digests that are not those of what is there.

        Raises `Unreachable`.
        """
        again = DirBuilder(unstored)
        try:
            for entry in children(directory, self._blobs):
                inner = path + b"/" + entry.name if path else entry.name
                again.push(entry)
                if entry.is_dir:
                    yield from self.faults(entry, inner)
                    continue
                if entry.kind == Kind.FILE:
                    yield from _file(entry, inner, self._blobs)
                self.references += entry.kind == Kind.REFERENCE
                self._progress(entry.size, 1)
            found = again.root()
        except (Damaged, ObjectNotFound) as error:
            yield Fault(path, error)
            return
        said = (directory.digest, directory.size, directory.count)
        if said != (found.digest, found.size, found.count):
            why = "its digest or size is not that of what is in it"
            yield Fault(path, Damaged(path_shown(path), why))


def _file(entry: Entry, path: bytes, blobs: Blobs) -> Iterator[Fault]:
    try:
        found = _read(entry, blobs)
    except (Damaged, ObjectNotFound) as error:
        yield Fault(path, error)
        return
    if (entry.digest, entry.size) != (found.digest, found.size):
        yield Fault(
            path, Damaged(path_shown(path), "its digest or size is not that of its content")
        )


def _read(file: Entry, blobs: Blobs) -> Root:
    again = ListBuilder(unstored)
    position, proved = 0, b""
    while position < file.size:
        for _, ref in drive(walk.chunks(file, position, _WINDOW), blobs):
            if ref.digest != proved:  # the same chunk many times is a hole
                blobs.read(ref)
                proved = ref.digest
            again.push(Run(ref))
            position += ref.size
    return again.root()
