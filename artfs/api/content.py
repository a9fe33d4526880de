"""What an artifact that is being made contains.

Files are stored when they are added. What they are called is kept as changes to directories, in
memory, until a tree is made of it. A directory in which nothing was changed is one entry,
whatever it holds: a draft over a huge version costs what was changed in it.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from artfs.api.paths import Path, shown, within_recursion_limit
from artfs.errors import InvalidValue, NoSuchEntry, ObjectNotFound
from artfs.format import walk
from artfs.format.build import StoreNode, unstored
from artfs.repo.editing import edit_to, empty_directory
from artfs.repo.ingest import Ingest
from artfs.repo.packing import PackWriter
from artfs.repo.reading import children, drive
from artfs.repo.repository import Repository
from artfs.types import Entry

T = TypeVar("T")


class _Directory:
    """A stored directory (`base`) and what was changed in it: entries set, removed (None), or
    directories that were changed themselves. `implied`: only there for what is in it."""

    __slots__ = ("base", "changes", "implied")

    def __init__(self, base: Entry, implied: bool = False) -> None:
        self.base = base
        self.implied = implied
        self.changes: dict[bytes, Entry | _Directory | None] = {}


class Content:
    """The content of one artifact, over the tree `base` or over nothing. For one thread at a
    time."""

    def __init__(self, repository: Repository, base: Entry | None = None) -> None:
        self.writer = PackWriter(repository)
        self._repository = repository
        self._blobs = repository.blobs
        self._base = base
        self._root = _Directory(base or empty_directory(mtime_ns=time.time_ns()))
        #: For who uses it: held while it is committed, which is in another thread.
        self.lock = threading.Lock()
        self._preview: Entry | None = None
        #: Gives up what is not finished; also when nobody has this object any more.
        self.close = weakref.finalize(self, _close, self.writer, os.getpid())

    def add_file(self, local: str, path: Path, overwrite: bool = True) -> Entry:
        """Store a file as it is now, in the place of one that has this path.

        Raises `InvalidValue` where the path, or one on the way to it, is something else, and unless
        it is to overwrite it where another file was added so; and what `Ingest.file` raises.
        """
        self._check(path, is_dir=False)
        entry = Ingest(self.writer).file(local, path[-1])
        self.set(path, entry, overwrite)
        return entry

    def write_file(self, path: Path, local: str) -> None:
        """Write what a path has to a local file, if it has a file. Raises `OSError`."""
        entry = self.file(path)
        if entry is not None:
            self.writer.settle()
            with open(local, "wb") as file:
                file.writelines(self._repository.content(entry))

    def store_file(self, local: str) -> Entry:
        """Store a file under no path yet."""
        return Ingest(self.writer).file(local, b"-")

    def store_bytes(self, data: bytes) -> Entry:
        """Store a file with these bytes, made now, under no path yet."""
        return Ingest(self.writer).data(data, b"-")

    def file(self, path: Path) -> Entry | None:
        """The file, link or reference at a path; None if there is none."""
        found = self._find(path)
        return found if isinstance(found, Entry) and not found.is_dir else None

    def set_all(self, files: Mapping[Path, Entry], overwrite: bool = True) -> None:
        """Let files have paths, or none of them. Raises `InvalidValue` as `add_file`."""
        for path, entry in files.items():
            self._refuse(self._check(path, is_dir=False), entry, path, overwrite)
            for depth in range(1, len(path)):
                if path[:depth] in files:
                    raise _collision(path[:depth], is_dir=False)
        for path, entry in files.items():
            self.set(path, entry)

    def set(self, path: Path, entry: Entry, overwrite: bool = True) -> None:
        """Let a file have a path. Raises `InvalidValue` as `add_file`."""
        self._refuse(self._check(path, is_dir=False), entry, path, overwrite)
        parent = self._made(path[:-1])
        parent.changes[path[-1]] = msgspec.structs.replace(entry, name=path[-1])

    def add_dir(self, local: str, path: Path, overwrite: bool = True) -> None:
        """Store a directory as it is now; what has its paths is replaced, all else stays.

        Raises `InvalidValue` where a file and a directory would have one path, or unless it is to
        overwrite them two files that were added; and what `Ingest.paths` raises; then nothing is
        added.
        """
        self._check(path, is_dir=True)
        ingest = Ingest(self.writer, forbidden=self._repository.store.directory, follows_out=True)
        with within_recursion_limit(local):
            new = ingest.paths([local])
            there = self._find(path)
            if there is not None:
                self._check_over(there, new, path, overwrite)
        self._lay(self._made(path), new)

    def remove(self, path: Path) -> None:
        """Remove a file, or a directory with all that is in it. Raises `NoSuchEntry`."""
        parent = self._find(path[:-1])
        if parent is None or self._child(parent, path[-1]) is None:
            raise NoSuchEntry(f"'{shown(path)}'", "no such path in this artifact")
        made = self._made(path[:-1])
        made.changes[path[-1]] = None

    def has(self, path: Path) -> bool:
        """Whether there is something at a path."""
        return self._find(path) is not None

    def build(self) -> Entry:
        """The tree of it, its nodes stored."""
        return self._built(self._root, self.writer.node)

    def preview(self) -> Entry:
        """The same, but nothing is stored: digest, size and count hold, nodes cannot be read."""
        if self._preview is None:
            self._preview = self._built(self._root, unstored)
        return self._preview

    # Looking -------------------------------------------------------------------------------

    def _find(self, path: Path) -> Entry | _Directory | None:
        found: Entry | _Directory | None = self._root
        for name in path:
            if found is None or not _is_dir(found):
                return None
            found = self._child(found, name)
        return found

    def _child(self, directory: Entry | _Directory, name: bytes) -> Entry | _Directory | None:
        if isinstance(directory, _Directory):
            if name in directory.changes:
                return directory.changes[name]
            directory = directory.base
        stored = directory
        if not stored.is_dir or stored.blob is None:
            return None
        numbered = self._read(lambda: drive(walk.find(stored, 0, name), self._blobs))
        return numbered[1] if numbered else None

    def _read(self, read: Callable[[], T]) -> T:
        """What `read` gives; what was stored here may have to be put under its name first."""
        try:
            return read()
        except ObjectNotFound:
            self.writer.settle()
            return read()

    def _check(self, path: Path, is_dir: bool) -> Entry | _Directory | None:
        """What is at a path, where something of this kind may be. Raises `InvalidValue`."""
        found: Entry | _Directory = self._root
        for depth, name in enumerate(path, 1):
            child = self._child(found, name)
            if child is None:
                return None
            if _is_dir(child) != (is_dir or depth < len(path)):
                raise _collision(path[:depth], _is_dir(child))
            found = child
        return found

    def _refuse(
        self, there: Entry | _Directory | None, new: Entry, path: Path, overwrite: bool
    ) -> None:
        """Raises `InvalidValue` if a file would take the place of another that was added here."""
        if overwrite or not isinstance(there, Entry) or there.digest == new.digest:
            return
        base = self._base
        if base is not None:
            before = self._read(lambda: drive(walk.resolve(base, b"/".join(path)), self._blobs))
            if before is not None and before.digest == there.digest:
                return  # a draft's, and still in the version that it was made from
        raise InvalidValue(
            f"'{shown(path)}'", "was added before, with other content",
            "choose another name, or have it overwritten",
        )  # fmt: skip

    def _check_over(
        self, there: Entry | _Directory, new: Entry, path: Path, overwrite: bool
    ) -> None:
        """Raises `InvalidValue` unless `new` can be laid over what is there."""
        for entry in self._children(new):
            child = self._child(there, entry.name)
            if child is None:
                continue
            inner = (*path, entry.name)
            if _is_dir(child) != entry.is_dir:
                raise _collision(inner, _is_dir(child))
            if entry.is_dir:
                self._check_over(child, entry, inner, overwrite)
            else:
                self._refuse(child, entry, inner, overwrite)

    def _children(self, directory: Entry) -> list[Entry]:
        return self._read(lambda: list(children(directory, self._blobs)))

    # Changing ------------------------------------------------------------------------------

    def _made(self, path: Path) -> _Directory:
        """The directory at a path as one that can be changed; it is free, or a directory."""
        self._preview = None
        directory = self._root
        for name in path:
            child = self._child(directory, name)
            if child is None:
                empty = empty_directory(name, mtime_ns=time.time_ns())
                child = directory.changes[name] = _Directory(empty, implied=True)
            elif not isinstance(child, _Directory):
                child = directory.changes[name] = _Directory(child)
            directory = child
        return directory

    def _lay(self, directory: _Directory, new: Entry) -> None:
        directory.implied = False
        if not directory.changes and not directory.base.count:
            directory.base = msgspec.structs.replace(new, name=directory.base.name)
            return
        for entry in self._children(new):
            child = self._child(directory, entry.name) if entry.is_dir else None
            if child is None:
                directory.changes[entry.name] = entry
                continue
            if not isinstance(child, _Directory):
                child = directory.changes[entry.name] = _Directory(child)
            self._lay(child, entry)

    def _built(self, directory: _Directory, store: StoreNode) -> Entry:
        changes: dict[bytes, Entry | None] = {}
        for name, change in directory.changes.items():
            if isinstance(change, _Directory):
                built = self._built(change, store)
                changes[name] = None if change.implied and not built.count else built
            else:
                changes[name] = change
        return self._read(lambda: edit_to(directory.base, changes, store, self._blobs))


def _close(writer: PackWriter, owner: int) -> None:
    if os.getpid() == owner:  # and not a child that has inherited packs which others write
        writer.abort()


def _is_dir(found: Entry | _Directory) -> bool:
    return isinstance(found, _Directory) or found.is_dir


def _collision(path: Path, is_dir: bool) -> InvalidValue:
    there, new = ("a directory", "a file") if is_dir else ("a file", "a directory")
    return InvalidValue(
        f"'{shown(path)}'", f"is {there} in this artifact, and cannot be {new} as well",
        "remove it first, or choose another name",
    )  # fmt: skip
