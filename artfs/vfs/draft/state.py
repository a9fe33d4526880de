"""Drafts to work on: STATE/drafts/<id>/ with draft.json, journal.sqlite, data/ and lock.

Everything here blocks, and is called before a mount begins, after it has ended, or in a thread.
Module `records` has what is asked of a draft without opening it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from pathlib import Path

import msgspec

from artfs.errors import NotFound
from artfs.format.record import VersionRecord
from artfs.repo.editing import empty_directory
from artfs.repo.records import now
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey
from artfs.vfs.draft import codec
from artfs.vfs.draft.journal import Journal
from artfs.vfs.draft.punching import can_punch
from artfs.vfs.draft.records import (
    DRAFTS,
    OPEN,
    RECORD,
    DraftRecord,
    path_of,
    read_record,
    sync_directory,
    take_lock,
    write_record,
)

#: Room for the journal that formats 1 and 2 kept free: now its log takes it.
_BALLAST = "ballast"
_JOURNAL = "journal.sqlite"


class Ending(msgspec.Struct, frozen=True):
    """What is to become of a draft that is unmounted: `mode` 'commit', by the policy
    `on_conflict`, 'keep' or 'discard'; '' and None: as it was mounted."""

    mode: str = ""
    on_conflict: str | None = None


class Draft:
    """A draft that this process holds the lock of. `close` releases it."""

    def __init__(
        self, path: Path, record: DraftRecord, journal: Journal, lock: int, repository: Repository
    ) -> None:
        self.path = path
        self.record = record
        self.journal = journal
        self.repository = repository
        self._lock = lock

    @property
    def closed(self) -> bool:
        """Whether this process has let go of it."""
        return self._lock < 0

    @property
    def data(self) -> Path:
        """The directory of data files."""
        return self.path / "data"

    def update(self, **fields: object) -> None:
        """Change fields of draft.json, durably."""
        record = msgspec.structs.replace(self.record, **fields)
        write_record(self.path, record)
        self.record = record  # not before: a commit's id counts only once it is on disk

    def note_error(self, error: str) -> None:
        """Remember why the last commit failed."""
        # A path in it need not be UTF-8, but draft.json is.
        self.update(error=error.encode("utf-8", "backslashreplace").decode())

    def close(self) -> None:
        """Commit the journal and let others have the draft. Idempotent."""
        if self._lock >= 0:
            try:
                self.journal.close()
            finally:
                self._unlock()

    def abandon(self) -> None:
        """Let go without committing anything, as a kill would."""
        self.journal.abandon()
        self._unlock()

    def _unlock(self) -> None:
        os.close(self._lock)
        self._lock = -1

    def finish(self, state: str) -> None:
        """The draft has ended: keep only its record."""
        self.update(state=state, commit="", landed=[], error="")
        self.close()
        _remove_content(self.path)

    def discard(self) -> None:
        """Delete the draft."""
        self.close()
        shutil.rmtree(self.path)


def create_draft(
    state: Path,
    repository: Repository,
    key: ArtifactKey,
    base: VersionRecord | None,
    type: str = "",  # noqa: A002  # the word of the contract
    description: str = "",
    run: str = "",
) -> Draft:
    """A new draft over a version, or (None) over nothing, of a run if there is one.

    Raises `OSError`.
    """
    number = base.version if base is not None else repository.catalog.newest_number(key)
    record = DraftRecord(
        id=secrets.token_hex(4), store=repository.store.url, entity=key.entity,
        project=key.project, name=key.name, type=type, description=description, base=number,
        created=now("microseconds"), is_new=base is None, run=run,
    )  # fmt: skip
    path = state / DRAFTS / record.id
    path.mkdir(parents=True, mode=0o700)  # others may not read what is in files closed to them
    (path / "data").mkdir(mode=0o700)
    lock = take_lock(path, record.id)
    try:
        journal = Journal(path / _JOURNAL)
        root = empty_directory(mtime_ns=time.time_ns())
        if base is not None:
            root = repository.root(base)
        journal.do("INSERT INTO grafts VALUES (0, ?)", (codec.pack(root),))
        if not can_punch(path / "data"):
            journal.share_nothing()
        journal.commit()
        journal.sync()
        sync_directory(path)
        write_record(path, record)  # last: what has a record is whole
        sync_directory(path.parent)
    except BaseException:
        os.close(lock)
        shutil.rmtree(path, ignore_errors=True)
        raise
    return Draft(path, record, journal, lock, repository)


def open_draft(state: Path, draft_id: str, repository: Repository) -> Draft:
    """A draft that is there, to go on with.

    Raises `NotFound` (also if it has ended), `InUse`, `Damaged`.
    """
    path = path_of(state, draft_id)
    lock = take_lock(path, draft_id)
    try:
        record = read_record(path)
        if record.state != OPEN:
            raise NotFound(f"draft {draft_id}", f"has ended: {record.state}")
        (path / _BALLAST).unlink(missing_ok=True)
        journal = Journal(path / _JOURNAL)
        sync_directory(path)  # it may have made a new log
        return Draft(path, record, journal, lock, repository)
    except BaseException:
        os.close(lock)
        raise


def _remove_content(path: Path) -> None:
    shutil.rmtree(path / "data", ignore_errors=True)
    for entry in path.iterdir():
        if entry.name not in (RECORD, "lock"):
            entry.unlink(missing_ok=True)
