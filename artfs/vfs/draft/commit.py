"""Committing a draft while it is being written.

1. The instant: in the event loop, with no long write under way, everything is saved, the epoch is
   raised and a snapshot of the journal taken. From here on writes go into new layers.
2. A thread builds the version's tree from the snapshot and the frozen layers, notes the commit's id
   in draft.json, and commits to the store, on top of what others committed (`rebasing`).
3. The event loop takes over the result, in small steps between which the mount goes on: what
   others changed is shown (`foreign`), what was stored becomes the content beneath files, frozen
   layers and rows of `changes` go. Then draft.json names the new base, and the commit's id no more.

Whatever fails before the store has the version record leaves the draft as it was, with one layer
more below its files. After a kill between that and the end of 3, draft.json has the id still: the
next commit finds its own record by it, and takes it over.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

import msgspec
import trio

from artfs.errors import ArtfsError, ObjectNotFound
from artfs.repo.packing import PackWriter
from artfs.repo.recording import Recorder
from artfs.types import Entry, parse_run
from artfs.vfs.draft import codec
from artfs.vfs.draft.building import Builder, Results
from artfs.vfs.draft.content import Contents
from artfs.vfs.draft.datafiles import Frozen
from artfs.vfs.draft.foreign import Adopting, Stale, note_foreign
from artfs.vfs.draft.garbage import Garbage
from artfs.vfs.draft.gate import Gate, Pause
from artfs.vfs.draft.handles import Handles
from artfs.vfs.draft.inodes import Inodes
from artfs.vfs.draft.journal import Place
from artfs.vfs.draft.lengths import Lengths
from artfs.vfs.draft.mapped import Mapped
from artfs.vfs.draft.names import Names
from artfs.vfs.draft.rebasing import Rebased, Rebasing
from artfs.vfs.draft.snapshot import Snapshot
from artfs.vfs.draft.space import Space
from artfs.vfs.draft.state import Draft
from artfs.vfs.draft.threads import disk_errors, in_thread

log = logging.getLogger(__name__)

#: The event loop is held no longer than this at a time by what a commit leaves to do.
_STEP = 0.005
#: Rows that one step changes.
_STEP_ROWS = 200
_ROWS = 100
#: Seconds that a thread keeps the interpreter while the event loop waits for it; Python's default
#: is 5 ms.
_SWITCH = 0.0005
#: A pack that blobs were to be shared with can be collected meanwhile; then all is built again.
_TRIES = 3


class CommitResult(msgspec.Struct, frozen=True):
    """`version`: the newest version of the artifact that has the draft's content, None if there is
    none; `changed`: whether this commit made it. `left_out`: paths that a version cannot hold.
    `onto`: the version of others that the draft's changes were put on, None if there was none."""

    version: int | None
    changed: bool
    left_out: list[bytes]
    onto: int | None = None


class Committer:
    """Commits one draft, one commit at a time."""

    def __init__(
        self,
        draft: Draft,
        inodes: Inodes,
        contents: Contents,
        names: Names,
        handles: Handles,
        lengths: Lengths,
        garbage: Garbage,
        gate: Gate,
        pause: Pause,
        space: Space,
        flush_kernel: Callable[[], Awaitable[None]] | None,
        forget_kernel: Callable[[Stale], Awaitable[bool]] | None,
    ) -> None:
        self._draft = draft
        self._journal = draft.journal
        self._inodes = inodes
        self._contents = contents
        self._names = names
        self._handles = handles
        self._lengths = lengths
        self._garbage = garbage
        self._gate = gate
        self._pause = pause
        self._space = space
        self._flush_kernel = flush_kernel
        self._forget_kernel = forget_kernel
        self._lock = trio.Lock()
        self._results = draft.path / "commit.sqlite"
        self._results.unlink(missing_ok=True)  # left by a kill
        #: Snapshots that are being read.
        self.reading = 0

    def is_reading(self) -> bool:
        """Whether a snapshot is being read."""
        return self.reading > 0

    async def commit(
        self, description: str | None, policy: str, is_mounted: bool = True
    ) -> CommitResult:
        """See `DraftTree.commit`; an unmounted one has nothing left in the kernel."""
        async with self._lock:
            if self._flush_kernel is not None and is_mounted:
                await self._flush_kernel()
            try:
                with disk_errors("commit"):
                    return await self._commit(description, policy)
            except ArtfsError as error:
                log.error("draft %s: %s", self._draft.record.id, error)
                with contextlib.suppress(OSError):  # on a full disk it cannot be noted
                    await in_thread(self._draft.note_error, str(error))
                raise

    async def _commit(self, description: str | None, policy: str) -> CommitResult:
        if not self._has_changes() and not self._draft.record.commit:
            base = self._draft.record.base
            with self.snapshot() as snapshot:
                left_out = await in_thread(snapshot.specials)
                return CommitResult(base if base >= 0 else None, False, left_out)
        results = await in_thread(Results, self._results)
        try:
            frozen, snapshot = await self._freeze()
            try:
                with _polite_threads():
                    rebased, left_out = await in_thread(
                        self._store, snapshot, results, description, policy
                    )
            finally:
                self.reading -= 1
                snapshot.close()
            if rebased.moves:
                await self._take_over(frozen, results, rebased)
            done = rebased.done
            await in_thread(self._stands_on_version, done.version)
        finally:
            self._contents.floors = None
            try:
                with trio.CancelScope(shield=True):
                    await in_thread(results.close)
            finally:
                self._garbage.thaw()
        # In any case: or the next statfs would find it all to be deleted, and wait for it.
        await self._garbage.collect(all_files=True, wait=True)
        return CommitResult(done.version, done.changed, left_out, rebased.onto)

    def _has_changes(self) -> bool:
        return self._journal.ask("SELECT 1 FROM changes LIMIT 1").fetchone() is not None

    async def _freeze(self) -> tuple[int, Snapshot]:
        async with self._gate.closed():
            await self._pause.over()
            self._space.require()
            self._inodes.save()
            frozen = self._journal.epoch
            self._journal.next_epoch()
            self._journal.commit()
            self._contents.floors = {}
            self._garbage.freeze(frozen)
            snapshot = Snapshot.take(self._journal.path, self._draft.repository.blobs)
            self.reading += 1
            return frozen, snapshot

    # In a thread

    def _store(
        self, snapshot: Snapshot, results: Results, description: str | None, policy: str
    ) -> tuple[Rebased, list[bytes]]:
        for left in reversed(range(_TRIES)):
            try:
                stored = self._store_once(snapshot, results, description, policy)
                return stored, snapshot.specials()
            except ObjectNotFound:
                if not left:
                    raise
        raise AssertionError

    def _store_once(
        self, snapshot: Snapshot, results: Results, description: str | None, policy: str
    ) -> Rebased:
        draft = self._draft
        results.clear()
        with PackWriter(draft.repository) as writer:
            data = Frozen(draft.data, draft.journal.shared_from)
            mine = Builder(snapshot, data, draft.repository, writer, results).root()
            rebasing = Rebasing(draft, snapshot, writer, mine, policy)
            if description is None:
                description = draft.record.description
            rebased = rebasing.commit(description)
        if draft.record.run:
            _tell_run(draft, rebased)
        if rebased.onto is not None:
            note_foreign(snapshot, mine, rebased.root, draft.repository.blobs, results)
        return rebased

    def _stands_on_version(self, number: int) -> None:
        # First: or a reset of the machine could leave a draft without what it is said to stand on.
        self._journal.sync()
        self._draft.update(base=number, commit="", landed=[], is_new=False, error="")

    # In the event loop again

    async def _take_over(self, frozen: int, results: Results, rebased: Rebased) -> None:
        """The draft stands on the new version now."""
        await self._pause.over()
        steps = _Steps(self._pending_rows, self._finish_taking, self._pause)
        self._space.require()
        if rebased.onto is not None:
            await self._adopt(frozen, results, rebased.root, steps)
        after = 0
        while rows := results.page(after, _ROWS):
            self._inodes.fetch([ino for ino, is_dir, _ in rows if not is_dir])
            for ino, is_dir, packed in rows:
                if is_dir:
                    self._journal.do("REPLACE INTO committed VALUES (?, ?)", (ino, packed))
                else:
                    self._stands_on(ino, packed, frozen)
                await steps.pause()
            after = rows[-1][0]
        # Only now: with a row too many, a directory is merely looked at again.
        at: Place | None = (0, b"")
        while at is not None:
            at = self._journal.clear_changes(at, _ROWS, frozen)  # newer ones are marked anew
            await steps.pause()
        for table, key in (("origins", "ino"), ("contested", "path")):
            while self._journal.clear(table, key, frozen, _ROWS):
                await steps.pause()
        self._finish_taking()

    def _pending_rows(self) -> int:
        return self._journal.pending_rows + self._inodes.unsaved

    def _finish_taking(self) -> None:
        self._finish_step()
        # If not, the next commit goes on here: there is no telling how much all of it takes.
        self._space.require()

    async def _adopt(self, frozen: int, results: Results, root: Entry, steps: _Steps) -> None:
        """Show what others changed."""
        adopting = Adopting(
            self._journal, self._inodes, self._names, self._contents, self._garbage, frozen,
            results, root, Mapped(self._handles, self._inodes, self._names, self._forget_kernel),
            self._handles, self._lengths,
        )  # fmt: skip
        after = 0
        while rows := results.foreign_page(after, _ROWS):
            for row in rows:
                await adopting.adopt(row)
                await steps.pause()
            after = rows[-1][0]
        self._finish_step()
        if adopting.contested:
            log.warning(
                "draft %s: %d names were changed here while a version with other changes of them"
                " was taken over; the next commit will say which",
                self._draft.record.id, adopting.contested,
            )  # fmt: skip
        if self._forget_kernel is not None:
            await self._forget_kernel(adopting.stale)

    def _finish_step(self) -> None:
        self._inodes.save()
        self._journal.commit()

    def _stands_on(self, ino: int, packed: bytes, frozen: int) -> None:
        """A file's content up to the frozen epoch is in the version."""
        inode = self._inodes.at_hand(ino)
        if inode is None:
            return  # deleted meanwhile
        assert self._contents.floors is not None
        entry = codec.unpack(packed)
        self._contents.discard(inode, [x for x in inode.layers if x.epoch <= frozen])
        inode.layers = [x for x in inode.layers if x.epoch > frozen]
        inode.base_len = min(entry.size, self._contents.floors.get(ino, entry.size))
        inode.lower = entry if inode.base_len else None
        self._inodes.touch(inode)

    def snapshot(self) -> _Reading:
        """The draft as it is now, for `status`; use it as a context manager."""
        self._finish_step()
        reading = _Reading(self, Snapshot.take(self._journal.path, self._draft.repository.blobs))
        self.reading += 1
        return reading


@contextlib.contextmanager
def _polite_threads() -> Iterator[None]:
    """Let the event loop have the interpreter soon after it asks for it: a request gives it up some
    times, at each query of the journal, and a listing some hundred times."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _tell_run(draft: Draft, rebased: Rebased) -> None:
    """List the version with the run that the draft is of; if that fails, it is logged."""
    run = parse_run(draft.record.run, ("", ""))
    recorder = Recorder(draft.repository.runs, run, joins=True)
    recorder.made(draft.record.key, rebased.done.record, rebased.done.changed)
    recorder.flush()


class _Reading:
    def __init__(self, committer: Committer, snapshot: Snapshot) -> None:
        self._committer = committer
        self._snapshot = snapshot

    def __enter__(self) -> Snapshot:
        return self._snapshot

    def __exit__(self, *_: object) -> None:
        self._snapshot.close()
        self._committer.reading -= 1


class _Steps:
    """Ends steps before they hold up others, or fill the journal's log."""

    def __init__(
        self, pending: Callable[[], int], finish: Callable[[], None], pause: Pause
    ) -> None:
        self._pending = pending
        self._finish = finish
        self._pause = pause
        self._began = time.monotonic()

    async def pause(self) -> None:
        if time.monotonic() - self._began > _STEP or self._pending() > _STEP_ROWS:
            self._finish()
            await trio.lowlevel.checkpoint()
            await self._pause.over()
            self._began = time.monotonic()
