"""Driving a draft without a mount: paths instead of inodes, and whole trees as dictionaries."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from artfs.aio.fetch import Fetcher
from artfs.errors import Unreachable
from artfs.format import digest as digests
from artfs.format.record import VersionRecord
from artfs.repo import editing, reading
from artfs.repo.chunking import store_file
from artfs.repo.commit import commit
from artfs.repo.packing import PackWriter
from artfs.repo.repository import Repository
from artfs.store.base import Store
from artfs.store.memory import MemoryStore
from artfs.types import ArtifactKey, Entry, Kind
from artfs.vfs.draft.state import Draft, create_draft, open_draft
from artfs.vfs.draft.tree import DraftTree
from artfs.vfs.errors import NoEntry
from artfs.vfs.tree import ROOT, Attrs, Caller, Change, DirEntry

KEY = ArtifactKey("default", "default", "data")
ME = Caller(uid=1000, gid=1000, pid=1, umask=0)
READ, WRITE = 0, 2


class Node(msgspec.Struct):
    """A path of a tree: `kind` is 'f', 'd', 'l' or 'p'."""

    kind: str
    data: bytes = b""
    mode: int = 0o644


Listing = dict[bytes, Node]


def repository_in(directory: Path, store: Store | None = None) -> Repository:
    return Repository(store or MemoryStore(), "test", directory / "cache")


def store_tree(tree: Listing, writer: PackWriter, prefix: bytes = b"", name: bytes = b"") -> Entry:
    """Store a tree from nothing, path by path: what every commit must come to."""
    entries = []
    for path in sorted(p for p in tree if p.rpartition(b"/")[0] == prefix.rstrip(b"/")):
        node, own = tree[path], path.rpartition(b"/")[2]
        if node.kind == "d":
            entries.append(store_tree(tree, writer, path + b"/", own))
        elif node.kind == "l":
            digest = digests.of_link(node.data)
            entries.append(Entry(own, Kind.SYMLINK, 0o777, 0, 0, 0, digest, target=node.data))
        elif node.kind == "f":
            data = node.data
            root = store_file(reader(data), len(data), writer)
            place = root.digest, root.blob, root.height
            entries.append(Entry(own, Kind.FILE, node.mode, 0, root.size, 0, *place))
    return editing.new_directory(name, 0o755, 0, entries, writer)


def reader(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: data[offset : offset + length]


def digest_of(tree: Listing, repository: Repository) -> bytes:
    with PackWriter(repository) as writer:
        return store_tree(tree, writer).digest


def make_version(repository: Repository, tree: Listing, base: int = -1) -> VersionRecord:
    with PackWriter(repository) as writer:
        root = store_tree(tree, writer)
        return commit(
            repository, KEY, root, writer, commit_id=root.digest.hex() + str(base), base=base
        ).record


def version_tree(repository: Repository, number: int) -> Listing:
    """What a version holds."""
    found: Listing = {}
    root = repository.root(repository.catalog.version(KEY, number))
    for path, entry in reading.entries(root, repository.blobs):
        if entry.is_dir:
            found[path] = Node("d", mode=entry.mode)
        elif entry.kind == Kind.SYMLINK:
            found[path] = Node("l", entry.target, 0o777)
        else:
            data = b"".join(reading.content(entry, repository.blobs))
            found[path] = Node("f", data, entry.mode)
    return found


class Fs:
    """System calls on a draft, by path."""

    def __init__(self, tree: DraftTree) -> None:
        self.tree = tree

    async def ino(self, path: bytes) -> int:
        ino = ROOT
        for name in filter(None, path.split(b"/")):
            ino = (await self.tree.lookup(ino, name)).ino
        return ino

    async def place(self, path: bytes) -> tuple[int, bytes]:
        parent, _, name = path.rpartition(b"/")
        return await self.ino(parent), name

    async def stat(self, path: bytes) -> Attrs:
        return await self.tree.getattr(await self.ino(path))

    async def exists(self, path: bytes) -> bool:
        try:
            await self.ino(path)
        except NoEntry:
            return False
        return True

    async def create(self, path: bytes, mode: int = 0o644, caller: Caller = ME) -> int:
        _, opened = await self.tree.create(*await self.place(path), mode, WRITE, caller)
        return opened.handle

    async def open(self, path: bytes, flags: int = WRITE) -> int:
        return (await self.tree.open(await self.ino(path), flags, ME)).handle

    async def close(self, handle: int) -> None:
        await self.tree.release(handle)

    async def put(self, path: bytes, data: bytes, mode: int = 0o644) -> None:
        """Make a file, or replace what is in it."""
        if await self.exists(path):
            await self.truncate(path, 0)
            handle = await self.open(path)
        else:
            handle = await self.create(path, mode)
        await self.tree.write(handle, 0, data)
        await self.close(handle)

    async def pwrite(self, path: bytes, offset: int, data: bytes) -> None:
        handle = await self.open(path)
        await self.tree.write(handle, offset, data)
        await self.close(handle)

    async def unanswered(self, path: bytes, offset: int, data: bytes) -> None:
        """Write as far as a daemon comes that is killed before the journal has it."""
        inode = await self.tree._inodes.get(await self.ino(path))
        await self.tree._put(inode, offset, data, inline=True)

    async def read(self, path: bytes, offset: int = 0, size: int = 1 << 30) -> bytes:
        handle = await self.open(path, READ)
        try:
            return await self.tree.read(handle, offset, size)
        finally:
            await self.close(handle)

    async def truncate(self, path: bytes, size: int) -> None:
        await self.tree.setattr(await self.ino(path), Change(size=size), None)

    async def chmod(self, path: bytes, mode: int) -> None:
        await self.tree.setattr(await self.ino(path), Change(mode=mode), None)

    async def mkdir(self, path: bytes, mode: int = 0o755) -> None:
        await self.tree.mkdir(*await self.place(path), mode, ME)

    async def symlink(self, target: bytes, path: bytes) -> None:
        await self.tree.symlink(*await self.place(path), target, ME)

    async def link(self, old: bytes, new: bytes) -> None:
        await self.tree.link(await self.ino(old), *await self.place(new))

    async def mknod(self, path: bytes, mode: int) -> None:
        await self.tree.mknod(*await self.place(path), mode, 0, ME)

    async def unlink(self, path: bytes) -> None:
        await self.gone(path, self.tree.unlink)

    async def rmdir(self, path: bytes) -> None:
        await self.gone(path, self.tree.rmdir)

    async def gone(
        self, path: bytes, remove: Callable[[int, bytes, Caller], Awaitable[None]]
    ) -> None:
        parent, name = await self.place(path)
        ino = (await self.tree.lookup(parent, name)).ino
        await remove(parent, name, ME)
        self.forget([ino])

    def forget(self, inodes: Iterable[int]) -> None:
        """As the kernel does when nobody has an inode open any more."""
        self.tree.forget([(ino, 1) for ino in inodes])

    async def rename(self, old: bytes, new: bytes, flags: int = 0) -> None:
        target = await self.ino(new) if await self.exists(new) else None
        await self.tree.rename(*await self.place(old), *await self.place(new), flags)
        if target is not None and not flags:
            self.forget([target])

    async def list(self, path: bytes, page: int = 1000) -> list[DirEntry]:
        """A listing, taking `page` entries at most of each answer, as the kernel does."""
        handle = await self.tree.opendir(await self.ino(path), ME)
        found: list[DirEntry] = []
        while got := await self.tree.readdir(handle, found[-1].position if found else 0):
            found += got[:page]
        await self.tree.releasedir(handle)
        return found

    async def walk(self, path: bytes = b"") -> Listing:
        """The whole tree, read through every operation that reads."""
        found: Listing = {}
        for entry in await self.list(path):
            child = path + entry.name
            assert await self.tree.getattr(entry.attrs.ino) == entry.attrs
            assert await self.tree.lookup(await self.ino(path), entry.name) == entry.attrs
            mode = stat.S_IMODE(entry.attrs.mode)
            if stat.S_ISDIR(entry.attrs.mode):
                found[child] = Node("d", mode=mode)
                found |= await self.walk(child + b"/")
            elif stat.S_ISLNK(entry.attrs.mode):
                found[child] = Node("l", await self.tree.readlink(entry.attrs.ino), mode)
            elif stat.S_ISREG(entry.attrs.mode):
                data = await self.read(child)
                assert len(data) == entry.attrs.size
                found[child] = Node("f", data, mode)
            else:
                found[child] = Node("p", mode=mode)
        return found


def mount(draft: Draft, **options: Any) -> Fs:  # noqa: ANN401  # as DraftTree takes them
    fetcher = Fetcher(draft.repository.blobs)
    return Fs(DraftTree(draft, fetcher, ME.uid, ME.gid, **options))


@asynccontextmanager
async def drafted(
    directory: Path, repository: Repository, base: VersionRecord | None = None
) -> AsyncIterator[Fs]:
    fs = mount(create_draft(directory, repository, KEY, base))
    yield fs
    await fs.tree.close()


def lose(*args: Any, **options: Any) -> None:  # noqa: ANN401  # as `commit`
    """`artfs.repo.commit.commit` whose answer is lost."""
    commit(*args, **options)
    raise Unreachable("store", "the answer was lost")


def killed(fs: Fs, directory: Path) -> Fs:
    """The draft as it is found after the daemon was killed with SIGKILL."""
    draft = fs.tree.draft
    draft.abandon()
    fs.tree._data.close_all()  # as the kernel would
    return mount(open_draft(directory, draft.record.id, draft.repository))
