"""The sparse files that hold what was written: data/<inode>.<epoch>, one per layer.

Descriptors are shared and bounded, however many files programs have open in the mount. Event loop
only; a thread may use a `DataFile` that it was given.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from artfs.aio.generations import Generations

log = logging.getLogger(__name__)

#: Open at the same time. Most systems allow a process 1,024.
_OPEN = 192


class DataFile:
    """An open data file. Its descriptor is closed with the last reference, so that one who still
    reads it in a thread is not disturbed when it falls out of the cache or is removed."""

    __slots__ = ("fd",)

    def __init__(self, path: str, flags: int) -> None:
        self.fd = -1
        self.fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes, zeros where the file has ended."""
        data = os.pread(self.fd, size, offset)
        while len(data) < size:
            more = os.pread(self.fd, size - len(data), offset + len(data))
            if not more:
                return data + bytes(size - len(data))
            data += more
        return data

    def write(self, offset: int, data: bytes) -> None:
        """Write all of `data`. Raises `OSError`."""
        written = os.pwrite(self.fd, data, offset)
        while written < len(data):
            written += os.pwrite(self.fd, memoryview(data)[written:], offset + written)

    def sync(self) -> None:
        """Make it durable. Blocks."""
        os.fsync(self.fd)


class DataFiles:
    """The directory of data files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._open: Generations[tuple[int, int], DataFile] = Generations(_OPEN)
        self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        #: Files made so far, and of these, those whose names are durable.
        self._made = self._named = 0

    def path(self, ino: int, epoch: int) -> str:
        """Where a layer is."""
        return f"{self.directory}/{ino}.{epoch}"

    def get(self, ino: int, epoch: int, new: bool = False) -> DataFile:
        """A layer's file, which is there already unless it may be `new`. Raises `OSError`."""
        key = ino, epoch
        file = self._open.get(key)
        if file is None:
            file = self._make(ino, epoch) if new else self._find(ino, epoch)
            self._open.put(key, file)
        return file

    def _find(self, ino: int, epoch: int) -> DataFile:
        try:
            return DataFile(self.path(ino, epoch), os.O_RDWR)
        except FileNotFoundError:
            # The machine was reset before the file was synced: it is zeros, as on other disks.
            log.warning("%s is lost: it was not synced", self.path(ino, epoch))
            return self._make(ino, epoch)

    def _make(self, ino: int, epoch: int) -> DataFile:
        self._made += 1
        return DataFile(self.path(ino, epoch), os.O_RDWR | os.O_CREAT)

    def blocks(self, ino: int, epoch: int) -> int:
        """Disk blocks of 512 bytes that a layer takes."""
        try:
            return os.stat(self.path(ino, epoch)).st_blocks
        except FileNotFoundError:
            return 0

    def cut(self, ino: int, epoch: int, size: int) -> None:
        """Remove what a layer's file has behind `size`."""
        path = self.path(ino, epoch)
        try:
            if os.stat(path).st_size > size:
                os.truncate(path, size)
        except FileNotFoundError:
            return

    def close(self, ino: int, epoch: int) -> None:
        """Forget the descriptor of a layer."""
        self._open.pop((ino, epoch))

    def sync_directory(self) -> None:
        """Make the names of the files durable. Blocks; any thread, several at a time."""
        made = self._made
        if made > self._named:
            os.fsync(self._fd)
            self._named = max(self._named, made)

    def names(self) -> Iterator[tuple[int, int]]:
        """(inode, epoch) of every file there."""
        with os.scandir(self.directory) as found:
            for entry in found:
                ino, _, epoch = entry.name.partition(".")
                yield int(ino), int(epoch)

    def remove(self, layers: list[tuple[int, int]]) -> None:
        """Delete files. Blocks; any thread. Those that are not there do not matter."""
        for ino, epoch in layers:
            try:
                os.unlink(self.path(ino, epoch))
            except FileNotFoundError:
                continue

    def close_all(self) -> None:
        """Release all descriptors."""
        self._open.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
