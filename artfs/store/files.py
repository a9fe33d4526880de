"""Reading and writing one file of a directory store."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import time
from collections.abc import Sequence

from artfs.errors import ObjectNotFound
from artfs.store.base import BytesLike, ObjectReader, ObjectWriter
from artfs.store.durable import start_writeback, unlink_quietly, write_all
from artfs.store.tree import Tree

WRITEBACK_BYTES = 8 << 20
CACHED_READ_MAX = 4 << 20


class _Scratch(threading.local):
    """Where `read_cached` reads to, one per thread.

    A fresh buffer per read costs more than the read: from 128 KiB on, glibc maps and unmaps it
    each time, which made reads 7 times slower than with the copy out of a buffer kept for good.
    """

    def __init__(self) -> None:
        self.view = memoryview(bytearray(256 << 10))

    def at_least(self, length: int) -> memoryview:
        if length > len(self.view):
            self.view = memoryview(bytearray(length))
        return self.view[:length]


_scratch = _Scratch()


def read_at_hand(fd: int, offset: int, length: int, patience: float = 0.0) -> bytes | None:
    """Exactly these bytes of a file if the kernel has them, as `ObjectReader.read_cached`."""
    if length > CACHED_READ_MAX:
        return None
    view = _scratch.at_least(length)
    if _read_now(fd, view, offset):
        return bytes(view)
    if patience:
        # Asking whether the bytes have come, again and again, never sleeps; and for a device
        # that needs less time than waking a thread up does, it is the fastest way to wait.
        end = time.perf_counter() + patience
        with contextlib.suppress(OSError):
            os.posix_fadvise(fd, offset, length, os.POSIX_FADV_WILLNEED)
        while time.perf_counter() < end:
            if _read_now(fd, view, offset):
                return bytes(view)
    return None


def _read_now(fd: int, view: memoryview, offset: int) -> bool:
    try:
        return os.preadv(fd, [view], offset, os.RWF_NOWAIT) == len(view)
    except OSError:
        return False


class FileReader(ObjectReader):
    """One open descriptor. Must not be closed while another thread reads from it."""

    def __init__(self, tree: Tree, key: str) -> None:
        self._fd = -1
        self._tree = tree
        self._key = key
        self._path = tree.path(key)
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            status = os.fstat(self._fd)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError
            self._size = status.st_size
        except OSError as error:
            self.close()
            raise tree.read_error(key, error) from error

    def read(self, offset: int, length: int) -> bytes:
        parts: list[bytes] = []
        try:
            while length > 0 and (part := os.pread(self._fd, length, offset)):
                parts.append(part)
                offset += len(part)
                length -= len(part)
        except OSError as error:
            if error.errno == errno.ESTALE and not os.path.exists(self._path):
                raise ObjectNotFound(self._key) from error
            raise self._tree.read_error(self._key, error) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_cached(self, offset: int, length: int, patience: float = 0.0) -> bytes | None:
        length = min(length, self._size - offset)
        return read_at_hand(self._fd, offset, length, patience) if length > 0 else b""

    def prefetch(self, offset: int, length: int) -> None:
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._fd, offset, length, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


class FileWriter(ObjectWriter):
    """A temporary file on its way to its name. Belongs to one thread at a time."""

    def __init__(self, tree: Tree, key: str) -> None:
        tree.path(key)
        self._tree = tree
        self._key = key
        self._written = 0
        self._handed_over = 0
        with tree.write_errors(key):
            self._fd, self._temporary = tree.new_temporary()

    def write(self, parts: Sequence[BytesLike]) -> None:
        self._require_open()
        try:
            with self._tree.write_errors(self._key):
                self._written += write_all(self._fd, parts)
        except BaseException:
            self.abort()
            raise
        pending = self._written - self._handed_over
        if pending >= WRITEBACK_BYTES:
            start_writeback(self._fd, self._handed_over, pending)
            self._handed_over = self._written

    def commit(self) -> None:
        self._require_open()
        try:
            with self._tree.write_errors(self._key):
                os.fsync(self._fd)
                self._close()
                self._tree.place(self._key, self._temporary, os.rename)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        self._close()
        unlink_quietly(self._temporary)

    def _require_open(self) -> None:
        if self._fd < 0:
            raise ValueError(f"the writer of {self._key} has failed or is finished")

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
