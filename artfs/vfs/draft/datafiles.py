"""The sparse files that hold what was written, in directory data/.

A layer is a file of its own, `<inode>.<epoch>`. But making a file takes the disk's filesystem as
long as all else about a small one, so the beginnings of the layers of inodes made in the draft lie
in shared files, `s<inode / 1024>.<epoch>`: 64 KiB for each inode, in the order of their numbers. A
layer of such an inode has a file of its own too if it is longer. What was not written is a hole.
Only layers from epoch `shared_from` on are shared: none where the filesystem cannot punch holes,
nor what format 2 of the journal made.

Descriptors are shared and bounded, however many files programs have open in the mount. Event loop
only; a thread may use a `DataFile` or `Slot` that it was given, and `remove`.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from artfs.aio.generations import Generations
from artfs.vfs.draft.numbers import FIRST_BASE
from artfs.vfs.draft.punching import punch

log = logging.getLogger(__name__)

#: Open at the same time. Most systems allow a process 1,024.
_OPEN = 192
#: Bytes of a layer that lie in a shared file, and how many inodes share one.
SLOT = 64 << 10
SLOTS = 1024
#: No epoch is as late.
NEVER = 1 << 62


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

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data`. Raises `OSError`."""
        written = os.pwrite(self.fd, data, offset)
        while written < len(data):
            written += os.pwrite(self.fd, memoryview(data)[written:], offset + written)

    def sync(self) -> None:
        """Make it durable. Blocks."""
        os.fsync(self.fd)


class Slot:
    """A layer whose beginning is at `start` of the file `shared`, and the rest in `own`; None: that
    file is not there, all of it is a hole."""

    __slots__ = ("_own", "_shared", "_start")

    def __init__(self, shared: DataFile | None, start: int, own: DataFile | None) -> None:
        self._shared = shared
        self._start = start
        self._own = own

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes."""
        if offset + size <= SLOT:
            return _read(self._shared, self._start + offset, size)
        if offset >= SLOT:
            return _read(self._own, offset, size)
        head = SLOT - offset
        return self.read(offset, head) + self.read(SLOT, size - head)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data`. Raises `OSError`."""
        head = max(0, SLOT - offset)
        if head:
            assert self._shared is not None
            beginning = data if len(data) <= head else memoryview(data)[:head]
            self._shared.write(self._start + offset, beginning)
        if len(data) > head:
            assert self._own is not None
            self._own.write(offset + head, memoryview(data)[head:])

    def sync(self) -> None:
        """Make it durable. Blocks."""
        for file in (self._shared, self._own):
            if file is not None:
                file.sync()


def _data_from(file: DataFile, start: int) -> int | None:
    """Where data begins, at `start` or behind it; None: there is none."""
    try:
        return os.lseek(file.fd, start, os.SEEK_DATA)  # st_blocks comes late on some filesystems
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise


def _held(file: DataFile, start: int, end: int) -> int:
    """Bytes of a range that are not holes."""
    held = 0
    while (data := _data_from(file, start)) is not None and data < end:
        start = min(os.lseek(file.fd, data, os.SEEK_HOLE), end)
        held += start - data
        if start == end:
            break
    return held


LayerFile: TypeAlias = DataFile | Slot


def _read(file: DataFile | None, offset: int, size: int) -> bytes:
    return file.read(offset, size) if file is not None else bytes(size)


def _start(ino: int) -> int:
    return ino % SLOTS * SLOT


class _Layout:
    def __init__(self, directory: Path, shared_from: int) -> None:
        self.directory = directory
        self._shared_from = shared_from

    def _is_shared(self, ino: int, epoch: int) -> bool:
        return ino < FIRST_BASE and epoch >= self._shared_from

    @staticmethod
    def _shared_name(ino: int, epoch: int) -> str:
        return f"s{ino // SLOTS}.{epoch}"


class Frozen(_Layout):
    """The data files for a thread that reads them while a commit goes on. Those that are not there
    were lost with the machine: zeros, as in the mount."""

    def __init__(self, directory: Path, shared_from: int) -> None:
        super().__init__(directory, shared_from)
        self._shared: tuple[str, DataFile | None] = ("", None)

    def get(self, ino: int, epoch: int, size: int) -> LayerFile | None:
        """A layer of a file with `size` bytes; None if it is not there."""
        if not self._is_shared(ino, epoch):
            return self._open(f"{ino}.{epoch}")
        name = self._shared_name(ino, epoch)
        if self._shared[0] != name:
            self._shared = (name, self._open(name))
        own = self._open(f"{ino}.{epoch}") if size > SLOT else None
        return Slot(self._shared[1], _start(ino), own)

    def _open(self, name: str) -> DataFile | None:
        try:
            return DataFile(f"{self.directory}/{name}", os.O_RDONLY)
        except FileNotFoundError:
            return None


class DataFiles(_Layout):
    """The directory of data files."""

    def __init__(self, directory: Path, shared_from: int) -> None:
        super().__init__(directory, shared_from)
        self._open: Generations[str, DataFile] = Generations(_OPEN)
        self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        #: Files made so far, and of these, those whose names are durable; of those that are there
        #: already, a daemon that was killed may have made one.
        self._made, self._named = 1, 0
        #: How often a shared file could not be synced, and at which of these times a layer's owner
        #: was told.
        self._failures: Counter[str] = Counter()
        self._told: dict[tuple[int, int], int] = {}

    def get(self, ino: int, epoch: int, end: int, new: bool = False) -> LayerFile:
        """A layer, to be read or written up to `end`. It is there already unless it may be `new`.
        Raises `OSError`."""
        if not self._is_shared(ino, epoch):
            name = f"{ino}.{epoch}"
            return self._file(name, new) or self._make_lost(name)
        shared = self._file(self._shared_name(ino, epoch), new)
        own = self._file(f"{ino}.{epoch}", new) if end > SLOT else None
        return Slot(shared, _start(ino), own)

    def _file(self, name: str, new: bool) -> DataFile | None:
        file = self._open.get(name)
        if file is not None:
            return file
        try:
            file = DataFile(f"{self.directory}/{name}", os.O_RDWR)
        except FileNotFoundError:
            if not new:
                return None
            file = self._make(name)
        self._open.put(name, file)
        return file

    def _make(self, name: str) -> DataFile:
        file = DataFile(f"{self.directory}/{name}", os.O_RDWR | os.O_CREAT)
        self._made += 1  # not before: a thread may be syncing the directory meanwhile
        return file

    def _make_lost(self, name: str) -> DataFile:
        # The machine was reset before the file was synced: it is zeros, as on other disks.
        log.warning("%s/%s is lost: it was not synced", self.directory, name)
        file = self._make(name)
        self._open.put(name, file)
        return file

    def blocks(self, ino: int, epoch: int, size: int) -> int:
        """Disk blocks of 512 bytes that a layer of a file with `size` bytes takes, or some more."""
        head = 0
        if self._is_shared(ino, epoch):
            if size <= SLOT:
                return -(-size // 4096) * 8
            shared = self._file(f"s{ino // SLOTS}.{epoch}", new=False)
            if shared is not None:
                head = _held(shared, _start(ino), _start(ino) + SLOT) >> 9
        try:
            return head + os.stat(f"{self.directory}/{ino}.{epoch}").st_blocks
        except FileNotFoundError:
            return head

    def cut(self, ino: int, epoch: int, size: int) -> None:
        """Remove what a layer has behind `size`."""
        if self._is_shared(ino, epoch) and size < SLOT:
            shared = self._file(self._shared_name(ino, epoch), new=False)
            if shared is not None:
                punch(shared.fd, _start(ino) + size, SLOT - size)
        path = f"{self.directory}/{ino}.{epoch}"
        try:
            if os.stat(path).st_size > size:
                os.truncate(path, size)
        except FileNotFoundError:
            return

    def close(self, ino: int, epoch: int) -> None:
        """Forget the descriptor of a layer."""
        self._open.pop(f"{ino}.{epoch}")

    def sync_directory(self) -> None:
        """Make the names of the files durable. Blocks; any thread, several at a time."""
        made = self._made
        if made > self._named:
            os.fsync(self._fd)
            self._named = max(self._named, made)

    def sync_failed(self, ino: int, epochs: Iterable[int]) -> None:
        """Layers of a file could not be synced, and it has been told."""
        for epoch in epochs:
            if self._is_shared(ino, epoch):
                name = self._shared_name(ino, epoch)
                self._failures[name] += 1
                self._told[ino, epoch] = self._failures[name]

    def check_synced(self, ino: int, epochs: Iterable[int]) -> None:
        """Raise `OSError` if bytes of layers that were synced now may have been lost in a sync of
        another file before: the kernel tells of an error only once, and forgets what it was about.
        """
        for epoch in epochs:
            failures = self._failures[self._shared_name(ino, epoch)] if self._failures else 0
            if self._told.get((ino, epoch), 0) < failures:
                self._told[ino, epoch] = failures
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    def layers(self) -> Iterator[tuple[int, int]]:
        """(inode, epoch) of every layer that may be there."""
        with os.scandir(self.directory) as found:
            for entry in found:
                number, _, epoch = entry.name.partition(".")
                if not epoch.isdigit():
                    continue  # what NFS calls a file that is deleted and still open
                if number.startswith("s"):
                    first = int(number[1:]) * SLOTS
                    for ino in range(first, first + SLOTS):
                        yield ino, int(epoch)
                else:
                    yield int(number), int(epoch)

    def remove(self, layers: Iterable[tuple[int, int]], writing: int) -> None:
        """Delete layers. Shared files that are empty then go too, unless they are of the epoch that
        is being written, `writing`. Blocks; any thread. Layers that are not there do not matter."""
        by_place = sorted((layer_epoch, ino) for ino, layer_epoch in layers)
        shared = [(at, ino) for at, ino in by_place if self._is_shared(ino, at)]
        for (at, number), slots in itertools.groupby(shared, lambda x: (x[0], x[1] // SLOTS)):
            self._remove_slots(
                f"{self.directory}/s{number}.{at}", [x[1] for x in slots], at < writing
            )
        for at, ino in by_place:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.directory}/{ino}.{at}")

    def _remove_slots(self, path: str, inodes: list[int], is_old: bool) -> None:
        try:
            file = DataFile(path, os.O_RDWR)
        except FileNotFoundError:
            return
        for _, run in itertools.groupby(enumerate(inodes), lambda x: x[1] - x[0]):
            found = [ino for _, ino in run]
            punch(file.fd, _start(found[0]), len(found) * SLOT)
        if is_old and _data_from(file, 0) is None:
            os.unlink(path)

    def close_all(self) -> None:
        """Release all descriptors."""
        self._open.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
