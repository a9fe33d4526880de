"""Drafts as they lie on disk, for those who only look: draft.json, who has the lock, the list.

Loaded by commands that end at once, so it stays away from the journal and the store.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from datetime import datetime
from pathlib import Path

import msgspec

from artfs.errors import Damaged, InUse, NotFound
from artfs.types import ArtifactKey

#: The directory of all drafts, and the file of each that says what it is.
DRAFTS, RECORD = "drafts", "draft.json"
#: What `create_draft` makes. Nothing else may become a path: drafts are deleted, with all below.
_ID = re.compile(r"[0-9a-f]{8}")
#: A draft that ended is listed this long, for those who ask what became of it.
_REMEMBERED = 7 * 86400

OPEN, COMMITTED, UNCHANGED = "open", "committed", "unchanged"


class DraftRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`draft.json`.

    `base`: the newest version that the draft contains or replaces, or -1. `commit`: id of a commit
    that may or may not have reached the store, so that trying again finds its version. `landed`:
    versions of this draft, after `base`, that the draft has not been made to stand on yet. `boot`:
    the one of the machine in which these two were noted.
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
    boot: str = ""
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


def read_draft(state: Path, draft_id: str) -> DraftRecord:
    """The record of a draft, whoever has it. Raises `NotFound`, `Damaged`."""
    return read_record(path_of(state, draft_id))


def path_of(state: Path, draft_id: str) -> Path:
    """Where the draft is that a user has named. Raises `NotFound`, also of what is no id."""
    path = state / DRAFTS / draft_id
    if not _ID.fullmatch(draft_id) or path.is_symlink() or not (path / RECORD).is_file():
        raise NotFound(f"draft {draft_id}", "no such draft", "artfs drafts lists them")
    return path


def discard_draft(state: Path, draft_id: str) -> None:
    """Delete a draft that nobody has mounted. Raises `NotFound`, `InUse`."""
    path = path_of(state, draft_id)
    os.close(take_lock(path, draft_id))
    shutil.rmtree(path)


def list_drafts(state: Path) -> list[DraftInfo]:
    """All drafts, oldest first; forgets those that ended long ago."""
    found = []
    directory = state / DRAFTS
    for path in directory.iterdir() if directory.is_dir() else ():
        try:
            record = read_record(path)
        except (NotFound, Damaged):
            continue  # being made, or deleted, at this moment
        age = time.time() - (path / RECORD).stat().st_mtime
        if record.state != OPEN and age > _REMEMBERED:
            shutil.rmtree(path, ignore_errors=True)
            continue
        found.append(DraftInfo(record, _state(path, record), _age(record), _size(path)))
    return sorted(found, key=lambda info: info.record.created)


def _state(path: Path, record: DraftRecord) -> str:
    if record.state != OPEN:
        return record.state
    try:
        os.close(take_lock(path, record.id))
    except InUse:
        return "mounted"
    return "kept"


def _age(record: DraftRecord) -> float:
    return max(0.0, time.time() - datetime.fromisoformat(record.created).timestamp())


def _size(path: Path) -> int:
    total = 0
    for directory in (path, path / "data"):
        if directory.is_dir():
            with os.scandir(directory) as entries:
                total += sum(e.stat(follow_symlinks=False).st_blocks * 512 for e in entries)
    return total


def take_lock(path: Path, draft_id: str) -> int:
    """Become the draft's one writer; the descriptor that is it. Raises `NotFound`, `InUse`."""
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


def read_record(path: Path) -> DraftRecord:
    """The record in a draft's directory. Raises `NotFound`, `Damaged`."""
    try:
        return msgspec.json.decode((path / RECORD).read_bytes(), type=DraftRecord)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"draft {path.name}", "no such draft", "artfs drafts lists them") from None
    except msgspec.MsgspecError as error:
        raise Damaged(str(path / RECORD), f"cannot be decoded ({error})") from error


def write_record(path: Path, record: DraftRecord) -> None:
    """Replace it, atomically and durably. Raises `OSError`."""
    new = path / f"{RECORD}.new"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        data = msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"
        while data:  # a disk that fills up may take a part
            data = data[os.write(fd, data) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    new.rename(path / RECORD)
    sync_directory(path)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. Raises `OSError`."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
