"""Fetching ahead of whoever reads a large file of a remote store from front to back.

Here the file's list of chunks says what comes next, in whatever packs it lies; `readahead`, which
sees packs only, stops at the end of each. Belongs to the event loop; lists are read in threads.
"""

from __future__ import annotations

from collections.abc import Callable

from artfs.types import Entry

#: A window is twice as long as the one before it, up to what a fast network brings in some 0.1 s:
#: 4 to 12 requests of 16 MiB under way, of which a distant server answers each at its own speed.
_FIRST_WINDOW, _LARGEST_WINDOW = 2 << 20, 128 << 20
#: How far a read may lie from where the last one ended: the kernel's come in no strict order.
_GAP = 4 << 20
#: Files that are watched, and readers of one file who are told apart.
_FILES, _READERS = 64, 4


class _Stream:
    __slots__ = ("frontier", "position", "steps", "window")

    def __init__(self, position: int) -> None:
        self.position = position
        self.frontier = position
        self.steps = 0
        self.window = _FIRST_WINDOW


class Streams:
    """Watches reads, and asks `fetch(file, from, length)`, which may decline, ahead of them."""

    def __init__(self, fetch: Callable[[Entry, int, int], bool]) -> None:
        self._fetch = fetch
        self._files: dict[bytes, list[_Stream]] = {}

    def read(self, file: Entry, offset: int, size: int) -> None:
        """Bytes of a file are about to be read."""
        streams = self._files.get(file.digest)
        if streams is None:
            if len(self._files) >= _FILES:
                del self._files[next(iter(self._files))]
            streams = self._files[file.digest] = []
        for stream in streams:
            if abs(offset - stream.position) <= _GAP:
                break
        else:
            if len(streams) >= _READERS:
                del streams[0]
            stream = _Stream(offset)
            streams.append(stream)
        stream.steps += 1
        stream.position = max(stream.position, offset + size)
        # A file that is read from its beginning is likely to be read on.
        if stream.steps > 2 or offset == 0 < size:
            self._advance(file, stream)

    def _advance(self, file: Entry, stream: _Stream) -> None:
        start = max(stream.frontier, stream.position)
        length = min(stream.window, file.size - start)
        if length <= 0 or stream.frontier - stream.position >= stream.window // 2:
            return
        if self._fetch(file, start, length):
            stream.frontier = start + length
            stream.window = min(2 * stream.window, _LARGEST_WINDOW)
