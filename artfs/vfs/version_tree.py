"""Committed versions as a filesystem: everything below a version's root, and a mount of just one.

An inode number is `slot << 40 | ordinal`: the slot says which version, the ordinal which of its
paths (see `artfs.format.walk`). So there is no table of inodes: one that is not remembered is found
again by walking down to its ordinal, and memory does not grow with the files visited.
A handle is the inode number too, as all handles of a file or of a directory are alike.

Belongs to the event loop. What is between two awaits is atomic.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from artfs.aio.fetch import DamagedBlob, Fetcher
from artfs.aio.generations import Generations
from artfs.aio.references import ReferenceReads
from artfs.errors import ArtfsError, Damaged, ObjectNotFound, SourceChanged, Unsupported
from artfs.format import walk
from artfs.types import ArtifactKey, Entry, Kind, path_shown
from artfs.vfs import xattrs
from artfs.vfs.attributes import Owner, attrs_of
from artfs.vfs.errors import (
    InvalidArgument,
    IsADirectory,
    NameTooLong,
    NoEntry,
    NotADirectory,
    ReadOnly,
)
from artfs.vfs.preloads import Preloads
from artfs.vfs.readonly import ReadOnlyTree
from artfs.vfs.remembering import Remembering, Version
from artfs.vfs.tree import ROOT, Attrs, Caller, DirEntry, FsStats, Opened

log = logging.getLogger(__name__)

SLOT_BITS = 40
_ORDINAL = (1 << SLOT_BITS) - 1
_NAME_MAX = 255
#: Entries remembered: some 30 MB. More than a directory walk has between listing and opening.
_ENTRIES = 1 << 16
#: Entries of listings that are remembered: some 30 MB.
_PAGED = 1 << 16
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND | os.O_CREAT
_BLOCK = 4096


class VersionTree(ReadOnlyTree):
    """The paths of all versions that were attached; `pin` makes one of them the mount's root."""

    def __init__(
        self,
        fetcher: Fetcher,
        catalog: Remembering,
        owner: Owner,
        references: ReferenceReads,
    ) -> None:
        self._fetcher = fetcher
        self._references = references
        self._catalog = catalog
        self._owner = owner
        self._slots: dict[tuple[ArtifactKey, int], int] = {}
        self._attached: list[tuple[ArtifactKey, int]] = []
        self._versions: dict[int, Version] = {}
        self._pinned = 0
        self._entries: Generations[int, Entry] = Generations(_ENTRIES)
        self._preloads = Preloads(fetcher, self._entries.get)
        self._pages: Generations[tuple[int, int], list[DirEntry]]
        self._pages = Generations(_PAGED, lambda page: 1 + len(page))

    def attach(self, key: ArtifactKey, number: int) -> int:
        """The inode of a version's root directory, the same as long as the mount lives.

        The version is read when something below its root is asked for.
        """
        slot = self._slots.get((key, number))
        if slot is None:
            self._attached.append((key, number))
            slot = self._slots[key, number] = len(self._attached)
        return slot << SLOT_BITS

    def pin(self, version: Version) -> None:
        """Show a version at the root of the mount."""
        self._pinned = self.attach(version.key, version.number) >> SLOT_BITS
        self._versions[self._pinned] = version

    def _place(self, ino: int) -> tuple[int, int]:
        """(slot, ordinal) of an inode."""
        return (self._pinned, 0) if ino == ROOT else (ino >> SLOT_BITS, ino & _ORDINAL)

    async def _version(self, ino: int) -> Version:
        slot, _ = self._place(ino)
        version = self._versions.get(slot)
        if version is None:
            if not 0 < slot <= len(self._attached):
                raise NoEntry(f"inode {ino}")
            key, number = self._attached[slot - 1]
            version = self._versions[slot] = await self._catalog.version(key, number)
        return version

    async def _entry(self, ino: int) -> Entry:
        entry = self._entries.get(ino)
        if entry is None:
            entry = (await self._way(ino))[-1]
            self._entries.put(ino, entry)
        return entry

    async def _way(self, ino: int) -> list[Entry]:
        version, (_, ordinal) = await self._version(ino), self._place(ino)
        try:
            way = await self._fetcher.drive(walk.at(version.root, ordinal))
        except IndexError:
            raise NoEntry(f"inode {ino}") from None
        except DamagedBlob as error:
            log.error("%s, path %d: %s", version, ordinal, error)
            error.is_logged = True
            raise
        return [entry for _, entry in way]

    async def _path(self, ino: int) -> str:
        """Version and path of an inode, for the log."""
        way = await self._way(ino)
        path = path_shown(b"/".join(entry.name for entry in way[1:]))
        return f"{await self._version(ino)}/{path}"

    async def _blame(self, ino: int, error: DamagedBlob) -> None:
        """Say in the log which file a damaged blob is part of."""
        log.error("%s: %s", await self._path(ino), error)
        error.is_logged = True

    async def _tell(self, ino: int, error: ArtfsError) -> None:
        """Say in the log which reference cannot be read, and why."""
        if isinstance(error, Unsupported):
            return  # it will never be otherwise
        lasts = isinstance(error, SourceChanged | Damaged | ObjectNotFound)
        log.log(logging.ERROR if lasts else logging.WARNING, "%s: %s", await self._path(ino), error)

    async def lookup(self, parent: int, name: bytes) -> Attrs:
        if len(name) > _NAME_MAX:
            raise NameTooLong
        directory = await self._entry(parent)
        if not directory.is_dir:
            raise NotADirectory
        slot, ordinal = self._place(parent)
        try:
            found = await self._fetcher.drive(walk.find(directory, ordinal, name))
        except DamagedBlob as error:
            await self._blame(parent, error)
            raise
        if found is None:
            raise NoEntry
        ino = slot << SLOT_BITS | found[0]
        self._entries.put(ino, found[1])
        return attrs_of(ino, found[1], self._owner)

    async def getattr(self, ino: int) -> Attrs:
        return attrs_of(ino, await self._entry(ino), self._owner)

    def forget(self, inodes: Sequence[tuple[int, int]]) -> None:
        """Inode numbers are computed; only what was preloaded changes."""
        for ino, _ in inodes:
            self._preloads.forgotten(ino)

    async def readlink(self, ino: int) -> bytes:
        entry = await self._entry(ino)
        if entry.kind != Kind.SYMLINK:
            raise InvalidArgument
        return entry.target

    async def open(self, ino: int, flags: int, caller: Caller) -> Opened:
        if flags & _WRITE_FLAGS:
            raise ReadOnly
        entry = self._entries.get(ino) or await self._entry(ino)
        if entry.kind == Kind.REFERENCE:
            return await self._open_reference(ino, entry)
        if entry.kind != Kind.FILE:
            raise IsADirectory
        return Opened(ino, True, await self._preloads.opened(ino, entry))

    async def _open_reference(self, ino: int, entry: Entry) -> Opened:
        try:
            file = await self._references.opened(ino, entry)
        except ArtfsError as error:
            await self._tell(ino, error)
            raise
        await self._preloads.opened(ino, entry)  # which counts what is open
        return Opened(ino, file.verified, direct_io=not file.sized)

    async def release(self, handle: int) -> None:
        self._preloads.released(handle)

    def preload_next(self) -> tuple[int, bytes] | None:
        return self._preloads.next()

    def preloaded(self, ino: int) -> None:
        self._preloads.given(ino)

    async def read(self, handle: int, offset: int, size: int) -> bytes | memoryview:
        entry = await self._entry(handle)
        if entry.kind == Kind.REFERENCE:
            return await self._read_reference(handle, entry, offset, size)
        try:
            if entry.height or entry.blob is None:
                return await self._read_pieces(entry, offset, size)
            return (await self._fetcher.chunk(entry.blob))[offset : offset + size]
        except DamagedBlob as error:
            await self._blame(handle, error)
            raise

    async def _read_reference(self, ino: int, entry: Entry, offset: int, size: int) -> bytes:
        try:
            return await self._references.read(ino, entry, offset, size)
        except ArtfsError as error:
            await self._tell(ino, error)
            raise

    async def _read_pieces(self, entry: Entry, offset: int, size: int) -> bytes | memoryview:
        data: bytes | memoryview | None = await self._fetcher.read_ahead(entry, offset, size)
        if data is not None:
            return data
        pieces = await self._fetcher.drive(walk.chunks(entry, offset, size))
        if not pieces:
            return b""
        self._fetcher.reading(entry, offset, [ref for _, ref in pieces])
        begin = offset - pieces[0][0]
        data = await self._fetcher.joined([ref for _, ref in pieces])
        # A view: at 1 GB/s every copy counts.
        return memoryview(data)[begin : begin + size]

    async def opendir(self, ino: int, caller: Caller) -> int:
        if not (await self._entry(ino)).is_dir:
            raise NotADirectory
        return ino

    async def readdir(self, handle: int, position: int) -> list[DirEntry]:
        """A position is the ordinal of the entry before it: good for any handle, at any time."""
        page = self._pages.get((handle, position))
        if page is None:
            page = await self._page(handle, position)
            self._pages.put((handle, position), page)
        return page

    async def _page(self, ino: int, position: int) -> list[DirEntry]:
        directory = await self._entry(ino)
        slot, ordinal = self._place(ino)
        try:
            found = await self._fetcher.drive(walk.page(directory, ordinal, max(position, ordinal)))
        except DamagedBlob as error:
            await self._blame(ino, error)
            raise
        page, base = [], slot << SLOT_BITS
        for number, entry in found:
            self._entries.put(base | number, entry)
            attrs = attrs_of(base | number, entry, self._owner)
            page.append(DirEntry(entry.name, attrs, number))
        return page

    async def releasedir(self, handle: int) -> None:
        """Nothing to do: a directory's handle is its inode number, too."""

    async def statfs(self) -> FsStats:
        root = (await self._version(ROOT)).root
        return stats(root.size, root.count + 1)

    async def getxattr(self, ino: int, name: bytes) -> bytes:
        entry, version = await self._entry(ino), await self._version(ino)
        return await xattrs.get(entry, version, self._catalog, name)

    async def listxattr(self, ino: int) -> list[bytes]:
        return xattrs.names(await self._entry(ino))


def stats(size: int, files: int) -> FsStats:
    """A full filesystem of `size` bytes: versions do not grow."""
    return FsStats(_BLOCK, -(-size // _BLOCK), 0, files, 0)
