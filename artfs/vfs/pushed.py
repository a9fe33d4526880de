"""A set of inode numbers, one bit each."""

from __future__ import annotations

_BITS = 15
_PAGE_BYTES = (1 << _BITS) // 8
_PAGES = 1024


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
