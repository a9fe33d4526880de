"""Bringing parts of a version into the local cache ahead of use, every byte of them proved."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TypeAlias

from artfs.format import walk
from artfs.repo.blobs import Blobs, neighbours
from artfs.repo.reading import children, drive
from artfs.types import BlobRef, Entry, Kind

#: Called with (bytes of files, files) done since the last call.
Progress: TypeAlias = Callable[[int, int], None]

#: Bytes that are looked up, and asked for, at once.
_BATCH = 16 << 20
#: Batches that are on their way before the first of them is proved: some 100 MB keep 16 requests
#: busy for as long as the next ones take to be looked up.
_UNDER_WAY = 6


class _Batch:
    """Blobs that are being fetched, and the bytes and files that they complete."""

    def __init__(self) -> None:
        self.refs: list[BlobRef] = []
        self.size = 0
        self.files = 0
        self.futures: list[Future[None]] = []


class Warming:
    """Fetches what is below entries. What is here already is proved, and not fetched again."""

    def __init__(self, blobs: Blobs, progress: Progress) -> None:
        self._blobs = blobs
        self._progress = progress
        self._under_way: deque[_Batch] = deque()
        #: Bytes of files, and files, that are here now.
        self.size = 0
        self.files = 0

    def run(self, entries: Sequence[Entry]) -> None:
        """Fetch them. Raises `Damaged`, `ObjectNotFound`, `Unreachable`."""
        try:
            for batch in self._batches(entries):
                self._ask(batch)
                if len(self._under_way) > _UNDER_WAY:
                    self._prove()
            while self._under_way:
                self._prove()
        finally:
            for batch in self._under_way:
                for future in batch.futures:
                    future.cancel()
            self._under_way.clear()

    def _batches(self, entries: Sequence[Entry]) -> Iterator[_Batch]:
        batch = _Batch()
        for entry in entries:
            for file in self._files(entry):
                at = 0
                while at < file.size:
                    pieces = drive(walk.chunks(file, at, _BATCH), self._blobs)
                    for start, ref in pieces:
                        if start >= at:  # else it reaches over from the piece before
                            batch.size += ref.size
                            if not batch.refs or batch.refs[-1] != ref:  # a run of equal chunks
                                batch.refs.append(ref)
                    at = pieces[-1][0] + pieces[-1][1].size
                    if batch.size >= _BATCH:
                        yield batch
                        batch = _Batch()
                batch.files += 1
        yield batch

    def _files(self, entry: Entry) -> Iterator[Entry]:
        if entry.is_dir:
            for child in children(entry, self._blobs):
                yield from self._files(child)
        elif entry.kind == Kind.FILE:
            yield entry

    def _ask(self, batch: _Batch) -> None:
        self._under_way.append(batch)
        for run in neighbours(batch.refs) if batch.refs else ():
            self._blobs.reader(run[0].pack)  # opens it
            future = self._blobs.fetch(run)
            if future is not None:
                batch.futures.append(future)

    def _prove(self) -> None:
        batch = self._under_way.popleft()
        for run in neighbours(batch.refs) if batch.refs else ():
            self._blobs.span(run)
        self.size += batch.size
        self.files += batch.files
        self._progress(batch.size, batch.files)
