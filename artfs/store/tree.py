"""The directory tree under a directory store: paths, temporary files, names, and what errors mean.

Every write goes to a file in `.tmp`, is synced there and then gets its name in one step. A crash
therefore leaves at most files in `.tmp`, which no listing shows and `sweep_stale` removes.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator

from artfs.errors import ArtfsError, ObjectNotFound, Unreachable
from artfs.store.durable import (
    Directories,
    create_temporary,
    fsync_dir,
    sweep_stale,
    unlink_quietly,
    write_all,
)
from artfs.store.keys import check_key

_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_STORE_GONE = frozenset(
    {errno.ENOENT, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN}
)
_REFUSALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class Tree:
    """The files below `root`, by key. The root is never made here: see `Directories`."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._directories = Directories(root)
        self._swept = False

    def path(self, key: str) -> str:
        """Where the key's file is. Raises `InvalidValue`."""
        return f"{self.root}/{check_key(key)}"

    def new_temporary(self) -> tuple[int, str]:
        """A temporary file, open for writing, and its path."""
        directory = self._directories.ensure(".tmp")
        if not self._swept:
            self._swept = True
            sweep_stale(directory)
        return create_temporary(directory)

    @contextlib.contextmanager
    def temporary(self, data: bytes) -> Iterator[str]:
        """A synced temporary file of these bytes, for the body to `place`."""
        fd, path = self.new_temporary()
        try:
            try:
                write_all(fd, [data])
                os.fsync(fd)
            finally:
                os.close(fd)
            yield path
        finally:
            unlink_quietly(path)

    def place(self, key: str, temporary: str, step: Callable[[str, str], None]) -> None:
        """Give a synced temporary file its name by `step`, and make the name durable."""
        parent = self._directories.ensure(key.rpartition("/")[0])
        step(temporary, self.path(key))
        fsync_dir(parent)

    def remove(self, key: str) -> bool:
        """Take a name away, durably; False if it was not there."""
        path = self.path(key)
        try:
            os.unlink(path)
        except _ABSENT:
            return False
        fsync_dir(os.path.dirname(path))
        return True

    def read_error(self, key: str, error: OSError) -> ArtfsError:
        """What a failed read means.

        A name is missing only from a root that is there: a disk that is not mounted must not pass
        for a store whose objects are all gone.
        """
        if not isinstance(error, _ABSENT):
            return unreachable(f"{self.root}/{key}", error)
        if os.path.isdir(self.root):
            return ObjectNotFound(key)
        return unreachable(self.root, error)

    @contextlib.contextmanager
    def write_errors(self, key: str) -> Iterator[None]:
        """Let refusals (ENOSPC, EDQUOT, EACCES, EROFS) pass; a store that went away is named, and
        so is one that may not be written: nobody has heard of the file."""
        try:
            yield
        except OSError as error:
            if error.errno in _STORE_GONE:
                raise unreachable(f"{self.root}/{key}", error) from error
            if error.errno in _REFUSALS:
                raise OSError(error.errno, error.strerror, self.root) from error
            raise


def unreachable(what: str, error: OSError) -> Unreachable:
    """The error for a store whose file system does not answer, or refuses us."""
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = "check who may read the store's directory"
    else:
        hint = "check that the store's file system is mounted and healthy"
    return Unreachable(what, os.strerror(error.errno or errno.EIO), hint)
