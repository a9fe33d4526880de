"""Random access to a reference: its bytes in windows, each fetched when something in it is wanted.

A request to a server takes as long as a megabyte does, so more is fetched than is asked for, and
more each time to whoever goes on where he was.
"""

from __future__ import annotations

import threading

from artfs.repo.references import References
from artfs.types import Entry

_FIRST, _LARGEST = 256 << 10, 4 << 20
#: The kernel asks for what it reads ahead in pieces, and not in their order.
_KEPT = 2


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

    def prove(self) -> bytes:
        """Nothing; raises as `read` if the source is not what was recorded."""
        return b"".join(self._references.content(self.entry, 0, 0, 0.0))

    def _window(self, offset: int, wanted: int, patience: float | None) -> tuple[int, bytes]:
        for start, window in self._windows:
            if start <= offset < start + len(window):
                return start, window
        self._ahead = min(2 * self._ahead, _LARGEST) if offset == self._next else _FIRST
        stop = offset + max(wanted, self._ahead)
        if self.sized:
            stop = min(stop, self.entry.size)
        data = b"".join(self._references.content(self.entry, offset, stop, patience))
        self._next = offset + len(data)
        self._windows = [*self._windows, (offset, data)][-_KEPT:]
        return offset, data
