"""Reading ahead of whoever walks along a pack.

Chunks lie in packs in the order of the files and of the bytes in them, so reading a big file from
front to back and opening the small files of a directory one after the other look alike: reads of
one pack at growing offsets. Belongs to the event loop.
"""

from __future__ import annotations

from collections.abc import Callable

from artfs.types import BlobRef

_FIRST_WINDOW, _LARGEST_WINDOW = 512 << 10, 8 << 20
#: Bytes of a pack that a walk may skip, a few files that nobody wants, or go back: a read that ends
#: within a chunk is followed by one that begins in it.
_GAP = 128 << 10
#: Steps that make a walk. Of random reads in one pack some follow each other by chance; of whole
#: small files, opened one by one, that is less likely, and a step to the next one counts double.
_STEPS = 3
#: Readers of one pack who are told apart, and packs that are watched.
_WALKS, _PACKS = 4, 128


class _Walk:
    __slots__ = ("frontier", "position", "steps", "window")

    def __init__(self, position: int) -> None:
        self.position = position
        self.frontier = position
        self.steps = 1
        self.window = _FIRST_WINDOW


class ReadAhead:
    """Watches reads, and asks `prefetch(from, length)`, which may decline, ahead of them."""

    def __init__(self, prefetch: Callable[[BlobRef, int], bool]) -> None:
        self._prefetch = prefetch
        self._packs: dict[bytes, list[_Walk]] = {}

    def walked(self, ref: BlobRef, *, whole_file: bool) -> None:
        """A blob is about to be read."""
        walks = self._packs.get(ref.pack)
        if walks is None:
            walks = self._watch(ref.pack)
        end = ref.offset + ref.stored
        for walk in walks:
            if -_GAP <= ref.offset - walk.position <= _GAP:
                if end > walk.position:
                    walk.steps += 2 if whole_file else 1
                    walk.position = end
                if walk.steps >= _STEPS and walk.frontier - end < walk.window // 2:
                    self._advance(walk, ref.pack)
                return
        if len(walks) >= _WALKS:
            del walks[0]
        walks.append(_Walk(end))

    def _watch(self, pack: bytes) -> list[_Walk]:
        if len(self._packs) >= _PACKS:
            del self._packs[next(iter(self._packs))]
        walks = self._packs[pack] = []
        return walks

    def _advance(self, walk: _Walk, pack: bytes) -> None:
        start = max(walk.frontier, walk.position)
        if self._prefetch(BlobRef(b"", 0, pack, start, 0), walk.window):
            walk.frontier = start + walk.window
            walk.window = min(2 * walk.window, _LARGEST_WINDOW)
