"""A version, or a part of one, to a local directory.

What is there already and equal is kept, so an interrupted export goes on where it was; a file
appears under its name only when it is whole.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from blake3 import blake3

from artfs.errors import ArtfsError, SourceChanged, Unsupported
from artfs.format import walk
from artfs.repo import partial
from artfs.repo.blobs import Blobs
from artfs.repo.reading import children, drive
from artfs.repo.repository import Repository
from artfs.types import Entry, Kind

#: Called with (bytes, files) done since the last call.
Progress: TypeAlias = Callable[[int, int], None]


#: References of a directory that are fetched at one time: most of each is waiting for a server.
#: Google's library keeps ten connections, and warns of more.
_AT_ONCE = 8
#: References of a directory that are kept in memory.
_BATCH = 1000


class ExportFailed(ArtfsError):
    """The target directory does not take what is to be written."""


class _Stopped(Exception):
    """Something else went wrong, and is what is raised."""


class Export:
    """Writes entries below a directory. `patterns`: only paths that match one of these globs, or
    lie below a directory that does; none: everything. `may_miss_references`: leave out those whose
    source is gone or has changed."""

    def __init__(
        self,
        repository: Repository,
        patterns: Sequence[str] = (),
        progress: Progress | None = None,
        *,
        may_miss_references: bool = False,
    ) -> None:
        self._repository = repository
        self._may_miss_references = may_miss_references
        self._blobs = repository.blobs
        self._patterns = [os.fsencode(p).strip(b"/") for p in patterns]
        self._progress = progress or (lambda _bytes, _files: None)
        #: Files written, and files that were there and equal.
        self.written = 0
        self.kept = 0
        #: References that were left out, as paths: of schemes of which nothing is known, and those
        #: that may miss.
        self.skipped: list[bytes] = []
        # The directories on the way to where we are that were not made yet: with patterns, one
        # is made only when something in it is.
        self._waiting: list[bytes] = []
        self._stopped = threading.Event()

    def run(self, root: Entry, target: str) -> None:
        """Write a version's tree; references that nobody can read are left out (`skipped`).

        Raises `ExportFailed`, `Damaged`, `Unreachable`, `SourceChanged`, `SourceRefused`.
        """
        path = os.fsencode(target)
        if os.path.lexists(path) and not os.path.isdir(path):
            raise ExportFailed(target, "is not a directory")
        with _failures(target):
            os.makedirs(path, exist_ok=True)
            before = os.stat(path)
            make_writable(path, before)
            self._children(root, path, b"", selected=not self._patterns)
            if before.st_uid == os.geteuid():  # anybody else's directory keeps its mode
                if self._patterns:
                    os.chmod(path, stat.S_IMODE(before.st_mode))
                else:
                    _apply_attributes(root, path)

    def leaf(self, entry: Entry, target: str) -> None:
        """Write one file, or link, to a path; directories on the way are made.

        Raises as `run`; `Unsupported` of a reference that nobody can read.
        """
        path = os.path.abspath(os.fsencode(target))
        if entry.kind == Kind.REFERENCE:
            self._repository.references.require_readable(entry)
        with _failures(target):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self._leaf(entry, path)

    def _children(self, directory: Entry, path: bytes, below: bytes, selected: bool) -> None:
        if not self._waiting:  # else it may not be there yet
            partial.sweep(path, lambda: {e.name for e in children(directory, self._blobs)})
        references: list[tuple[Entry, bytes]] = []
        for entry in children(directory, self._blobs):
            inner = below + entry.name
            chosen = selected or any(fnmatch.fnmatchcase(inner, p) for p in self._patterns)
            target = path + b"/" + entry.name
            if entry.is_dir:
                self._directory(entry, target, inner, chosen)
            elif chosen and entry.kind == Kind.REFERENCE:
                references.append((entry, target))
                if len(references) == _BATCH:
                    self._references(references)
                    references = []
            elif chosen:
                self._leaf(entry, target)
        self._references(references)

    def _references(self, found: Sequence[tuple[Entry, bytes]]) -> None:
        """Write references of one directory, several at a time."""
        readable: list[tuple[Entry, bytes]] = []
        for entry, target in found:
            if self._can_read(entry):
                readable.append((entry, target))
            else:
                self.skipped.append(target)
        if not readable:
            return
        self._make_waiting()
        with ThreadPoolExecutor(min(len(readable), _AT_ONCE), "artfs-get") as threads:
            jobs = [threads.submit(self._file, entry, target) for entry, target in readable]
            try:
                for (entry, target), job in zip(readable, jobs, strict=True):
                    self._count(entry, target, job.result())
            except BaseException:
                self._stopped.set()
                threads.shutdown(cancel_futures=True)
                raise

    def _directory(self, entry: Entry, target: bytes, inner: bytes, chosen: bool) -> None:
        if not chosen and not self._may_hold_matches(inner):
            return
        self._waiting.append(target)
        if chosen:
            self._make_waiting()
        self._children(entry, target, inner + b"/", chosen)
        if self._waiting:
            self._waiting.pop()
        else:
            _apply_attributes(entry, target)

    def _make_waiting(self) -> None:
        for target in self._waiting:
            info = _lstat(target)
            if info is not None and stat.S_ISDIR(info.st_mode):
                make_writable(target, info)
                continue
            if info is not None:
                os.unlink(target)
            os.mkdir(target)
        self._waiting.clear()

    def _may_hold_matches(self, inner: bytes) -> bool:
        # What a pattern says before its first wildcard; a `*` matches `/` too.
        heads = (re.split(rb"[*?[]", pattern)[0] for pattern in self._patterns)
        below = inner + b"/"
        return any(head.startswith(below) or below.startswith(head) for head in heads)

    def _leaf(self, entry: Entry, target: bytes) -> None:
        if entry.kind == Kind.REFERENCE and not self._can_read(entry):
            self.skipped.append(target)
            return
        self._make_waiting()
        if entry.kind != Kind.SYMLINK:
            self._count(entry, target, self._file(entry, target))
            return
        info = _lstat(target)
        is_link = info is not None and stat.S_ISLNK(info.st_mode)
        if not is_link or os.readlink(target) != entry.target:
            self._symlink(entry, target, info)
        os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)
        self._progress(entry.size, 1)

    def _file(self, entry: Entry, target: bytes) -> bool | None:
        """Whether a file or reference was written, and not kept; None if it may miss, and does. In
        any thread."""
        info = _lstat(target)
        if info is not None and stat.S_ISREG(info.st_mode) and self._is_there(entry, target, info):
            _apply_attributes(entry, target)
            return False
        try:
            self._write(entry, target, info)
        except SourceChanged:
            if not self._may_miss_references:
                raise
            return None
        return True

    def _count(self, entry: Entry, target: bytes, is_written: bool | None) -> None:
        if is_written is None:
            self.skipped.append(target)
            return
        self.written += is_written
        self.kept += not is_written
        self._progress(entry.size, 1)

    def _can_read(self, reference: Entry) -> bool:
        try:
            self._repository.references.require_readable(reference)
        except Unsupported:
            return False
        return True

    def _is_there(self, entry: Entry, path: bytes, info: os.stat_result) -> bool:
        if entry.kind == Kind.FILE:
            return same_content(entry, path, info, self._blobs)
        if info.st_size != entry.size:
            return False
        with contextlib.suppress(PermissionError), open(path, "rb") as file:
            return self._repository.references.same(entry, iter(lambda: file.read(1 << 20), b""))
        return False

    @staticmethod
    def _symlink(entry: Entry, target: bytes, info: os.stat_result | None) -> None:
        _make_room(target, info)
        new = partial.new_name(os.path.dirname(target))
        os.symlink(entry.target, new)
        try:
            os.rename(new, target)
        except BaseException:
            os.unlink(new)
            raise

    def _write(self, entry: Entry, target: bytes, info: os.stat_result | None) -> None:
        _make_room(target, info)
        with partial.named_when_whole(os.path.dirname(target)) as (file, path):
            for piece in self._repository.content(entry):
                if self._stopped.is_set():
                    raise _Stopped
                left = memoryview(piece)
                while left:  # a disk that is nearly full takes a part, and says nothing
                    left = left[file.write(left) :]
            partial.flushed(file)
            _apply_attributes(entry, path)
            os.rename(path, target)


@contextlib.contextmanager
def _failures(target: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        name = os.fsdecode(error.filename) if error.filename else target
        hint = "free some space and run it again" if error.errno == errno.ENOSPC else ""
        raise ExportFailed(name, os.strerror(error.errno or 0), hint) from error


def same_content(entry: Entry, path: bytes, info: os.stat_result, blobs: Blobs) -> bool:
    """Whether a local regular file has the bytes of a version's; reads only the local one."""
    if info.st_size != entry.size:
        return False
    try:
        file = open(path, "rb")  # noqa: SIM115  # closed by the `with` below
    except PermissionError:
        return False  # of an earlier run, and write-only: to be replaced
    with file:
        position = 0
        while position < entry.size:
            for _, ref in drive(walk.chunks(entry, position, 16 << 20), blobs):
                if blake3(file.read(ref.size)).digest() != ref.digest:
                    return False
                position += ref.size
    return True


def _make_room(target: bytes, info: os.stat_result | None) -> None:
    if info is not None and stat.S_ISDIR(info.st_mode):
        os.rmdir(target)  # only if it is empty: other files are left alone


def _lstat(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def make_writable(path: bytes, info: os.stat_result) -> None:
    """Let its owner write to a directory, which may be a read-only one of an earlier run."""
    if info.st_mode & 0o700 != 0o700 and info.st_uid == os.geteuid():
        os.chmod(path, 0o700)


def _apply_attributes(entry: Entry, path: bytes) -> None:
    # A version has no owners: a set-ID program in it would run as whoever has written it here.
    os.chmod(path, entry.mode if entry.is_dir else entry.mode & ~(stat.S_ISUID | stat.S_ISGID))
    os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
