"""Nodes and chunks for the event loop: at once where they are at hand, else from a thread.

Belongs to the event loop; threads run `artfs.repo.Blobs` and nothing of this module's state. All
that it returns has been checked against its digest. Every wait ends: after `patience` seconds with
`Unreachable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import trio

from artfs.aio.generations import Generations
from artfs.aio.readahead import ReadAhead
from artfs.aio.threads import Hints, run_retrying
from artfs.errors import ArtfsError, Damaged, ObjectNotFound
from artfs.format import blob, keys
from artfs.format.build import Steps
from artfs.format.node import Node
from artfs.repo.blobs import Blobs
from artfs.types import BlobRef

T = TypeVar("T")

#: Chunks are kept a moment: the kernel asks for pieces that begin and end inside a chunk.
_RECENT_BYTES = 32 << 20


class DamagedBlob(Damaged):
    """A blob whose bytes in a pack are not what they must be, or are gone."""

    def __init__(self, ref: BlobRef, why: str) -> None:
        super().__init__(f"blob {ref.digest.hex()} in {keys.pack(ref.pack)}", why)
        self.ref = ref


class _Flight:
    """A chunk that is being read; whoever else wants it waits for `done`."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.data: bytes | None = None
        self.failure: ArtfsError | None = None


class Fetcher:
    """Reads one store's blobs for a mount."""

    def __init__(self, blobs: Blobs, patience: float = 60.0) -> None:
        self._blobs = blobs
        self._patience = patience
        self._recent: Generations[bytes, bytes] = Generations(_RECENT_BYTES)
        self._flights: dict[bytes, _Flight] = {}
        self._hints = Hints()
        self._ahead = ReadAhead(self._prefetch)

    async def drive(self, steps: Steps[T]) -> T:
        """Run a traversal to its end, fetching each node it asks for.

        Raises `DamagedBlob`, `Unreachable`.
        """
        try:
            ref = next(steps)
            while True:
                ref = steps.send(self._node_at_hand(ref) or await self._node(ref))
        except StopIteration as end:
            result: T = end.value
            return result

    def _node_at_hand(self, ref: BlobRef) -> Node | None:
        try:
            return self._blobs.node_cached(ref)
        except Damaged as error:
            raise DamagedBlob(ref, error.why) from error

    async def _node(self, ref: BlobRef) -> Node:
        try:
            return await run_retrying(self._patience, "manifest", self._blobs.node, ref)
        except (Damaged, ObjectNotFound) as error:
            raise DamagedBlob(ref, error.why) from error

    def at_hand(self, ref: BlobRef) -> bytes | None:
        """A chunk's bytes if they can be had without waiting. Raises `DamagedBlob`."""
        try:
            return self._recent.get(ref.digest) or self._blobs.read_cached(ref)
        except Damaged as error:
            raise DamagedBlob(ref, error.why) from error

    async def chunk(self, ref: BlobRef, *, keep: bool = True) -> bytes:
        """A chunk's bytes; `keep` them for a moment if they will be asked for again.

        Raises `DamagedBlob`, `Unreachable`.
        """
        recent = self._recent.get(ref.digest)
        if recent is not None:
            return recent
        data = self.at_hand(ref) or await self._fetch(ref)
        if keep:
            self._recent.put(ref.digest, data, len(data))
        return data

    async def _fetch(self, ref: BlobRef) -> bytes:
        while (flight := self._flights.get(ref.digest)) is not None:
            await flight.done.wait()
            if flight.failure is not None:
                raise flight.failure
            if flight.data is not None:
                return flight.data
            # The task that read it was cancelled.
        flight = self._flights[ref.digest] = _Flight()
        try:
            flight.data = await run_retrying(self._patience, "store", self._read, ref)
        except ArtfsError as error:
            flight.failure = error
            raise
        finally:
            del self._flights[ref.digest]
            flight.done.set()
        return flight.data

    def _read(self, ref: BlobRef) -> bytes:
        """Runs in a thread."""
        try:
            return self._blobs.read(ref)
        except (Damaged, ObjectNotFound) as error:
            raise DamagedBlob(ref, error.why) from error

    async def joined(self, refs: Sequence[BlobRef]) -> bytes:
        """The bytes of several chunks, one after the other. Raises `DamagedBlob`, `Unreachable`.

        What the page cache has is read and hashed here, 1 MiB in half a millisecond: in threads it
        takes longer, as they and the event loop wait for each other's turn at the interpreter.
        """
        if len(refs) == 1:
            return await self.chunk(refs[0])
        parts = []
        for ref in refs:
            data = self.at_hand(ref)
            if data is None:
                return await run_retrying(self._patience, "store", self._spans, refs)
            parts.append(data)
        self._recent.put(refs[-1].digest, parts[-1], len(parts[-1]))  # the next read begins in it
        return b"".join(parts)

    def _spans(self, refs: Sequence[BlobRef]) -> bytes:
        """Runs in a thread. Chunks that are neighbours in a pack are read at once, and not put
        together again if they are stored as they are: at 1 GB/s every copy counts."""
        parts: list[bytes] = []
        at = 0
        while at < len(refs):
            stop = at + 1
            while stop < len(refs) and _adjacent(refs[stop - 1], refs[stop]):
                stop += 1
            parts.append(self._span(refs[at:stop]))
            at = stop
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _span(self, refs: Sequence[BlobRef]) -> bytes:
        start, end = refs[0].offset, refs[-1].offset + refs[-1].stored
        parts: list[bytes] = []
        ref = refs[0]
        try:
            data = self._blobs.reader(ref.pack).read(start, end - start)
            if all(ref.stored == ref.size for ref in refs):
                view, at = memoryview(data), 0
                for ref in refs:
                    blob.verify(ref, view[at : at + ref.size])
                    at += ref.size
                return data
            for ref in refs:
                at = ref.offset - start
                parts.append(blob.decode(ref, data[at : at + ref.stored]))
        except (Damaged, ObjectNotFound) as error:
            raise DamagedBlob(ref, error.why) from error
        return b"".join(parts)

    def walked(self, ref: BlobRef, *, whole_file: bool = False) -> None:
        """A chunk is about to be read: read ahead if this goes on along its pack."""
        self._ahead.walked(ref, whole_file=whole_file)

    def _prefetch(self, ref: BlobRef, length: int) -> bool:
        return self._hints.give(self._blobs.prefetch, ref, length)


def _adjacent(one: BlobRef, other: BlobRef) -> bool:
    return one.pack == other.pack and one.offset + one.stored == other.offset
