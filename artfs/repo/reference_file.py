"""Random access to a reference: its bytes in windows, each fetched when something in it is wanted.

A request to a server takes as long as a megabyte does, so more is fetched than is asked for, and
more each time to whoever goes on where he was. Who goes on for longer is given all that follows by
one request, which is left where he is: some servers send no parts, and would send all that comes
before anew each time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

from artfs.repo.references import References
from artfs.sources.base import ENDLESS
from artfs.types import Entry

_FIRST, _STREAMED, _LARGEST = 256 << 10, 1 << 20, 4 << 20
#: The kernel asks for what it reads ahead in pieces, and not in their order: those that are passed
#: over are asked for next.
_KEPT, _PASSED = 2, 1 << 20
#: Requests of a process that are left where readers are; each holds a connection.
_streams = threading.BoundedSemaphore(8)


class ReferenceFile:
    """A reference that somebody reads. Thread-safe; who wants the same window waits for it."""

    def __init__(self, references: References, entry: Entry) -> None:
        reference = references.require_readable(entry)
        self.entry = entry
        #: Where its end is not known, the source is asked for what is behind any place.
        self.sized = reference.sized
        #: Whether what was read may be kept: it is what was recorded.
        self.verified = bool(reference.checksum)
        self._references = references
        self._lock = threading.Lock()
        self._windows: list[tuple[int, bytes]] = []
        self._next = -1
        self._ahead = _FIRST
        self._stream: Iterator[bytes] | None = None
        self._process = os.getpid()

    def read(self, offset: int, size: int, patience: float | None = None) -> bytes:
        """The bytes [offset, offset+size), fewer at the end. Raises as `References.content`."""
        end = min(offset + size, self.entry.size) if self.sized else offset + size
        parts: list[bytes] = []
        with self._lock:
            while offset < end:
                start, window = self._window(offset, end - offset, patience)
                part = window[offset - start : end - start]
                if not part:
                    break  # the end of what has no size
                parts.append(part)
                offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def prove(self, patience: float | None = None) -> bytes:
        """Nothing; raises as `read` if the source is not what was recorded."""
        return b"".join(self._references.content(self.entry, 0, 0, patience))

    def _window(self, offset: int, wanted: int, patience: float | None) -> tuple[int, bytes]:
        for start, window in self._windows:
            if start <= offset < start + len(window):
                return start, window
        start = self._next
        if 0 <= start <= offset <= start + _PASSED and self._process == os.getpid():
            self._ahead = min(2 * self._ahead, _LARGEST)
        else:
            # A child process would take from its parent what comes for both.
            self._ahead, self._stream, self._process = _FIRST, None, os.getpid()
            start = offset
        data = self._fetched(start, offset - start + max(wanted, self._ahead), patience)
        self._next = start + len(data)
        self._windows = [*self._windows, (start, data)][-_KEPT:]
        return start, data

    def _fetched(self, offset: int, size: int, patience: float | None) -> bytes:
        """At least `size` bytes, fewer at the end."""
        end = self.entry.size if self.sized else ENDLESS
        # Put back if there is more to come from it: one that failed is of no use.
        stream, self._stream = self._stream, None
        if stream is None:
            content = self._references.content
            if self._ahead < _STREAMED or not _streams.acquire(blocking=False):
                return b"".join(content(self.entry, offset, min(offset + size, end), patience))
            stream = _counted(content(self.entry, offset, end, patience))
        parts = []
        for part in stream:
            parts.append(part)
            size -= len(part)
            if size <= 0:
                self._stream = stream
                break
        return b"".join(parts)


def _counted(stream: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from stream
    finally:
        _streams.release()
