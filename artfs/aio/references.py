"""References for the event loop: who has which one open, and reads of them from threads.

Belongs to the event loop; threads run `artfs.repo.reference_file` and nothing of this module's
state. Every wait ends: after `patience` seconds with `Unreachable`.
"""

from __future__ import annotations

from collections.abc import Callable

import trio
from cachetools import LRUCache

from artfs.aio.threads import run_retrying
from artfs.errors import Unsupported
from artfs.repo.reference_file import ReferenceFile
from artfs.repo.references import References
from artfs.types import Entry

#: Threads of their own: sources that do not answer must not keep those waiting who read the store.
_places = trio.CapacityLimiter(8)
#: References that are read at one time; each keeps up to 8 MiB.
_FILES = 8


class ReferenceReads:
    """Reads the references of one mount; a file is known by its inode."""

    def __init__(self, references: References, patience: float) -> None:
        self._references = references
        self._patience = patience
        self._files: LRUCache[int, ReferenceFile] = LRUCache(maxsize=_FILES)

    async def opened(self, ino: int, entry: Entry) -> ReferenceFile:
        """A reference is being opened.

        Raises `Unsupported` if its scheme cannot be read. What is empty is asked for here, as the
        kernel does not read it: `SourceChanged`, `SourceRefused`, `Unreachable`.
        """
        file = self._file(ino, entry)
        if not file.verified:
            self._files[ino] = file = ReferenceFile(self._references, entry)  # what is there now
        if file.sized and not entry.size:
            await self._run(entry, lambda: file.prove(0.0))
        return file

    def require_sized(self, entry: Entry) -> None:
        """Raises `Unsupported` unless the length of a reference is known, so that it can be written
        to; also if it cannot be read."""
        if not self._references.require_readable(entry).sized:
            what = self._references.shown(entry)
            raise Unsupported(what, "is of unknown length, and can only be replaced as a whole")

    async def read(self, ino: int, entry: Entry, offset: int, size: int) -> bytes:
        """The bytes [offset, offset+size), fewer at the end. Raises as `References.content`."""
        file = self._file(ino, entry)
        return await self._run(entry, lambda: file.read(offset, size, 0.0))

    def _file(self, ino: int, entry: Entry) -> ReferenceFile:
        file = self._files.get(ino)
        if file is None or file.entry.target != entry.target:
            file = self._files[ino] = ReferenceFile(self._references, entry)
        return file

    async def _run(self, entry: Entry, read: Callable[[], bytes]) -> bytes:
        what = self._references.shown(entry)
        return await run_retrying(self._patience, what, read, places=_places)
