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
from artfs.aio.streams import Streams
from artfs.aio.threads import Hints, arrived, retrying, run_blocking
from artfs.aio.windows import FILE_MIN, READ_MIN, Windows
from artfs.errors import ArtfsError, Damaged, ObjectNotFound
from artfs.format import keys, walk
from artfs.format.build import Steps
from artfs.format.node import Node
from artfs.repo.blobs import Blobs, neighbours
from artfs.repo.reading import chunks_at, drive
from artfs.types import BlobRef, Entry

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


class Device:
    """Whether the store's device is so fast that waiting for it beats waking a thread up, which
    costs some 0.2 ms there and back. A random 64 KiB of a local NVMe takes 50 us."""

    _PATIENCE = 0.0003
    #: Reads that must be late in a row for it to be called slow, and reads until it is tried again.
    _LATE, _RETRIED = 4, 256

    def __init__(self) -> None:
        self._late = 0

    def patience(self) -> float:
        """Seconds to wait for the next read."""
        if self._late < self._LATE:
            return self._PATIENCE
        self._late += 1
        if self._late >= self._RETRIED:
            self._late = self._LATE - 1
        return 0.0

    def answered(self, in_time: bool) -> None:
        """What came of waiting."""
        self._late = 0 if in_time else self._late + 1


class Fetcher:
    """Reads one store's blobs for a mount."""

    def __init__(self, blobs: Blobs, patience: float = 60.0) -> None:
        self._blobs = blobs
        self.patience = patience
        self._recent: Generations[bytes, bytes] = Generations(_RECENT_BYTES, len)
        self._flights: dict[bytes, _Flight] = {}
        self._hints = Hints()
        self._ahead = ReadAhead(self._prefetch)
        self._streams = Streams(self._prefetch_file)
        self._windows = Windows(self._load, patience)
        self._device = Device()

    async def drive(self, steps: Steps[T]) -> T:
        """Run a traversal to its end, fetching each node it asks for.

        Raises `DamagedBlob`, also where nodes do not fit together; `Unreachable`.
        """
        try:
            ref = next(steps)
            while True:
                node = self._node_at_hand(ref) or await self._node(ref)
                try:
                    ref = steps.send(node)
                except Damaged as error:
                    raise DamagedBlob(ref, error.why) from error
        except StopIteration as end:
            result: T = end.value
            return result

    def _node_at_hand(self, ref: BlobRef) -> Node | None:
        try:
            return self._blobs.node_cached(ref)
        except Damaged as error:
            raise DamagedBlob(ref, error.why) from error

    async def _node(self, ref: BlobRef) -> Node:
        async def attempt() -> Node:
            await self._bring([(ref,)], dense=True)
            return await run_blocking(self._blobs.node, ref)

        try:
            return await retrying(self.patience, "manifest", attempt)
        except (Damaged, ObjectNotFound) as error:
            raise DamagedBlob(ref, error.why) from error

    async def chunk(self, ref: BlobRef, *, keep: bool = True) -> bytes:
        """A chunk's bytes; `keep` them for a moment if they will be asked for again. Otherwise it
        is a whole small file, and those around it are likely to be wanted.

        Raises `DamagedBlob`, `Unreachable`.
        """
        recent = self._recent.get(ref.digest)
        if recent is not None:
            return recent
        patience = self._device.patience()
        data = self.at_hand(ref, patience)
        if patience:
            self._device.answered(data is not None)
        if data is None:
            data = await self._fetch(ref, dense=not keep)
        if keep:
            self._recent.put(ref.digest, data)
        return data

    def at_hand(self, ref: BlobRef, patience: float = 0.0) -> bytes | None:
        """A chunk's bytes if they can be had without waiting, or within `patience` seconds, a
        fraction of a millisecond. Raises `DamagedBlob`."""
        try:
            return self._blobs.read_cached(ref, patience)
        except Damaged as error:
            raise DamagedBlob(ref, error.why) from error

    async def _fetch(self, ref: BlobRef, dense: bool) -> bytes:
        while (flight := self._flights.get(ref.digest)) is not None:
            await flight.done.wait()
            if flight.failure is not None:
                raise flight.failure
            if flight.data is not None:
                return flight.data
            # The task that read it was cancelled.
        flight = self._flights[ref.digest] = _Flight()
        try:
            flight.data = await self._read_patiently(ref, dense)
        except ArtfsError as error:
            flight.failure = error
            raise
        finally:
            del self._flights[ref.digest]
            flight.done.set()
        return flight.data

    async def _read_patiently(self, ref: BlobRef, dense: bool) -> bytes:
        async def attempt() -> bytes:
            if await self._bring([(ref,)], dense=dense) and (data := self.at_hand(ref)) is not None:
                return data
            return await run_blocking(self._read, ref)

        try:
            return await retrying(self.patience, "store", attempt)
        except ObjectNotFound as error:
            raise DamagedBlob(ref, error.why) from error

    async def _bring(self, runs: Sequence[Sequence[BlobRef]], *, dense: bool = False) -> bool:
        """Have blobs of a remote store brought to this machine; no thread waits meanwhile. True if
        they had to be. Raises `ObjectNotFound`, `Unreachable`."""
        if not self._blobs.is_remote:
            return False
        futures = []
        try:
            for run in runs:
                reader = self._blobs.open_reader(run[0].pack)
                if reader is None:
                    reader = await run_blocking(self._blobs.reader, run[0].pack)
                if dense:
                    reader.expect_all()
                future = self._blobs.fetch(run)
                if future is not None:
                    futures.append(future)
            for future in futures:
                await arrived(future)
        finally:
            for future in futures:
                future.cancel()
        return bool(futures)

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
        first = self._recent.get(refs[0].digest)
        runs = list(neighbours(refs if first is None else refs[1:]))
        parts = self._spans_at_hand(runs)
        if parts is None:
            parts = await self._spans_patiently(runs)
        if len(parts[-1]) > refs[-1].size:
            # The next read begins in it.
            self._recent.put(refs[-1].digest, parts[-1][-refs[-1].size :])
        if first is not None:
            parts.insert(0, first)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _spans_at_hand(self, runs: Sequence[Sequence[BlobRef]]) -> list[bytes] | None:
        parts = []
        for run in runs:
            try:
                data = self._blobs.span_cached(run)
            except Damaged:
                return None  # a thread finds out which of them it is
            if data is None:
                return None
            parts.append(data)
        return parts

    async def _spans_patiently(self, runs: Sequence[Sequence[BlobRef]]) -> list[bytes]:
        async def attempt() -> list[bytes]:
            if await self._bring(runs) and (parts := self._spans_at_hand(runs)) is not None:
                return parts
            return await run_blocking(self._spans, runs)

        try:
            return await retrying(self.patience, "store", attempt)
        except ObjectNotFound as error:
            raise DamagedBlob(runs[0][0], error.why) from error

    def _spans(self, runs: Sequence[Sequence[BlobRef]]) -> list[bytes]:
        """Runs in a thread."""
        return [self._span(run) for run in runs]

    def _span(self, run: Sequence[BlobRef]) -> bytes:
        try:
            return self._blobs.span(run)
        except (Damaged, ObjectNotFound):
            return b"".join([self._read(ref) for ref in run])  # says which of them it is

    def walked(self, ref: BlobRef, *, whole_file: bool = False) -> None:
        """A chunk is about to be read: read ahead if this goes on along its pack."""
        self._ahead.walked(ref, whole_file=whole_file)

    async def read_ahead(self, file: Entry, offset: int, size: int) -> bytes | memoryview | None:
        """Bytes [offset, offset+size) of a large file if they have been read ahead, else None; then
        they are to be read otherwise. Raises `Unreachable`."""
        size = min(size, file.size - offset)
        if size < READ_MIN or file.size < FILE_MIN or self._blobs.is_remote:
            return None
        return await self._windows.read(file, offset, size)

    def _load(self, file: Entry, offset: int, size: int) -> memoryview:
        """Runs in a thread. Raises as `Blobs.span`."""
        start, data = chunks_at(file, self._blobs, offset, size)
        return memoryview(data)[offset - start :][:size]

    def reading(self, file: Entry, offset: int, refs: Sequence[BlobRef]) -> None:
        """Chunks of a large file, from `offset` on, are about to be read: read ahead."""
        if self._blobs.is_remote:
            self._streams.read(file, offset, sum(ref.size for ref in refs))
        else:
            for ref in refs:
                self._ahead.walked(ref, whole_file=False)

    def _prefetch(self, ref: BlobRef, length: int) -> bool:
        return self._hints.give(self._blobs.prefetch, ref, length)

    def _prefetch_file(self, file: Entry, start: int, length: int) -> bool:
        return self._hints.give(self._prefetch_chunks, file, start, length)

    def _prefetch_chunks(self, file: Entry, start: int, length: int) -> None:
        """Runs in a thread."""
        refs = [ref for _, ref in drive(walk.chunks(file, start, length), self._blobs)]
        for run in neighbours(refs):
            self._blobs.prefetch(run[0], run[-1].offset + run[-1].stored - run[0].offset)
