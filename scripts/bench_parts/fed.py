"""`fed.py MNT PREFIX PART THREADS`: a filesystem on pyfuse3 that hands on what boto3 brings.

Shows one file, `big.bin`: the first `data.BIG_BYTES` of the objects below PREFIX, one after the
other. From its first read on, so many threads fetch it in order, a request for each PART bytes, as
`s3_client.read_all` does. A part is received into memory that is used again and again, and goes to
the kernel from there: nothing is copied, kept or verified. What it takes is the share of boto3 and
of FUSE in what a mount takes: nothing on pyfuse3 and boto3 can be faster while bytes come from a
server on the same machine.

Stays in the foreground, and ends when it is unmounted.
"""

from __future__ import annotations

import bisect
import errno
import functools
import os
import queue
import stat
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pyfuse3
import trio

from artfs.fuse.errno import reading_handler
from bench_parts import data, null, s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_FOREVER = 3600.0
_NAME = b"big.bin"
_INO = pyfuse3.InodeT(pyfuse3.ROOT_INODE + 1)


@dataclass
class Part:
    """Bytes of the file from `offset` on, which one request brings."""

    key: str
    begin: int
    offset: int
    length: int
    memory: memoryview | None = None
    came: int = 0
    handed: int = 0
    #: How many bytes somebody waits for, and what to wake him with.
    waiting: list[tuple[int, trio.Event]] = field(default_factory=list)

    async def wait(self, stop: int) -> None:
        """Until bytes before `stop`, a place in the file, are here."""
        needed = min(stop - self.offset, self.length)
        if self.came < needed:
            waiter = needed, trio.Event()
            self.waiting.append(waiter)
            if self.came < needed:  # else they came between the two, and nobody may be woken
                await waiter[1].wait()

    def tell(self, token: trio.lowlevel.TrioToken, came: int) -> None:
        """Called by the thread that fetches: so many bytes are here."""
        self.came = came
        for waiter in [waiter for waiter in self.waiting if waiter[0] <= came]:
            self.waiting.remove(waiter)
            token.run_sync_soon(waiter[1].set)


class Feed:
    """The parts of the file, fetched in order, as many ahead of the reader as there is memory."""

    def __init__(
        self, client: S3Client, jobs: list[s3_client.Job], part: int, threads: int
    ) -> None:
        self.parts, offset = [], 0
        for key, begin, length in jobs:
            self.parts.append(Part(key, begin, offset, length))
            offset += length
        self.size = offset
        self._offsets = [part.offset for part in self.parts]
        self._read: list[Part] = []
        self._client = client
        self._next = iter(self.parts)
        self._lock = threading.Lock()
        # One part of each thread is on its way while as many wait to be read.
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        for _ in range(2 * threads):
            self._free.put(memoryview(bytearray(b"\1") * part))  # pages of its own, from now on
        self._threads = threads
        self._started = False

    def start(self) -> None:
        """Begin to fetch, if that has not happened."""
        if not self._started:
            self._started = True
            token = trio.lowlevel.current_trio_token()
            for _ in range(self._threads):
                threading.Thread(target=self._fetch, args=(token,), daemon=True).start()

    def _fetch(self, token: trio.lowlevel.TrioToken) -> None:
        while True:
            with self._lock:
                memory, part = self._free.get(), next(self._next, None)
            if part is None:
                return
            part.memory = memory
            job = part.key, part.begin, part.length
            s3_client.receive(self._client, job, memory, functools.partial(part.tell, token))

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        """Bytes of the file; of one part, without a copy."""
        self._give_back()
        stop = min(offset + size, self.size)
        first = bisect.bisect_right(self._offsets, offset) - 1
        touched = self.parts[first : bisect.bisect_left(self._offsets, stop)]
        for part in touched:
            await part.wait(stop)
        pieces = [self._hand(part, offset, stop) for part in touched]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _hand(self, part: Part, offset: int, stop: int) -> memoryview:
        begin, end = max(offset - part.offset, 0), min(stop - part.offset, part.length)
        part.handed += end - begin
        if part.handed >= part.length:
            self._read.append(part)
        assert part.memory is not None
        return part.memory[begin:end]

    def _give_back(self) -> None:
        """Let the memory of parts that were read be used again: not before they were answered."""
        for part in self._read:
            memory, part.memory = part.memory, None
            if memory is not None:
                self._free.put(memory)
        self._read.clear()


class Fed(pyfuse3.Operations):
    """The handlers that a reader of one file needs."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed
        self._root = self._attrs(pyfuse3.ROOT_INODE, stat.S_IFDIR | 0o755, 0)
        self._file = self._attrs(_INO, stat.S_IFREG | 0o644, feed.size)

    @staticmethod
    def _attrs(ino: int, mode: int, size: int) -> pyfuse3.EntryAttributes:
        attrs = pyfuse3.EntryAttributes()
        attrs.st_ino, attrs.st_mode, attrs.st_nlink = pyfuse3.InodeT(ino), pyfuse3.ModeT(mode), 1
        attrs.st_size = size
        attrs.attr_timeout = attrs.entry_timeout = _FOREVER
        return attrs

    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        if name != _NAME:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._file

    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        return self._file if inode == _INO else self._root

    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(inode), keep_cache=True)

    @reading_handler
    async def read(self, fh: int, off: int, size: int) -> bytes:
        self._feed.start()
        # pyfuse3 takes any buffer, whatever its annotation says.
        return cast("bytes", await self._feed.read(off, size))

    async def flush(self, fh: int) -> None:
        raise pyfuse3.FUSEError(errno.ENOSYS)  # never ask again

    async def release(self, fh: int) -> None:
        return


def main() -> None:
    mountpoint, prefix, part, threads = *sys.argv[1:3], int(sys.argv[3]), int(sys.argv[4])
    client = s3_client.connect(os.environ, threads)
    jobs = s3_client.jobs(client, prefix, data.BIG_BYTES, part)
    fed = Fed(Feed(client, jobs, part, threads))
    null.serve(fed, mountpoint, "fed", read_only=True)


if __name__ == "__main__":
    main()
