"""What a draft has no use for any more, and when it may go.

A data file is deleted only when the journal that does not name it is durable (or a reset machine
would find the name and no data), and not while a commit, or a read that was planned before, may
still read it. Event loop only.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter, deque
from collections.abc import Iterator

import trio

from artfs.vfs.draft.codec import PARTIAL, Inode
from artfs.vfs.draft.datafiles import NEVER, DataFiles
from artfs.vfs.draft.gate import Pause
from artfs.vfs.draft.inodes import Inodes
from artfs.vfs.draft.journal import Journal
from artfs.vfs.draft.space import Space
from artfs.vfs.draft.threads import disk_errors, in_thread

log = logging.getLogger(__name__)

#: Data files, and their bytes, that wait together for one sync of the journal.
_BATCH, _BATCH_BYTES = 512, 64 << 20
#: The first where the disk has little room.
_BATCH_LOW = 64
#: Data files that are deleted between two looks at the event loop: a commit may leave millions.
_AT_ONCE = 4096
#: Rows changed at a time, so that nobody waits long and the journal's log need not grow by much.
_ROWS = 200

_SWEEP = (
    "DELETE FROM {table} WHERE {column} = ? AND name IN"
    " (SELECT name FROM {table} WHERE {column} = ? LIMIT ?)"
)


class Garbage:
    """Dead inodes and data files without an owner."""

    def __init__(
        self, journal: Journal, inodes: Inodes, data: DataFiles, space: Space, pause: Pause
    ) -> None:
        self._journal = journal
        self._space = space
        self._pause = pause
        #: Dead inodes that were let go of in the pause.
        self._let_go: list[Inode] = []
        self._inodes = inodes
        self._data = data
        self._files: deque[tuple[int, int]] = deque()
        self._bytes = 0
        #: Those that a commit may still read.
        self._held: list[tuple[int, int]] = []
        self._directories: deque[int] = deque()
        #: Layers with ranges in table `extents` yet. A kill leaves these rows to nobody.
        self._layers: deque[tuple[int, int]] = deque()
        #: Inodes without a name that are open or known to the kernel.
        self.dead: dict[int, Inode] = {}
        #: Layers up to this epoch may be read by a commit.
        self._frozen = 0
        #: Reads under way, by inode.
        self._reads: Counter[int] = Counter()
        self._collecting = trio.Lock()

    def add(self, ino: int, epoch: int, size: int) -> None:
        """A layer, of at most `size` bytes, belongs to no file any more."""
        if epoch <= self._frozen:
            self._held.append((ino, epoch))
            return
        self._files.append((ino, epoch))
        self._bytes += size

    def drop_extents(self, ino: int, epoch: int) -> None:
        """The ranges of a layer are not needed any more, as of the inode's next saving. Many of
        them go little by little, or noting it would take room that a full disk does not have."""
        if self._journal.drop_extents(ino, epoch, _ROWS) == _ROWS:
            self._layers.append((ino, epoch))

    def freeze(self, epoch: int) -> None:
        """Keep the layers up to an epoch until `thaw`: a commit reads them."""
        self._frozen = epoch
        self._held = [file for file in self._files if file[1] <= epoch]
        self._files = deque(file for file in self._files if file[1] > epoch)

    def thaw(self) -> None:
        """There is no commit any more."""
        self._frozen = 0
        self._files += self._held
        self._held = []

    @contextlib.contextmanager
    def kept(self, ino: int) -> Iterator[None]:
        """While layers of an inode are being read, though it may lose them meanwhile."""
        self._reads[ino] += 1
        try:
            yield
        finally:
            self._reads[ino] -= 1
            if not self._reads[ino]:
                del self._reads[ino]

    def lose_name(self, inode: Inode, now: int) -> None:
        """An inode has a name less, as of `now` (ns); a directory has but one."""
        inode.ctime_ns = now
        inode.nlink = 0 if inode.is_dir else inode.nlink - 1
        self._inodes.touch(inode)
        if inode.nlink:
            return
        self.dead[inode.ino] = inode
        self._journal.do("INSERT OR IGNORE INTO dead VALUES (?)", (inode.ino,))
        self._journal.do("DELETE FROM origins WHERE ino = ?", (inode.ino,))

    def bury_if_free(self, inode: Inode) -> None:
        """Drop a dead inode that neither a handle nor the kernel holds; after the pause, as those
        who let go of it wait for nothing."""
        if self._pause.is_on:
            self._let_go.append(inode)
            return
        if inode.ino not in self.dead or inode.opens or not inode.forgotten:
            return
        del self.dead[inode.ino]
        self.bury(inode)

    def go_on(self) -> None:
        """The pause is over."""
        let_go, self._let_go = self._let_go, []
        for inode in let_go:
            self.bury_if_free(inode)

    def bury(self, inode: Inode) -> None:
        """Drop an inode without a name."""
        self._inodes.drop(inode)
        if inode.is_dir:
            self._directories.append(inode.ino)
            return
        for layer in inode.layers:
            self._data.close(inode.ino, layer.epoch)
            self.add(inode.ino, layer.epoch, inode.size)
            if layer.limit == PARTIAL:
                self.drop_extents(inode.ino, layer.epoch)
        self._journal.do("DELETE FROM dead WHERE ino = ?", (inode.ino,))

    def _full(self) -> bool:
        batch = _BATCH_LOW if self._space.is_low else _BATCH
        return len(self._files) >= batch or self._bytes >= _BATCH_BYTES

    def wants_collecting(self) -> bool:
        """Whether enough has gathered."""
        if self._files or self._directories or self._layers:
            return bool(self._directories or self._layers) or self._full()
        return False

    async def collect(self, all_files: bool = False, wait: bool = False) -> None:
        """Delete what may go, data files if enough of them have gathered or `all_files`.

        Waits for the disk; one at a time, others return at once unless they `wait`.
        """
        if self._collecting.locked() and not wait:
            return
        async with self._collecting:
            self._sweep_directory()
            self._sweep_layer()
            if all_files or self._full():
                await self._delete_files()

    def _sweep_directory(self) -> None:
        """Delete some rows about a removed directory."""
        if not self._directories:
            return
        ino = self._directories[0]
        deleted = 0
        for table, column in (("dentries", "parent"), ("changes", "dir")):
            sql = _SWEEP.format(table=table, column=column)
            deleted += self._journal.do(sql, (ino, ino, _ROWS)).rowcount
        self._journal.forget_dentries()
        if not deleted:
            self._journal.do("DELETE FROM committed WHERE dir = ?", (ino,))
            self._journal.do("DELETE FROM dead WHERE ino = ?", (ino,))
            self._directories.popleft()

    def _sweep_layer(self) -> None:
        """Delete some ranges of a layer that is gone."""
        if self._layers and self._journal.drop_extents(*self._layers[0], _ROWS) < _ROWS:
            self._layers.popleft()

    async def _delete_files(self) -> None:
        self._bytes = 0
        left = len(self._files)
        while left > 0:
            with disk_errors("draft"):
                self._inodes.save()
                self._journal.commit()
            batch = [self._files.popleft() for _ in range(min(left, _AT_ONCE, len(self._files)))]
            left -= _AT_ONCE
            ready: list[tuple[int, int]] = []
            for file in batch:
                may_go = file[1] > self._frozen and file[0] not in self._reads
                (ready if may_go else self._files).append(file)
            if ready:
                # What has been done is done, and the next mount deletes what stays.
                await in_thread(self._remove, ready, self._journal.epoch)

    def _remove(self, files: list[tuple[int, int]], writing: int) -> bool:
        """Whether all of them could be deleted."""
        try:
            self._journal.sync()
            self._data.remove(files, writing)
        except OSError as error:
            log.warning("data files that are not needed any more stay: %s", error)
            return False
        return True

    def sweep_leftovers(self) -> None:
        """After a kill: bury what was dead, delete data files that nothing names. Blocks."""
        for (ino,) in self._journal.ask("SELECT ino FROM dead").fetchall():
            inode = self._inodes.at_hand(ino)
            if inode is not None:
                self.bury(inode)
            else:
                self._directories.append(ino)
            if self._journal.pending_rows >= _ROWS:
                self._journal.commit()
        self._journal.commit()
        lost = []
        for ino, epoch in self._data.layers():
            inode = self._inodes.at_hand(ino)
            if inode is None or all(layer.epoch != epoch for layer in inode.layers):
                lost.append((ino, epoch))
        self._files.clear()
        if not self._remove(lost, NEVER):
            # Nobody is to meet them who gets the number of an inode that the journal does not know.
            newest = max((epoch for _, epoch in lost), default=0)
            while self._journal.epoch <= newest:
                self._journal.next_epoch()
            self._journal.commit()
