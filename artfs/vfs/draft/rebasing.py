"""Committing a draft's tree where the artifact has moved on meanwhile. Blocks; runs in a thread.

The draft's changes since its base and those of the newest version are merged by path, and the
result is put on the newest version; if somebody is faster, again on his. Only the version that is
put is ever seen by others: a merge that is overtaken leaves nodes that nobody refers to.

A version of an earlier try, whose answer was lost or after which the daemon died, may be there, and
the draft may have been edited since. Versions of the draft's own are known by the commit's id, and
by `landed` in draft.json from when they are found until the draft stands on them; what is between
is the work of others, to be merged as it was then.
"""

from __future__ import annotations

import secrets

import msgspec

from artfs.errors import CommitConflict, Conflict, NotFound
from artfs.format.record import VersionRecord
from artfs.repo.commit import Committed
from artfs.repo.commit import commit as commit_version
from artfs.repo.labels import Labels
from artfs.repo.merge import merge
from artfs.repo.packing import PackWriter
from artfs.repo.process import boot
from artfs.types import Entry
from artfs.vfs.draft.policy import FAIL, OURS
from artfs.vfs.draft.snapshot import Snapshot
from artfs.vfs.draft.state import Draft


class Rebased(msgspec.Struct, frozen=True):
    """A commit's outcome: its version's `root`, and `onto` which version of others it was put
    (None: nobody else had made one). `moves`: the draft does not stand on that version yet."""

    done: Committed
    root: Entry
    onto: int | None
    moves: bool


class Rebasing:
    """One try to commit the tree `mine`, which `snapshot` shows."""

    def __init__(
        self, draft: Draft, snapshot: Snapshot, writer: PackWriter, mine: Entry, policy: str
    ) -> None:
        self._draft = draft
        self._key = draft.record.key
        self._catalog = draft.repository.catalog
        self._snapshot = snapshot
        self._writer = writer
        self._policy = policy
        self._onto: int | None = None
        #: The draft's tree on what version `_at` has, whose tree is `_below`.
        self._root = mine
        self._at = draft.record.base
        # Not from the journal: after a kill it may stand half on a later version already.
        base = self._base_ever()
        self._below = base.root.entry() if base is not None else snapshot.base()
        self._metadata = {} if base is None or draft.record.is_new else self._metadata_of(base)

    def _base_ever(self) -> VersionRecord | None:
        """The draft's base, also if it was deleted."""
        try:
            return self._catalog.version_ever(self._key, self._at) if self._at >= 0 else None
        except NotFound:
            return None

    def _version(self, number: int) -> VersionRecord | None:
        try:
            return self._catalog.version(self._key, number)
        except NotFound:
            return None

    def _metadata_of(self, version: VersionRecord) -> dict[str, object]:
        return self._catalog.labels.of(self._key, version).metadata

    def commit(self, description: str) -> Rebased:
        """Put the tree into the store as the next version.

        Raises `CommitConflict` where paths were changed on both sides, `Conflict` where the policy
        is to fail, and what `artfs.repo.commit.commit` raises.
        """
        self._refuse(self._snapshot.contested())
        own = self._own_versions()
        for version in own:
            if version.base != self._at:
                self._put_on(version.base)
            self._at, self._below = version.version, version.root.entry()
            self._metadata = self._metadata_of(version)
        done = self._put(description)
        if own and not done.changed:
            done = msgspec.structs.replace(done, changed=done.version == own[-1].version)
        moves = done.version != self._draft.record.base
        if moves:
            self._writer.finish()  # if it was not: the draft is to stand on what was stored now
        return Rebased(done, self._root, self._onto, moves)

    def _put(self, description: str) -> Committed:
        newest = self._at
        while True:
            try:
                return self._record(description, newest)
            except Conflict:
                before, newest = newest, self._newest()
                if newest == before:
                    raise  # about something else
            # Below it where that was deleted, and nobody has made another: there is no work of
            # others to be put on, and what the draft shows of it stays.
            if newest > self._at:
                self._follow(newest)

    def _own_versions(self) -> list[VersionRecord]:
        """The draft's versions that it does not stand on yet; a commit id is used for one only."""
        record = self._draft.record
        # After a reset of the machine the draft may lack what such a version has, and that was not
        # synced: it is taken for the work of others, or the next version would undo it.
        is_whole = record.boot == boot()
        landed = list(record.landed) if is_whole else []
        if record.commit and is_whole:
            first = max([record.base, *landed]) + 1
            for number in range(first, self._catalog.newest_number(self._key) + 1):
                version = self._version(number)
                if version is not None and version.commit == record.commit:
                    landed.append(number)
                    break
        if not (record.commit and is_whole) or landed != record.landed:
            self._draft.update(commit=secrets.token_hex(16), landed=landed, boot=boot())
        # One that was deleted meanwhile counts for nothing any more.
        found = [self._version(number) for number in landed]
        return [version for version in found if version is not None]

    def _newest(self) -> int:
        try:
            return self._catalog.latest(self._key)
        except NotFound:
            return -1

    def _follow(self, newest: int) -> None:
        if self._policy == FAIL:
            raise Conflict(
                f"artifact '{self._key}'",
                f"moved on to v{newest} since v{self._at}" if self._at >= 0
                else f"exists already, up to v{newest}",
                "the draft is kept; commit with --on-conflict=rebase, or ours",
            )  # fmt: skip
        self._put_on(newest)
        self._at = newest

    def _put_on(self, number: int) -> None:
        """Merge what others made of `_below` up to a version into the tree."""
        version = self._catalog.version_ever(self._key, number)
        theirs = version.root.entry()
        self._writer.settle()  # what was built is to be read
        merged = merge(
            self._below, self._root, theirs, self._writer, self._draft.repository.blobs,
            ours=self._policy == OURS,
        )  # fmt: skip
        self._refuse(merged.conflicts)
        self._root, self._below, self._onto = merged.root, theirs, number
        self._metadata = self._metadata_of(version)

    def _refuse(self, paths: list[bytes]) -> None:
        if paths and self._policy != OURS:
            raise CommitConflict(f"artifact '{self._key}'", paths)

    def _record(self, description: str, newest: int) -> Committed:
        record = self._draft.record
        return commit_version(
            self._draft.repository, self._key, self._root, self._writer,
            commit_id=record.commit, base=newest, parent=self._at, type=record.type,
            labels=Labels(description, self._metadata), run=record.run,
        )  # fmt: skip
