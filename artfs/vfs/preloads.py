"""Small files whose content goes into the kernel's page cache before anybody reads it.

That saves the request to read them. Handing pages over waits for a page that somebody reads, and
that reader waits for us; a page is locked for a read of ours only while a handle that reads it is
open. So it is done only where no handle is open, or one is being opened and is the only one.
Belongs to the event loop.
"""

from __future__ import annotations

from collections.abc import Callable

from artfs.aio.fetch import DamagedBlob, Fetcher
from artfs.types import BlobRef, Entry, Kind

_BITS = 15
_PAGE_BYTES = (1 << _BITS) // 8
_PAGES = 1024


class Preloads:
    """What to hand over as files are opened, and, of files opened in order, what comes next.

    `remembered` gives the entry of an inode, if it is at hand.
    """

    def __init__(self, fetcher: Fetcher, remembered: Callable[[int], Entry | None]) -> None:
        self._fetcher = fetcher
        self._remembered = remembered
        self._opens: dict[int, int] = {}
        self._pushed = InodeSet()
        self._last = 0
        self._expected = 0

    async def opened(self, ino: int, entry: Entry) -> bytes | None:
        """A handle of a file is being opened: its content, if it is to be handed over now."""
        self._opens[ino] = self._opens.get(ino, 0) + 1
        # Inode numbers of a version follow its order, see `artfs.vfs.version_tree`.
        self._expected = ino + 1 if ino == self._last + 1 else 0
        self._last = ino
        ref = self._wanted(ino, entry)
        if ref is None:
            return None
        self._fetcher.walked(ref, whole_file=True)
        try:
            data = await self._fetcher.chunk(ref, keep=False)
        except DamagedBlob:
            return None  # the read that follows says it
        except BaseException:
            self.released(ino)
            raise
        if self._opens[ino] != 1:
            return None
        self._pushed.add(ino)
        return data

    def released(self, ino: int) -> None:
        """A handle was closed, or came to nothing."""
        left = self._opens.get(ino, 0) - 1
        if left > 0:
            self._opens[ino] = left
        else:
            self._opens.pop(ino, None)

    def forgotten(self, ino: int) -> None:
        """With an inode the kernel drops its pages: they may be handed over again."""
        self._pushed.discard(ino)

    def next(self) -> tuple[int, bytes] | None:
        """The file that is likely to be opened next and its content, if that is at hand."""
        ino, self._expected = self._expected, 0
        if not ino or ino in self._opens:
            return None
        entry = self._remembered(ino)
        ref = None if entry is None else self._wanted(ino, entry)
        if ref is None:
            return None
        self._fetcher.walked(ref, whole_file=True)
        try:
            data = self._fetcher.at_hand(ref)
        except DamagedBlob:
            return None
        return None if data is None else (ino, data)

    def given(self, ino: int) -> None:
        """The kernel took what `next` offered."""
        self._pushed.add(ino)

    def _wanted(self, ino: int, entry: Entry) -> BlobRef | None:
        if entry.kind != Kind.FILE or entry.height or ino in self._pushed:
            return None
        return entry.blob


class InodeSet:
    """Remembers the inodes of the `_PAGES` * 32,768 most recently added paths, in 4 MiB at most.

    Inode numbers of a version are dense, so a bitmap takes a bit where a set takes 60 bytes.
    """

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def __contains__(self, ino: int) -> bool:
        page = self._pages.get(ino >> _BITS)
        return page is not None and bool(page[ino >> 3 & _PAGE_BYTES - 1] >> (ino & 7) & 1)

    def add(self, ino: int) -> None:
        page = self._pages.get(ino >> _BITS)
        if page is None:
            if len(self._pages) >= _PAGES:
                del self._pages[next(iter(self._pages))]
            page = self._pages[ino >> _BITS] = bytearray(_PAGE_BYTES)
        page[ino >> 3 & _PAGE_BYTES - 1] |= 1 << (ino & 7)

    def discard(self, ino: int) -> None:
        page = self._pages.get(ino >> _BITS)
        if page is not None:
            page[ino >> 3 & _PAGE_BYTES - 1] &= ~(1 << (ino & 7)) & 0xFF
