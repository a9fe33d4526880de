"""File content to chunks: whole files, and files of which a part has changed.

FastCDC 2020 (Xia et al., https://ieeexplore.ieee.org/document/9055082) with the parameters below,
which are part of the store format. A cut depends only on the bytes since the cut before it, so
cutting again from an old cut finds the old cuts again soon behind a change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from blake3 import blake3
from pyfastcdc import FastCDC

from artfs.format import walk
from artfs.format.build import ListBuilder, Root, Splice, edit_list
from artfs.format.node import Run
from artfs.repo.blobs import Blobs
from artfs.repo.packing import PackWriter
from artfs.repo.reading import drive
from artfs.types import BlobRef, Entry

#: A random read fetches and verifies one chunk: 64 KiB is what makes that as fast as squashfuse
#: with its 128 KiB blocks; artfs-format(5) has the figures.
MIN, AVERAGE, MAX = 16 << 10, 64 << 10, 256 << 10
_BLOCK = 8 << 20
_SMALL_BLOCK = 1 << 20

#: (offset, length) -> exactly these bytes of the content to be stored.
Read: TypeAlias = Callable[[int, int], bytes | memoryview]
#: A chunk: its offset in the content, and its bytes.
Piece: TypeAlias = tuple[int, memoryview]


def cut(read: Read, start: int, size: int, block: int = _BLOCK) -> Iterator[list[Piece]]:
    """The chunks of a content of `size` bytes from the cut at `start` on, some at a time."""
    chunker = FastCDC(AVERAGE, min_size=MIN, max_size=MAX, normalized_chunking=2)
    while start < size:
        data = memoryview(read(start, min(block, size - start)))
        stops = [chunk.offset + chunk.length for chunk in chunker.cut_buf(data)]
        if start + len(data) < size:
            stops.pop()  # made by the end of the block, not by its content
        pieces, begin = [], 0
        for stop in stops:
            pieces.append((start + begin, data[begin:stop]))
            begin = stop
        yield pieces
        start += begin


def store_file(read: Read, size: int, writer: PackWriter) -> Root:
    """Store a whole file. `read` may be called from another thread, one call at a time.

    Raises what `read` and `PackWriter.chunk` raise.
    """
    builder = ListBuilder(writer.node)
    blocks = cut(read, 0, size)
    for pieces in _one_ahead(blocks) if size > _BLOCK else blocks:
        for blob in store_pieces(pieces, writer):
            builder.push(Run(blob))
    return builder.root()


def _one_ahead(blocks: Iterator[list[Piece]]) -> Iterator[list[Piece]]:
    # Reading and cutting takes as long as hashing and packing: with two cores, half the time.
    with ThreadPoolExecutor(1, thread_name_prefix="artfs-cut") as thread:
        job = thread.submit(next, blocks, None)
        while (pieces := job.result()) is not None:
            job = thread.submit(next, blocks, None)
            yield pieces


def store_pieces(pieces: Sequence[Piece], writer: PackWriter) -> list[BlobRef]:
    """Store chunks, looked up at one go."""
    digests = [blake3(data).digest() for _, data in pieces]
    writer.look_up(digests)
    return [writer.chunk(data, digest) for (_, data), digest in zip(pieces, digests, strict=True)]


def rechunk_file(
    base: Entry,
    size: int,
    dirty: Sequence[tuple[int, int]],
    read: Read,
    writer: PackWriter,
    blobs: Blobs,
) -> Root:
    """Store a file that is `base` but for the byte ranges `dirty` ([start, end), sorted,
    disjoint) and for its length `size`; beyond the base's end everything counts as changed.

    Reads the new content only around what changed; the result is `store_file`'s.
    """
    if base.blob is None or size == 0:
        return store_file(read, size, writer)
    cuts = _Cuts(base, blobs)
    splices: list[Splice] = []
    ranges = _changed(base.size, size, dirty)
    while ranges:
        splices.append(_recut(cuts, base.size, size, ranges, read, writer))
    return drive(edit_list(base, splices, writer.node), blobs)


def _changed(old: int, new: int, dirty: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges of the new content to cut again, last one first."""
    ranges = [(start, min(end, new)) for start, end in dirty if start < new]
    if new > old:
        ranges.append((old, new))
    elif new < old:
        ranges.append((new, new))
    return sorted(ranges, reverse=True)


def _recut(
    cuts: _Cuts,
    old: int,
    new: int,
    ranges: list[tuple[int, int]],
    read: Read,
    writer: PackWriter,
) -> Splice:
    first, end = ranges.pop()
    start = cuts.before(first)
    if start == new:
        return Splice(start, old, [])
    chunks: list[BlobRef] = []
    pieces = (piece for pieces in cut(read, start, new, _SMALL_BLOCK) for piece in pieces)
    for offset, data in pieces:
        chunks.append(writer.chunk(data))
        stop = offset + len(data)
        while ranges and ranges[-1][0] < stop:
            end = max(end, ranges.pop()[1])
        if end <= stop < new and stop < old and cuts.has(stop):
            return Splice(start, stop, chunks)
    ranges.clear()  # cut to the end: nothing is left to do, least of all for a range at the end
    return Splice(start, max(old, start), chunks)


class _Cuts:
    """Where the chunks of a stored file begin; read from its list piece by piece."""

    def __init__(self, base: Entry, blobs: Blobs) -> None:
        self._base = base
        self._blobs = blobs
        self._known: set[int] = set()
        self._until = 0

    def before(self, offset: int) -> int:
        """The last cut at or before an offset; of an offset at or behind the end, the start of the
        last chunk, which only the end of the file has cut."""
        offset = min(offset, self._base.size - 1)
        self._until = 0
        self._known.clear()
        [(start, _)] = drive(walk.chunks(self._base, offset, 1), self._blobs)
        return start

    def has(self, offset: int) -> bool:
        """Whether a chunk begins at an offset."""
        if offset >= self._until:
            pieces = drive(walk.chunks(self._base, offset, 4 << 20), self._blobs)
            self._known = {start for start, _ in pieces}
            self._until = offset + (4 << 20)
        return offset in self._known
