"""A store in a directory of a local or network file system.

A key is a path below the root. An object that must be new gets its name by link, any other by
rename; records change under an exclusive lock on `.lock`. Directories that lost their last object
stay, and count as absent: removing one would race with a writer about to use it.

Reading never writes, so a store on a read-only mount can be read. Any thread may call anything.
"""

from __future__ import annotations

import builtins
import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

from artfs.errors import AlreadyExists, Conflict, ObjectNotFound, Unreachable
from artfs.store import filelock
from artfs.store.base import ObjectInfo, ObjectReader, ObjectWriter, Store
from artfs.store.durable import Directories
from artfs.store.files import FileReader, FileWriter
from artfs.store.keys import RESERVED, check_prefix, is_component
from artfs.store.tree import Tree, unreachable

# What NFS clients leave of a file that was removed while somebody had it open.
_SILLY_RENAMED = re.compile(r"\.nfs[0-9a-f]{16,}\Z")
#: Seconds to wait for the lock of the records, which is held while one small file is synced.
_PATIENCE = 60.0


class DirectoryStore(Store):
    """The objects below `root`, which must exist."""

    def __init__(self, root: Path) -> None:
        self.url = self.directory = str(root.absolute())
        self._tree = Tree(self.url)

    @classmethod
    def create(cls, path: Path) -> DirectoryStore:
        """Make the directory, durably, with the parents it lacks; one that exists is taken as is.

        Raises `AlreadyExists` if something else has that name, and `OSError`.
        """
        path = path.absolute()
        existing = next(p for p in (path, *path.parents) if p.exists())
        if not existing.is_dir():
            raise AlreadyExists(str(existing), "is not a directory")
        if existing != path:
            Directories(str(existing)).ensure(str(path.relative_to(existing)))
        return cls(path)

    def get(self, key: str) -> bytes:
        try:
            with open(self._tree.path(key), "rb", buffering=0) as file:
                return file.readall()
        except OSError as error:
            raise self._tree.read_error(key, error) from error

    def open(self, key: str) -> ObjectReader:
        return FileReader(self._tree, key)

    def info(self, key: str) -> ObjectInfo:
        try:
            status = os.stat(self._tree.path(key))
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError
        except OSError as error:
            raise self._tree.read_error(key, error) from error
        return ObjectInfo(key, status.st_size, status.st_mtime)

    def writer(self, key: str) -> ObjectWriter:
        return FileWriter(self._tree, key)

    def put_if_absent(self, key: str, data: bytes) -> None:
        self._tree.path(key)
        with self._tree.write_errors(key), self._tree.temporary(data) as temporary:
            try:
                self._tree.place(key, temporary, _link)
            except FileExistsError:
                raise AlreadyExists(key, "exists already") from None

    def read_record(self, key: str) -> tuple[bytes, str]:
        data = self.get(key)
        return data, _revision(data)

    def compare_and_set(self, key: str, data: bytes, revision: str | None) -> str:
        self._tree.path(key)
        with (
            self._tree.write_errors(key),
            self._tree.temporary(data) as temporary,
            self._locked(),
        ):
            self._require(key, revision)
            self._tree.place(key, temporary, os.rename)
        return _revision(data)

    def delete_record(self, key: str, revision: str) -> None:
        self._tree.path(key)
        with self._tree.write_errors(key), self._locked():
            self._require(key, revision)
            self._tree.remove(key)

    def delete(self, key: str) -> None:
        self._tree.path(key)
        with self._tree.write_errors(key):
            self._tree.remove(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._walk(check_prefix(prefix))

    def list_names(self, prefix: str, after: str = "") -> builtins.list[str]:
        names = [
            name.removesuffix("/")
            for name, _ in self._entries(check_prefix(prefix))
            if not name.endswith("/") or any(True for _ in self._walk(prefix + name))
        ]
        return sorted(name for name in names if name > after)

    def free_bytes(self) -> int | None:
        try:
            status = os.statvfs(self.url)
        except OSError as error:
            raise unreachable(self.url, error) from error
        return status.f_bavail * status.f_frsize

    def close(self) -> None:
        pass

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One changer of records at a time, among threads, processes and NFS clients.

        Closing alone would not do: a child forked by another thread meanwhile has the descriptor
        too, and would hold the lock for as long as it lives.
        """
        fd = os.open(f"{self.url}/.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                filelock.lock(fd, _PATIENCE)
            except TimeoutError as error:
                raise Unreachable(
                    self.url, "another process holds the lock of its records",
                    f"fuser -v {self.url}/.lock shows which",
                ) from error  # fmt: skip
            yield
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def _require(self, key: str, revision: str | None) -> None:
        try:
            found: str | None = self.read_record(key)[1]
        except ObjectNotFound:
            found = None
        if found != revision:
            raise Conflict(key, "somebody else changed this record", "read it again, and retry")

    def _walk(self, prefix: str) -> Iterator[ObjectInfo]:
        for name, entry in self._entries(prefix):
            if name.endswith("/"):
                yield from self._walk(prefix + name)
                continue
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self._tree.read_error(prefix + name, error) from error
            yield ObjectInfo(prefix + name, status.st_size, status.st_mtime)

    def _entries(self, prefix: str) -> builtins.list[tuple[str, os.DirEntry[str]]]:
        """One directory, in the order of full keys, in which 'a/b' comes after 'a-'."""
        found = []
        try:
            with os.scandir(f"{self.url}/{prefix}") as entries:
                for entry in entries:
                    name = entry.name
                    if not is_component(name) or _SILLY_RENAMED.match(name):
                        continue
                    if not prefix and name in RESERVED:
                        continue
                    if entry.is_dir():
                        found.append((name + "/", entry))
                    elif entry.is_file():
                        found.append((name, entry))
        except OSError as error:
            failure = self._tree.read_error(prefix, error)
            if not isinstance(failure, ObjectNotFound):
                raise failure from error
        return sorted(found, key=lambda item: item[0])


def _link(temporary: str, final: str) -> None:
    """Name a file if the name is free, else raise `FileExistsError`.

    NFS may carry out a link and lose the answer; the repeated call then meets our own name, which
    the second link of our file gives away (open(2), O_EXCL).
    """
    try:
        os.link(temporary, final)
    except FileExistsError:
        if os.stat(temporary).st_nlink < 2:
            raise


def _revision(data: bytes) -> str:
    return blake3(data).hexdigest()
