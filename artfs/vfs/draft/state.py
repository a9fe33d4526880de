"""Drafts on disk: STATE/drafts/<id>/ with draft.json, journal.sqlite, data/ and lock.

Everything here blocks, and is called before a mount begins, after it has ended, or in a thread.
`draft.json` is replaced whole, atomically and durably. Whoever has `lock` locked is the one writer.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import time
from pathlib import Path

import msgspec

from artfs.errors import Damaged, InUse, NotFound
from artfs.format.record import VersionRecord
from artfs.repo.editing import empty_directory
from artfs.repo.labels import now
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey
from artfs.vfs.draft import codec
from artfs.vfs.draft.journal import Journal
from artfs.vfs.draft.punching import can_punch

_DRAFTS = "drafts"
#: Room for the journal that formats 1 and 2 kept free: now its log takes it.
_BALLAST = "ballast"
#: What `create_draft` makes. Nothing else may become a path: drafts are deleted, with all below.
_ID = re.compile(r"[0-9a-f]{8}")
_RECORD = "draft.json"
_JOURNAL = "journal.sqlite"
#: A draft that ended is listed this long, for those who ask what became of it.
_REMEMBERED = 7 * 86400

OPEN, COMMITTED, UNCHANGED = "open", "committed", "unchanged"


class DraftRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`draft.json`.

    `base`: the newest version that the draft contains or replaces, or -1. `commit`: id of a commit
    that may or may not have reached the store, so that trying again finds its version. `landed`:
    versions of this draft, after `base`, that the draft has not been made to stand on yet.
    `is_new`: nothing of `base` is in the draft, which is over nothing. `state`: 'open', or what
    became of the draft when it was unmounted: 'committed' (as `base`), 'unchanged'. `run`: the run
    whose versions the draft's are, ENTITY/PROJECT/ID, or empty.
    """

    format: int = 1
    id: str
    store: str
    entity: str
    project: str
    name: str
    type: str = ""
    description: str = ""
    base: int = -1
    created: str
    commit: str = ""
    landed: list[int] = []
    is_new: bool = False
    run: str = ""
    state: str = OPEN
    error: str = ""

    @property
    def key(self) -> ArtifactKey:
        """The artifact that the draft is to be a version of."""
        return ArtifactKey(self.entity, self.project, self.name)


class DraftInfo(msgspec.Struct, frozen=True):
    """What `artfs drafts` shows. `state` is 'mounted', 'kept', 'committed' or 'unchanged'; `size`
    what it takes on disk; `age` in seconds."""

    record: DraftRecord
    state: str
    age: float
    size: int


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
        _write_record(self.path, record)
        self.record = record  # not before: a commit's id counts only once it is on disk

    def note_error(self, error: str) -> None:
        """Remember why the last commit failed."""
        # A path in it need not be UTF-8, but draft.json is.
        self.update(error=error.encode("utf-8", "backslashreplace").decode())

    def close(self) -> None:
        """Commit the journal and let others have the draft. Idempotent."""
        if self._lock >= 0:
            self.journal.close()
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
        created=now(), is_new=base is None, run=run,
    )  # fmt: skip
    path = state / _DRAFTS / record.id
    path.mkdir(parents=True, mode=0o700)  # others may not read what is in files closed to them
    (path / "data").mkdir(mode=0o700)
    lock = _take_lock(path, record.id)
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
        _sync_directory(path)
        _write_record(path, record)  # last: what has a record is whole
        _sync_directory(path.parent)
    except BaseException:
        os.close(lock)
        shutil.rmtree(path, ignore_errors=True)
        raise
    return Draft(path, record, journal, lock, repository)


def open_draft(state: Path, draft_id: str, repository: Repository) -> Draft:
    """A draft that is there, to go on with.

    Raises `NotFound` (also if it has ended), `InUse`, `Damaged`.
    """
    path = _path_of(state, draft_id)
    lock = _take_lock(path, draft_id)
    try:
        record = _read_record(path)
        if record.state != OPEN:
            raise NotFound(f"draft {draft_id}", f"has ended: {record.state}")
        (path / _BALLAST).unlink(missing_ok=True)
        journal = Journal(path / _JOURNAL)
        _sync_directory(path)  # it may have made a new log
        return Draft(path, record, journal, lock, repository)
    except BaseException:
        os.close(lock)
        raise


def read_draft(state: Path, draft_id: str) -> DraftRecord:
    """The record of a draft, whoever has it. Raises `NotFound`, `Damaged`."""
    return _read_record(_path_of(state, draft_id))


def _path_of(state: Path, draft_id: str) -> Path:
    """Where the draft is that a user has named. Raises `NotFound`, also of what is no id."""
    path = state / _DRAFTS / draft_id
    if not _ID.fullmatch(draft_id) or path.is_symlink() or not (path / _RECORD).is_file():
        raise NotFound(f"draft {draft_id}", "no such draft", "artfs drafts lists them")
    return path


def discard_draft(state: Path, draft_id: str) -> None:
    """Delete a draft that nobody has mounted. Raises `NotFound`, `InUse`."""
    path = _path_of(state, draft_id)
    os.close(_take_lock(path, draft_id))
    shutil.rmtree(path)


def list_drafts(state: Path) -> list[DraftInfo]:
    """All drafts, oldest first; forgets those that ended long ago."""
    found = []
    directory = state / _DRAFTS
    for path in directory.iterdir() if directory.is_dir() else ():
        try:
            record = _read_record(path)
        except (NotFound, Damaged):
            continue  # being made, or deleted, at this moment
        age = time.time() - (path / _RECORD).stat().st_mtime
        if record.state != OPEN and age > _REMEMBERED:
            shutil.rmtree(path, ignore_errors=True)
            continue
        found.append(DraftInfo(record, _state(path, record), _age(record), _size(path)))
    return sorted(found, key=lambda info: info.record.created)


def _state(path: Path, record: DraftRecord) -> str:
    if record.state != OPEN:
        return record.state
    try:
        os.close(_take_lock(path, record.id))
    except InUse:
        return "mounted"
    return "kept"


def _age(record: DraftRecord) -> float:
    made = time.strptime(record.created, "%Y-%m-%dT%H:%M:%SZ")
    return max(0.0, time.time() - (time.mktime(made) - time.timezone))


def _size(path: Path) -> int:
    total = 0
    for directory in (path, path / "data"):
        if directory.is_dir():
            with os.scandir(directory) as entries:
                total += sum(e.stat(follow_symlinks=False).st_blocks * 512 for e in entries)
    return total


def _take_lock(path: Path, draft_id: str) -> int:
    try:
        fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise NotFound(f"draft {draft_id}", "no such draft", "artfs drafts lists them") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise InUse(f"draft {draft_id}", "is mounted already") from None
    return fd


def _read_record(path: Path) -> DraftRecord:
    try:
        return msgspec.json.decode((path / _RECORD).read_bytes(), type=DraftRecord)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"draft {path.name}", "no such draft", "artfs drafts lists them") from None
    except msgspec.MsgspecError as error:
        raise Damaged(str(path / _RECORD), f"cannot be decoded ({error})") from error


def _write_record(path: Path, record: DraftRecord) -> None:
    new = path / f"{_RECORD}.new"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        data = msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"
        while data:  # a disk that fills up may take a part
            data = data[os.write(fd, data) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    new.rename(path / _RECORD)
    _sync_directory(path)


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _remove_content(path: Path) -> None:
    shutil.rmtree(path / "data", ignore_errors=True)
    for entry in path.iterdir():
        if entry.name not in (_RECORD, "lock"):
            entry.unlink(missing_ok=True)
