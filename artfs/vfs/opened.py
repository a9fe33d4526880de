"""Which versions, and which files of them, programs have opened in a mount; told to a run.

What is kept is bounded by the versions and not by what programs do: a number for each version, and
if files count, a bit for each of its paths.
"""

from __future__ import annotations

from typing import TypeAlias

from artfs.aio.fetch import Fetcher
from artfs.aio.references import ReferenceReads
from artfs.aio.threads import run_blocking
from artfs.repo.recording import Recorder
from artfs.repo.repository import Repository
from artfs.types import RunKey
from artfs.vfs.attributes import Owner
from artfs.vfs.remembering import Remembering, Version
from artfs.vfs.tree import Caller, Opened
from artfs.vfs.version_tree import VersionTree

Fields: TypeAlias = dict[str, object]


class OpenedTree(VersionTree):
    """Versions, and what was opened of them. Belongs to the event loop."""

    def __init__(
        self,
        fetcher: Fetcher,
        catalog: Remembering,
        owner: Owner,
        references: ReferenceReads,
        *,
        with_files: bool,
    ) -> None:
        super().__init__(fetcher, catalog, owner, references)
        self.with_files = with_files
        #: By slot, a bit for the ordinal of each file that was opened.
        self._bitmaps: dict[int, bytearray] = {}
        #: Slots of which something was opened that `take` has not given yet.
        self._new: set[int] = set()

    async def open(self, ino: int, flags: int, caller: Caller) -> Opened:
        opened = await super().open(ino, flags, caller)
        slot, ordinal = self._place(ino)
        bitmap = self._bitmaps.get(slot)
        if bitmap is None:
            bitmap = self._bitmaps[slot] = bytearray()
            self._new.add(slot)
        if self.with_files:
            byte, bit = ordinal >> 3, 1 << (ordinal & 7)
            if byte >= len(bitmap):
                bitmap.extend(bytes(byte + 1 - len(bitmap)))
            if not bitmap[byte] & bit:
                bitmap[byte] |= bit
                self._new.add(slot)
        return opened

    def take(self, known: set[int]) -> dict[int, tuple[Version, bytes]]:
        """By slot, the versions with something newly opened, but for known ones."""
        slots = self._new - known
        self._new -= slots
        return {slot: (self._versions[slot], bytes(self._bitmaps[slot])) for slot in slots}

    def give_back(self, slots: set[int]) -> None:
        """What was taken could not be told to anybody."""
        self._new |= slots


class Telling:
    """Tells a run, which another process has begun, what was opened in a mount.

    Raises what `Recorder.begin` raises; what could not be written is written next time.
    """

    def __init__(self, tree: OpenedTree, repository: Repository, run: RunKey) -> None:
        self._tree = tree
        self._repository = repository
        self._run = run
        self._known: set[int] = set()

    async def versions(self, _: Fields) -> Fields:
        """Record versions that were opened, those that are not recorded yet; without their files,
        of which more may come."""
        taken = self._tree.take(self._known)
        await self._write(taken, with_files=False)
        self._known |= taken.keys()
        if self._tree.with_files:
            self._tree.give_back(set(taken))
        return {}

    async def all(self, _: Fields) -> Fields:
        """Record all that was opened and is not recorded yet."""
        await self._write(self._tree.take(set()), self._tree.with_files)
        return {}

    async def _write(self, taken: dict[int, tuple[Version, bytes]], with_files: bool) -> None:
        if not taken:
            return
        try:
            await run_blocking(self._record, list(taken.values()), with_files)
        except BaseException:
            self._tree.give_back(set(taken))
            raise

    def _record(self, opened: list[tuple[Version, bytes]], with_files: bool) -> None:
        recorder = Recorder(self._repository.runs, self._run, joins=True)
        for version, bitmap in opened:
            record = self._repository.catalog.version(version.key, version.number)
            recorder.used(version.key, record, files=bitmap if with_files else b"")
        recorder.begin()
