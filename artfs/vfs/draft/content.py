"""The bytes of a draft's files: layers of what was written, over what the base has.

A write goes into the topmost layer, at the same offset of a sparse file; a read takes each byte
from the topmost layer that has it, else from the base, else it is zero. So nothing of a base is
copied or fetched before it is read. Each epoch has a layer of its own: what a commit reads is not
written any more.

Changes are made without waiting in between. That no two of them meet in one file is the kernel's
work (it holds the inode's lock during write and truncate), but for the parts of one write. Event
loop only.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

import msgspec

from artfs.aio.fetch import DamagedBlob, Fetcher
from artfs.aio.references import ReferenceReads
from artfs.format import walk
from artfs.types import Entry, Kind, path_shown
from artfs.vfs.draft.codec import EVERYTHING, PARTIAL, Inode, Layer
from artfs.vfs.draft.datafiles import DataFiles, LayerFile
from artfs.vfs.draft.garbage import Garbage
from artfs.vfs.draft.inodes import Inodes
from artfs.vfs.draft.intervals import Intervals, Range
from artfs.vfs.draft.journal import Journal
from artfs.vfs.draft.numbers import FIRST_BASE
from artfs.vfs.draft.threads import disk_errors, in_thread

log = logging.getLogger(__name__)

#: Longer reads go to a thread; shorter ones take less time than starting one.
_INLINE = 64 << 10


class WritePace:
    """Whether a write may be made in the event loop, or is one for a thread.

    A thread takes 0.2 ms there and back, as long as writing half a megabyte to the page cache. But
    when the kernel finds that too much of it is yet to be written to the disk, it lets writers
    wait; then long writes are left to threads for a while.
    """

    _LONG = 64 << 10
    _SLOW = 0.005
    #: Long writes until the event loop is tried again.
    _AVOIDED = 64

    def __init__(self) -> None:
        self._avoided = 0

    def is_inline(self, size: int) -> bool:
        """Whether the next write is made in the event loop."""
        if size > self._LONG and self._avoided:
            self._avoided -= 1
            return False
        return True

    def took(self, seconds: float) -> None:
        """How long a write in the event loop has taken."""
        if seconds > self._SLOW:
            self._avoided = self._AVOIDED


class Promises:
    """Of which inodes content may have been promised to outlive a reset of the machine."""

    #: More numbers are not remembered, but all taken for promised.
    _KEPT = 1 << 16

    def __init__(self, journal: Journal) -> None:
        # What was promised before this daemon began is not known.
        self._was_there = journal.ask("SELECT 1 FROM inodes LIMIT 1").fetchone() is not None
        (self._new,) = journal.ask("SELECT value FROM counters WHERE name = 'ino'").fetchone()
        self._all = False
        self._inodes: set[int] = set()

    def add(self, ino: int) -> None:
        """The content of an inode has been synced."""
        self._inodes.add(ino)
        if len(self._inodes) > self._KEPT:
            self._inodes.clear()
            self._all = True

    def has(self, ino: int) -> bool:
        """Whether an inode's content has been, or may have been."""
        is_older = self._was_there and not self._new <= ino < FIRST_BASE
        return self._all or is_older or ino in self._inodes


class Piece(msgspec.Struct):
    """A range of a file and where it comes from: a layer's epoch, BASE or ZEROS."""

    start: int
    end: int
    source: int


BASE, ZEROS = -1, -2


def plan(inode: Inode, start: int, end: int, written: Mapping[int, Sequence[Range]]) -> list[Piece]:
    """Where bytes [start, end) of a file come from, in file order. Pure.

    `written`: by epoch, the ranges of the layers that do not cover everything.
    """
    missing = Intervals([(start, end)])
    pieces: list[Piece] = []
    for layer in reversed(inode.layers):
        ranges = [(0, layer.limit)] if layer.limit >= 0 else written.get(layer.epoch, ())
        for low, high in ranges:
            found = missing.within(low, high)
            pieces += [Piece(s, e, layer.epoch) for s, e in found]
            for s, e in found:
                missing.remove(s, e)
    base_len = inode.base_len if inode.lower is not None else 0
    pieces += [Piece(s, e, BASE) for s, e in missing.within(0, base_len)]
    missing.remove(0, base_len)
    pieces += [Piece(s, e, ZEROS) for s, e in missing]
    return sorted(pieces, key=lambda piece: piece.start)


class Contents:
    """Reading and changing file content."""

    def __init__(
        self, journal: Journal, inodes: Inodes, data: DataFiles, fetch: Fetcher, garbage: Garbage,
        references: ReferenceReads, path_of: Callable[[Inode], Awaitable[bytes]],
    ) -> None:  # fmt: skip
        self._journal = journal
        self._inodes = inodes
        self._data = data
        self._fetch = fetch
        self._garbage = garbage
        self.references = references
        self._path_of = path_of
        self.pace = WritePace()
        #: While a commit is under way: the least size that files shrunk since it began have had.
        self.floors: dict[int, int] | None = None
        #: Ends of the writes that threads are making, by inode.
        self._under_way: dict[int, list[int]] = {}
        self._shrunk: list[Inode] = []
        self._promised = Promises(journal)

    # Reading

    async def read(self, inode: Inode, offset: int, size: int) -> bytes:
        """The bytes [offset, offset+size) as far as the file goes."""
        if inode.refers and inode.size == 0 and inode.lower is not None:
            # Nobody knows how long it is.
            return await self.references.read(inode.ino, inode.lower, offset, size)
        end = min(offset + size, inode.size)
        if offset >= end:
            return b""
        if len(inode.layers) == 1 and inode.layers[0].limit == EVERYTHING:
            return await self._from_layer(inode, inode.layers[0].epoch, offset, end)
        written = {
            layer.epoch: self._journal.extents(inode.ino, layer.epoch, offset, end)
            for layer in inode.layers
            if layer.limit == PARTIAL
        }
        # Neither truncation nor a commit changes what this read returns once it is planned.
        lower = inode.lower
        pieces = plan(inode, offset, end, written)
        files = {
            p.source: self._data.get(inode.ino, p.source, end) for p in pieces if p.source >= 0
        }
        with self._garbage.kept(inode.ino):
            try:
                return b"".join([await self._piece(p, inode.ino, lower, files) for p in pieces])
            except DamagedBlob as error:
                await self._blame(inode, error)
                raise

    async def _blame(self, inode: Inode, error: DamagedBlob) -> None:
        """Say in the log which file a damaged blob of the base is part of."""
        path = path_shown(await self._path_of(inode))
        log.error("%s: %s", path or f"inode {inode.ino}", error)
        error.is_logged = True

    async def _from_layer(self, inode: Inode, epoch: int, offset: int, end: int) -> bytes:
        with disk_errors("read"):
            file = self._data.get(inode.ino, epoch, end)
            if end - offset <= _INLINE:
                return file.read(offset, end - offset)
            with self._garbage.kept(inode.ino):
                return await in_thread(file.read, offset, end - offset)

    async def _piece(
        self, p: Piece, ino: int, lower: Entry | None, files: dict[int, LayerFile]
    ) -> bytes:
        if p.source == ZEROS:
            return bytes(p.end - p.start)
        if p.source == BASE:
            assert lower is not None
            return await self._from_base(ino, lower, p.start, p.end)
        with disk_errors("read"):
            return await _read(files[p.source], p.start, p.end - p.start)

    async def _from_base(self, ino: int, lower: Entry, start: int, end: int) -> bytes:
        if lower.kind == Kind.REFERENCE:
            return await self.references.read(ino, lower, start, end - start)
        pieces = await self._fetch.drive(walk.chunks(lower, start, end - start))
        for _, ref in pieces:
            self._fetch.walked(ref)
        data = await self._fetch.joined([ref for _, ref in pieces])
        first = pieces[0][0]
        return bytes(data[start - first : end - first])

    # Writing

    async def write(self, inode: Inode, offset: int, data: bytes, *, inline: bool) -> None:
        """Write, `inline` or in a thread. The caller has marked the inode, and keeps commits from
        beginning meanwhile unless `inline`."""
        with disk_errors("write"):
            end = offset + len(data)
            file = self._data.get(inode.ino, self._journal.epoch, end, new=True)
            layer = self._writable(inode)
            if offset > inode.size and layer.limit == EVERYTHING:
                # What a killed daemon had written there, and nobody closed, must not come back.
                self._cut(inode, layer)
            if inline:
                start = time.monotonic()
                file.write(offset, data)
                self.pace.took(time.monotonic() - start)
            else:
                with self._writing(inode, end):
                    await in_thread(file.write, offset, data)
        if layer.limit == PARTIAL:
            self._journal.add_extent(inode.ino, layer.epoch, offset, end)
        inode.size = max(inode.size, end)
        self._inodes.touch(inode)

    @contextlib.contextmanager
    def _writing(self, inode: Inode, end: int) -> Iterator[None]:
        ends = self._under_way.setdefault(inode.ino, [])
        ends.append(end)
        try:
            yield
        finally:
            ends.remove(end)
            if not ends:
                del self._under_way[inode.ino]

    def is_being_written(self, inode: Inode) -> bool:
        """Whether threads are writing to a file."""
        return inode.ino in self._under_way

    def _cut(self, inode: Inode, layer: Layer) -> None:
        """Remove what a layer has behind the file, which may be growing: the kernel sends the parts
        of a long O_DIRECT write at once."""
        end = max([inode.size, *self._under_way.get(inode.ino, ())])
        self._data.cut(inode.ino, layer.epoch, end)

    def _writable(self, inode: Inode) -> Layer:
        """The layer of this epoch."""
        top = inode.layers[-1] if inode.layers else None
        if top is not None and top.epoch == self._journal.epoch:
            return top
        if top is not None:
            top.limit = min(top.limit, inode.size)
        if top is None and inode.base_len == 0:
            inode.lower = None
            layer = Layer(self._journal.epoch, EVERYTHING)
        else:
            layer = Layer(self._journal.epoch, PARTIAL)
        inode.layers.append(layer)
        self._inodes.touch(inode)
        return layer

    def cuts_promised(self, inode: Inode, size: int) -> bool:
        """Whether to set a length lets bytes be written over that a reset must not take, while it
        can still bring back the length that has them."""
        top = inode.layers[-1] if inode.layers else None
        is_mine = top is not None and top.epoch == self._journal.epoch
        return is_mine and size < inode.size and self._promised.has(inode.ino)

    def truncate(self, inode: Inode, size: int) -> None:
        """Set a file's length. The caller has marked the inode."""
        with disk_errors("truncate"):
            if size == 0:
                self._empty(inode)
            elif size < inode.size:
                self._shrink(inode, size)
            elif inode.layers and inode.layers[-1].limit == EVERYTHING:
                self._cut(inode, inode.layers[-1])
        inode.size = size
        self._inodes.touch(inode)

    def _note_floor(self, inode: Inode, size: int) -> None:
        if self.floors is not None:
            self.floors[inode.ino] = min(self.floors.get(inode.ino, inode.size), size)

    def _empty(self, inode: Inode) -> None:
        self._note_floor(inode, 0)
        inode.lower, inode.base_len = None, 0
        top = inode.layers[-1] if inode.layers else None
        if top is None or top.epoch != self._journal.epoch:
            self.discard(inode, inode.layers)
            inode.layers = []
            return
        self.discard(inode, inode.layers[:-1])
        self._shrunk.append(inode)
        if top.limit == PARTIAL:
            self._garbage.drop_extents(inode.ino, top.epoch)
        inode.layers = [Layer(top.epoch, EVERYTHING)]

    def discard(self, inode: Inode, layers: Sequence[Layer]) -> None:
        """Layers of a file are not needed any more."""
        for layer in layers:
            self._data.close(inode.ino, layer.epoch)
            if layer.limit == PARTIAL:
                self._garbage.drop_extents(inode.ino, layer.epoch)
            self._garbage.add(inode.ino, layer.epoch, inode.size)

    def _shrink(self, inode: Inode, size: int) -> None:
        self._note_floor(inode, size)
        inode.base_len = min(inode.base_len, size)
        for layer in inode.layers:
            mine = layer.epoch == self._journal.epoch
            if mine:
                self._shrunk.append(inode)
            if layer.limit == PARTIAL:
                self._journal.trim_extents(inode.ino, layer.epoch, size)
            elif not mine:
                # A commit may be reading the file: only hide what is behind.
                layer.limit = min(layer.limit, size)

    def cut_shrunk(self) -> None:
        """Give the disk back what is behind the new ends of files.

        Not before the journal with these ends is committed: a kill until then brings back the old
        ones, and with them what is between.
        """
        for inode in self._shrunk:
            top = inode.layers[-1] if inode.layers else None
            # What stays for some reason is never seen: a file that grows is cut first.
            if top is not None and top.epoch == self._journal.epoch:
                with contextlib.suppress(OSError):
                    self._cut(inode, top)
        self._shrunk.clear()

    def take_shrunk(self) -> list[Inode]:
        """What `cut_shrunk` is not to do yet; `add_shrunk` gives it back."""
        shrunk, self._shrunk = self._shrunk, []
        return shrunk

    def add_shrunk(self, shrunk: list[Inode]) -> None:
        """See `take_shrunk`."""
        self._shrunk += shrunk

    def blocks(self, inode: Inode) -> int:
        """`st_blocks`: what is on this disk of a file that the draft has all of, so that a sparse
        file shows as one; else as if all were."""
        whole = (inode.size + 511) >> 9
        if not inode.is_file or inode.base_len:
            return whole
        if not inode.layers:
            return 0
        held = sum(self._data.blocks(inode.ino, layer.epoch, inode.size) for layer in inode.layers)
        return min(held, whole + 8)

    # Durability

    async def sync(self, inode: Inode) -> None:
        """Make a file's bytes durable; its size and ranges are the journal's."""
        epochs = [layer.epoch for layer in inode.layers]
        files = [self._data.get(inode.ino, epoch, inode.size) for epoch in epochs]

        def run() -> None:
            for file in files:
                file.sync()
            self._data.sync_directory()

        with disk_errors("fsync"):
            try:
                await in_thread(run)
            except OSError:
                self._data.sync_failed(inode.ino, epochs)
                raise
            self._data.check_synced(inode.ino, epochs)
        self._promised.add(inode.ino)


async def _read(file: LayerFile, offset: int, size: int) -> bytes:
    if size > _INLINE:
        return await in_thread(file.read, offset, size)
    return file.read(offset, size)
