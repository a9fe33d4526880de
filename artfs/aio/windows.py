"""Reading ahead of whoever reads a large file of a store on this machine from front to back.

Whole windows of the file are read and proved in threads, so that the event loop has nothing to do
but to answer: with pread, which leaves it to the kernel how far ahead of it the disk is read. A
posix_fadvise would have it do so in pages of 4 KiB and in requests of 1 MiB, at half the speed.

Belongs to the event loop; what `load` does, and nothing else, is done in threads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import trio

from artfs.aio.threads import Turns
from artfs.errors import Unreachable
from artfs.types import Entry

#: Smaller files are read ahead of as parts of their pack; and so is who asks for less at once, as
#: the kernel does not for whoever reads in sequence: random reads are not looked at here.
FILE_MIN, READ_MIN = 2 << 20, 32 << 10
#: Bytes in sequence that make a reader whom it is worth to read ahead of; of many random reads
#: some lie behind each other by chance.
_BEGUN = 512 << 10
#: A window, and how far ahead of readers windows lie, of all of them together; of each, less than
#: what it has read so far.
_SMALLEST, _LARGEST, _AHEAD = 1 << 20, 2 << 20, 16 << 20
#: How far a read may lie from where the last one ended: the kernel's come in no strict order.
_GAP = 2 << 20
#: Readers who are told apart, in all files; and those of them who have windows. Each may keep 4 MiB
#: that it has read, too: some 32 MiB in all, and twice that for a moment as readers begin.
_READERS, _FED = 16, 4
#: Threads that fill windows. Four, with windows of 4 MiB, take longer: 1.21 s for 1 GiB, not 1.13.
_THREADS = 2
#: Seconds after which a window that no thread has begun is not waited for: both may wait for a
#: disk that hangs, and other files be on another one.
_LATE = 2.0


class _Window:
    """Bytes [start, stop) of a file, from `data` once they are there."""

    __slots__ = ("data", "done", "has_begun", "is_dropped", "start", "stop")

    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop
        self.data: memoryview | None = None
        self.has_begun = self.is_dropped = False
        self.done = trio.Event()


class _Reader:
    __slots__ = ("begin", "digest", "frontier", "position", "read", "windows")

    def __init__(self, digest: bytes, position: int) -> None:
        self.digest = digest
        self.begin = self.position = self.frontier = position
        self.read = 0
        self.windows: list[_Window] = []

    @property
    def is_steady(self) -> bool:
        """Whether it goes from front to back, without leaving out more than it reads."""
        return self.read >= max(_BEGUN, (self.position - self.begin) // 2)

    def drop(self) -> None:
        """Have no windows. Who waits for one reads otherwise."""
        for window in self.windows:
            window.is_dropped = True
            window.done.set()
        self.windows = []
        self.frontier = self.position


class Windows:
    """Reads files by `load(file, offset, size)`, which waits for the store, ahead of whoever reads
    them in sequence. What fails there is left to be read otherwise."""

    def __init__(self, load: Callable[[Entry, int, int], memoryview], patience: float) -> None:
        self._load = load
        self._patience = patience
        self._turns = Turns(_THREADS, _AHEAD // _SMALLEST)
        #: Least recently seen first.
        self._readers: list[_Reader] = []

    async def read(self, file: Entry, offset: int, size: int) -> bytes | memoryview | None:
        """Proved bytes [offset, offset+size) of a file, `size` not reaching beyond its end; None if
        they were not read ahead, or could not be. Raises `Unreachable`."""
        reader = self._reader(file.digest, offset)
        stop = offset + size
        reader.read += size
        reader.position = max(reader.position, stop)
        if reader.is_steady:
            self._advance(file, reader)
        windows = [w for w in reader.windows if w.start < stop and w.stop > offset]
        if not _cover(windows, offset, stop):
            return None
        parts: list[memoryview] = []
        for window in windows:
            data = window.data
            if data is None and (data := await self._arrived(reader, window)) is None:
                return None
            parts.append(data[max(0, offset - window.start) : stop - window.start])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _arrived(self, reader: _Reader, window: _Window) -> memoryview | None:
        with trio.move_on_after(self._patience):
            with trio.move_on_after(_LATE):
                await window.done.wait()
            if not window.has_begun:
                reader.drop()
                return None
            await window.done.wait()
            return window.data
        raise Unreachable("store", f"has not answered for {self._patience:g} s")

    def _reader(self, digest: bytes, offset: int) -> _Reader:
        for reader in reversed(self._readers):
            if reader.digest == digest and -_GAP <= offset - reader.position <= _GAP:
                if reader is not self._readers[-1]:
                    self._readers.remove(reader)
                    self._readers.append(reader)
                return reader
        if len(self._readers) >= _READERS:
            self._readers.pop(0).drop()
        reader = _Reader(digest, offset)
        self._readers.append(reader)
        return reader

    def _advance(self, file: Entry, reader: _Reader) -> None:
        behind = reader.position - _GAP
        while reader.windows and reader.windows[0].stop <= behind:
            del reader.windows[0]
        if self._turns.are_late(_LATE):
            return
        others = sum(r.frontier > r.position for r in self._readers if r is not reader)
        ahead = min(reader.read, _AHEAD // min(1 + others, _FED))
        length = min(_LARGEST, max(_SMALLEST, reader.read // 2))
        while True:
            start = max(reader.frontier, reader.position)
            stop = min(start + length, file.size)
            if start >= stop or stop > reader.position + ahead:
                return
            window = _Window(start, stop)
            if not reader.windows:
                self._make_room()
            if not self._turns.give(self._fill, file, window, trio.lowlevel.current_trio_token()):
                return
            reader.windows.append(window)
            reader.frontier = stop

    def _make_room(self) -> None:
        """Let one more reader have windows."""
        fed = [reader for reader in self._readers if reader.windows]
        if len(fed) >= _FED:
            fed[0].drop()

    def _fill(self, file: Entry, window: _Window, token: trio.lowlevel.TrioToken) -> None:
        """Runs in a thread. Whoever reads what it fails for finds out in the event loop."""
        if window.is_dropped:
            return
        window.has_begun = True
        try:
            data = self._load(file, window.start, window.stop - window.start)
            if len(data) == window.stop - window.start:  # a list of chunks may come to less
                window.data = data
        finally:
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(window.done.set)


def _cover(windows: list[_Window], offset: int, stop: int) -> bool:
    """Whether windows, in order, have all of [offset, stop): readers may have skipped something."""
    for window in windows:
        if window.start > offset:
            return False
        offset = window.stop
    return offset >= stop
