"""A project as a filesystem: MNT/ARTIFACT/vN/..., and every alias as a relative link to its vN.

Names at these levels appear, move and go away while the mount runs, made by any process; the kernel
and this tree believe each of them for `refresh` / 2 seconds. What is below a version's directory
never changes, and is `VersionTree`'s. Belongs to the event loop.
"""

from __future__ import annotations

import itertools
import stat
import time
from collections.abc import Sequence

from msgspec.structs import replace

from artfs.errors import InvalidValue, NotFound
from artfs.types import ArtifactKey, check_name, parse_version
from artfs.vfs.attributes import DIRECTORY_SIZE, Owner
from artfs.vfs.errors import (
    BadHandle,
    InvalidArgument,
    IsADirectory,
    NoAttribute,
    NoEntry,
    NotADirectory,
)
from artfs.vfs.readonly import ReadOnlyTree
from artfs.vfs.remembering import Remembering
from artfs.vfs.tree import ROOT, Attrs, Caller, DirEntry, FsStats, Opened
from artfs.vfs.version_tree import SLOT_BITS, VersionTree, stats

#: An artifact's directory, or an alias in it.
Place = tuple[ArtifactKey, str | None]
#: What a listing shows: an alias and where it points; without an alias a version; -1 for an
#: artifact's directory.
_Member = tuple[ArtifactKey, str, int]
#: Of these so many are made into entries at once, about what the kernel asks for.
_PAGE = 64


class CatalogTree(ReadOnlyTree):
    """All artifacts of one project."""

    def __init__(
        self,
        versions: VersionTree,
        catalog: Remembering,
        project: tuple[str, str],
        owner: Owner,
        seconds: float,
    ) -> None:
        self._versions = versions
        self._catalog = catalog
        self._entity, self._project = project
        self._owner = owner
        self._seconds = seconds
        self._started_ns = time.time_ns()
        self._inodes: dict[Place, int] = {}
        self._places: dict[int, Place] = {}
        self._listings: dict[int, tuple[int, list[_Member]]] = {}
        # Handles of what is in a version are VersionTree's: inode numbers, with a slot in them.
        self._handles = itertools.count(1)

    def _inode(self, place: Place) -> int:
        ino = self._inodes.get(place)
        if ino is None:
            ino = self._inodes[place] = ROOT + 1 + len(self._inodes)
            self._places[ino] = place
        return ino

    def _place(self, ino: int) -> Place:
        place = self._places.get(ino)
        if place is None:
            raise NoEntry(f"inode {ino}")
        return place

    def _attrs(self, ino: int, kind: int, size: int) -> Attrs:
        time_ns, seconds = self._started_ns, self._seconds
        links = 2 if stat.S_ISDIR(kind) else 1
        return Attrs(
            ino, kind, links, self._owner.uid, self._owner.gid, size, time_ns, time_ns, time_ns,
            entry_timeout=seconds, attr_timeout=seconds,
        )  # fmt: skip

    def _directory(self, ino: int) -> Attrs:
        return self._attrs(ino, stat.S_IFDIR | 0o755, DIRECTORY_SIZE)

    def _link(self, key: ArtifactKey, alias: str, number: int) -> Attrs:
        return self._attrs(self._inode((key, alias)), stat.S_IFLNK | 0o777, len(_target(number)))

    async def lookup(self, parent: int, name: bytes) -> Attrs:
        if parent >> SLOT_BITS:
            return await self._versions.lookup(parent, name)
        try:
            text = name.decode()
            if parent == ROOT:
                return await self._artifact(text)
            key, alias = self._place(parent)
            if alias is not None:
                raise NotADirectory
            return await self._member(key, text)
        except (NotFound, InvalidValue, UnicodeDecodeError) as error:
            raise NoEntry from error

    async def _artifact(self, name: str) -> Attrs:
        key = ArtifactKey(self._entity, self._project, check_name(name))
        await self._catalog.require(key)
        return self._directory(self._inode((key, None)))

    async def _member(self, key: ArtifactKey, name: str) -> Attrs:
        number = parse_version(name)
        if number is None:
            return self._link(key, name, await self._catalog.alias(key, name))
        await self._catalog.record(key, number)  # it may have been deleted
        attrs = await self._versions.getattr(self._versions.attach(key, number))
        return replace(attrs, entry_timeout=self._seconds)

    async def getattr(self, ino: int) -> Attrs:
        if ino >> SLOT_BITS:
            return await self._versions.getattr(ino)
        if ino == ROOT:
            return self._directory(ino)
        key, alias = self._place(ino)
        if alias is None:
            return self._directory(ino)
        return self._link(key, alias, await self._catalog.alias(key, alias))

    def forget(self, inodes: Sequence[tuple[int, int]]) -> None:
        self._versions.forget(inodes)

    async def readlink(self, ino: int) -> bytes:
        if ino >> SLOT_BITS:
            return await self._versions.readlink(ino)
        key, alias = self._place(ino)
        if alias is None:
            raise InvalidArgument
        return _target(await self._catalog.alias(key, alias))

    async def open(self, ino: int, flags: int, caller: Caller) -> Opened:
        if ino >> SLOT_BITS:
            return await self._versions.open(ino, flags, caller)
        raise IsADirectory

    async def read(self, handle: int, offset: int, size: int) -> bytes | memoryview:
        return await self._versions.read(handle, offset, size)

    async def release(self, handle: int) -> None:
        await self._versions.release(handle)

    def preload_next(self) -> tuple[int, bytes] | None:
        return self._versions.preload_next()

    def preloaded(self, ino: int) -> None:
        self._versions.preloaded(ino)

    async def opendir(self, ino: int, caller: Caller) -> int:
        if ino >> SLOT_BITS:
            return await self._versions.opendir(ino, caller)
        handle = next(self._handles)
        self._listings[handle] = (ino, [])
        return handle

    async def readdir(self, handle: int, position: int) -> list[DirEntry]:
        """One reading of a directory shows it as it was when the reading began."""
        if handle >> SLOT_BITS:
            return await self._versions.readdir(handle, position)
        if handle not in self._listings:
            raise BadHandle
        ino, listing = self._listings[handle]
        if position == 0:
            listing = await (self._list_root() if ino == ROOT else self._list_artifact(ino))
            self._listings[handle] = (ino, listing)
        page = listing[position : position + _PAGE]
        return [DirEntry(*self._shown(*one), at) for at, one in enumerate(page, position + 1)]

    async def _list_root(self) -> list[_Member]:
        keys = await self._catalog.artifacts(self._entity, self._project)
        return [(key, "", -1) for key in keys]

    async def _list_artifact(self, ino: int) -> list[_Member]:
        key, _ = self._place(ino)
        contents = await self._catalog.contents(key)
        versions = [(key, "", number) for number in contents.versions]
        return versions + [(key, alias, number) for alias, number in contents.aliases.items()]

    def _shown(self, key: ArtifactKey, alias: str, number: int) -> tuple[bytes, Attrs]:
        if alias:
            return alias.encode(), self._link(key, alias, number)
        if number < 0:
            return key.name.encode(), self._directory(self._inode((key, None)))
        return _target(number), self._unread(key, number)

    def _unread(self, key: ArtifactKey, number: int) -> Attrs:
        """A version's directory before its record is read: the kernel asks again for all but the
        name, and listing an artifact of 100,000 versions reads none of them."""
        return replace(self._directory(self._versions.attach(key, number)), attr_timeout=0.0)

    async def releasedir(self, handle: int) -> None:
        self._listings.pop(handle, None)

    async def statfs(self) -> FsStats:
        return stats(*await self._catalog.totals(self._entity, self._project))

    async def getxattr(self, ino: int, name: bytes) -> bytes:
        if ino >> SLOT_BITS:
            return await self._versions.getxattr(ino, name)
        raise NoAttribute

    async def listxattr(self, ino: int) -> list[bytes]:
        return await self._versions.listxattr(ino) if ino >> SLOT_BITS else []


def _target(number: int) -> bytes:
    return b"v%d" % number
