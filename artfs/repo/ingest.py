"""From local files to a stored tree, read once, front to back, in directory order.

Two threads read and hash files ahead, in batches; the caller's thread walks, looks blobs up and
builds directories; the pack writer's thread writes. Files of a directory are stored side by side.
"""

from __future__ import annotations

import fnmatch
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

import msgspec
from blake3 import blake3

from artfs.errors import InvalidValue, NotFound, SourceChanged
from artfs.format import digest as digests
from artfs.format import walk
from artfs.format.build import ListBuilder, Root
from artfs.format.node import Run
from artfs.repo import chunking
from artfs.repo.blobs import Blobs
from artfs.repo.editing import edit, new_directory
from artfs.repo.packing import PackWriter
from artfs.repo.reading import children, drive
from artfs.types import NAME_MAX, Entry, Kind, kept_time, path_shown

#: Files read by a thread at one go, and how many such batches may wait to be stored: 64 batches
#: of small files keep a disk busy, and `_BATCH_BYTES` bounds their memory.
_BATCH_FILES = 32
_BATCH_BYTES = 4 << 20
_AHEAD = 8
#: A file that changes while it is read is read again so many times.
_TRIES = 5

#: Called with (bytes, files) stored since the last call.
Progress: TypeAlias = Callable[[int, int], None]
_Piece: TypeAlias = tuple[memoryview, bytes]


class _Loaded(msgspec.Struct):
    """A file as a reading thread got it; `pieces` None: too large, read while storing."""

    path: bytes
    name: bytes
    info: os.stat_result
    pieces: list[_Piece] | None


class _Frame(msgspec.Struct):
    """A directory being stored."""

    name: bytes
    info: os.stat_result
    entries: list[Entry]


_Event: TypeAlias = _Frame | Future[list[_Loaded]] | None


class Ingest:
    """Stores local paths through a `PackWriter`.

    `exclude`: glob patterns, matched against names and against paths below the argument.
    `forbidden`: a directory that must not be stored (the store itself).
    `follows_out`: of links that lead out of a directory, so that they would lead nowhere from where
    a version is written to, what they lead to is stored. Others, and broken ones, stay links.
    """

    def __init__(
        self,
        writer: PackWriter,
        exclude: Sequence[str] = (),
        forbidden: str | None = None,
        progress: Progress | None = None,
        *,
        follows_out: bool = False,
    ) -> None:
        self._writer = writer
        self._follows_out = follows_out
        #: The directory that is being stored, without links in its path.
        self._top = b""
        self._exclude = [os.fsencode(pattern) for pattern in exclude]
        self._forbidden = forbidden and os.path.realpath(forbidden)
        self._progress = progress or (lambda _bytes, _files: None)

    def paths(self, paths: Sequence[str]) -> Entry:
        """A root directory with all of `paths`: a directory's contents, a file under its name.

        Raises `SourceChanged` naming what cannot be stored; `InvalidValue` where two paths claim
        one name; `OSError` (ENOSPC), `Unreachable` from the store.
        """
        if len(paths) == 1 and os.path.isdir(paths[0]):
            return self._finished(self._directory(os.fsencode(paths[0])))
        entries: dict[bytes, Entry] = {}
        for path in map(os.fsencode, paths):
            news = self._directory(path).entries if os.path.isdir(path) else [self._one(path)]
            for entry in news:
                if entry.name in entries:
                    raise InvalidValue(
                        f"'{path_shown(entry.name)}'", "comes from two of the paths given"
                    )
                entries[entry.name] = entry
        ordered = [entries[name] for name in sorted(entries)]
        return new_directory(b"", 0o755, time.time_ns(), ordered, self._writer)

    def file(self, path: str, name: bytes) -> Entry:
        """A file, or the one that a link leads to, as the entry `name`. Raises as `paths`."""
        return self._file(_load(os.fsencode(path), name, 0))

    def data(self, data: bytes, name: bytes) -> Entry:
        """Bytes that are a file of no disk, made now, as the entry `name`."""
        root = self._small(_cut(memoryview(data)))
        return Entry(
            name, Kind.FILE, 0o644, time.time_ns(),
            root.size, 0, root.digest, root.blob, root.height,
        )  # fmt: skip

    def _one(self, path: bytes) -> Entry:
        name = os.path.basename(path.rstrip(b"/"))
        info = _examined(path, os.lstat)
        if stat.S_ISLNK(info.st_mode):
            return _link(path, name)
        if not stat.S_ISREG(info.st_mode):
            raise _special(path, info.st_mode)
        return self._file(_load(path, name, 0))

    def _directory(self, path: bytes) -> _Frame:
        if self._forbidden and self._inside(path):
            raise InvalidValue(os.fsdecode(path), "contains the store, or is in it")
        self._top = os.path.realpath(path)
        stack: list[_Frame] = []
        with ThreadPoolExecutor(2, thread_name_prefix="artfs-read") as readers:
            pending: deque[_Event] = deque()
            try:
                for event in self._walk(path, b"", b"", readers):
                    pending.append(event)
                    while len(pending) > _AHEAD:
                        self._store(stack, pending.popleft())
                while len(pending) > 1:
                    self._store(stack, pending.popleft())
            except BaseException:
                readers.shutdown(wait=False, cancel_futures=True)
                raise
        return stack.pop()

    def _inside(self, path: bytes) -> bool:
        assert self._forbidden
        real = os.path.realpath(os.fsdecode(path))
        return os.path.commonpath([real, self._forbidden]) in (real, self._forbidden)

    def _walk(
        self, path: bytes, name: bytes, below: bytes, readers: ThreadPoolExecutor,
        way: tuple[bytes, ...] = (),
    ) -> Iterator[_Event]:  # fmt: skip
        """A frame, the batches of its files, its sub-directories, and None at its end. `way`: the
        directories that links have led to on the way."""
        frame = _Frame(name, _examined(path, os.stat if way or not below else os.lstat), [])
        yield frame
        files: list[tuple[bytes, bytes]] = []
        directories: list[tuple[bytes, tuple[bytes, ...]]] = []
        for entry in _listing(path):
            inner = below + entry.name
            if self._exclude and self._excluded(entry.name, inner):
                continue
            followed = self._followed(entry.path, below, way) if entry.is_symlink() else b""
            if entry.is_symlink() and not followed:
                frame.entries.append(_link(entry.path, entry.name))
            elif entry.is_dir():
                directories.append((entry.name, (*way, followed) if followed else way))
            elif entry.is_file():
                files.append((entry.path, entry.name))
            else:
                raise _special(entry.path, _examined(entry.path, os.stat).st_mode)
        for i in range(0, len(files), _BATCH_FILES):
            yield readers.submit(_load_batch, files[i : i + _BATCH_FILES])
        for child, on in directories:
            yield from self._walk(path + b"/" + child, child, below + child + b"/", readers, on)
        yield None

    def _followed(self, link: bytes, below: bytes, way: tuple[bytes, ...]) -> bytes:
        """What a link leads to that is to be stored in its place; empty if the link itself is.

        That is where it leads to nothing, or to what it is in itself, which has no end.
        """
        if not self._follows_out or not os.path.exists(real := os.path.realpath(link)):
            return b""
        # Where it leads in a copy of the directory: not out of it.
        names = os.path.normpath(os.path.join(below, os.readlink(link))).split(b"/")
        if names[0] not in (b"", b"..") and _within(real, self._top):
            return b""
        here = os.path.realpath(os.path.dirname(link))
        if any(_within(directory, real) for directory in (here, self._top, *way)):
            return b""
        if self._forbidden and os.path.isdir(real) and self._inside(real):
            raise InvalidValue(os.fsdecode(link), "leads to the store, or to what contains it")
        return real

    def _excluded(self, name: bytes, path: bytes) -> bool:
        return any(
            fnmatch.fnmatchcase(name, p) or fnmatch.fnmatchcase(path, p) for p in self._exclude
        )

    def _store(self, stack: list[_Frame], event: _Event) -> None:
        if event is None:
            done = self._finished(stack.pop())
            stack[-1].entries.append(done)
        elif isinstance(event, _Frame):
            stack.append(event)
        else:
            loaded = event.result()
            self._writer.look_up(d for item in loaded for _, d in item.pieces or ())
            stack[-1].entries.extend(map(self._file, loaded))
            self._progress(sum(item.info.st_size for item in loaded), len(loaded))

    def _finished(self, frame: _Frame) -> Entry:
        frame.entries.sort(key=lambda entry: entry.name)
        mode = stat.S_IMODE(frame.info.st_mode)
        mtime_ns = kept_time(frame.info.st_mtime_ns)
        return new_directory(frame.name, mode, mtime_ns, frame.entries, self._writer)

    def _file(self, item: _Loaded) -> Entry:
        if item.pieces is None:
            root, info = self._large(item)
        else:
            root, info = self._small(item.pieces), item.info
        return Entry(
            item.name, Kind.FILE, stat.S_IMODE(info.st_mode), kept_time(info.st_mtime_ns),
            root.size, 0, root.digest, root.blob, root.height,
        )  # fmt: skip

    def _small(self, pieces: list[_Piece]) -> Root:
        if len(pieces) == 1:
            data, digest = pieces[0]
            return Root(digest, len(data), 0, self._writer.chunk(data, digest), 0)
        builder = ListBuilder(self._writer.node)
        for data, digest in pieces:
            builder.push(Run(self._writer.chunk(data, digest)))
        return builder.root()

    def _large(self, item: _Loaded) -> tuple[Root, os.stat_result]:
        for _ in range(_TRIES):
            fd = _open(item.path)
            try:
                before = os.fstat(fd)
                read = self._reader(fd, item.path)
                root = chunking.store_file(read, before.st_size, self._writer)
                if _same(before, os.fstat(fd)):
                    return root, before
            except EOFError:
                continue  # it shrank
            finally:
                os.close(fd)
        raise _keeps_changing(item.path)

    @staticmethod
    def _reader(fd: int, path: bytes) -> chunking.Read:
        def read(offset: int, length: int) -> bytes:
            try:
                data = os.pread(fd, length, offset)
            except OSError as error:
                raise _unreadable(path, error) from error
            if len(data) < length:
                raise EOFError
            return data

        return read


def _load_batch(files: list[tuple[bytes, bytes]]) -> list[_Loaded]:
    loaded, room = [], _BATCH_BYTES
    for path, name in files:
        item = _load(path, name, room)
        if item.pieces is not None:
            room -= item.info.st_size
        loaded.append(item)
    return loaded


def _load(path: bytes, name: bytes, room: int) -> _Loaded:
    """Read, cut and hash a file, unless it is larger than `room`."""
    if len(name) > NAME_MAX:
        raise SourceChanged(path_shown(path), "its name is longer than 255 bytes")
    for _ in range(_TRIES):
        fd = _open(path)
        try:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                raise _special(path, before.st_mode)
            if before.st_size > room:
                return _Loaded(path, name, before, None)
            data = memoryview(os.read(fd, before.st_size + 1))
            if len(data) == before.st_size and _same(before, os.fstat(fd)):
                return _Loaded(path, name, before, _cut(data))
        except OSError as error:
            raise _unreadable(path, error) from error
        finally:
            os.close(fd)
    raise _keeps_changing(path)


def _cut(data: memoryview) -> list[_Piece]:
    if len(data) <= chunking.MIN:
        return [(data, blake3(data).digest())] if data else []
    size = len(data)
    cuts = chunking.cut(lambda at, length: data[at : at + length], 0, size, size)
    return [(piece, blake3(piece).digest()) for pieces in cuts for _, piece in pieces]


def _open(path: bytes) -> int:
    # O_NONBLOCK: opening a FIFO must not wait for its other end.
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        info = _examined(path, os.lstat)
        if not stat.S_ISREG(info.st_mode) and not stat.S_ISLNK(info.st_mode):
            raise _special(path, info.st_mode) from error
        raise _unreadable(path, error) from error


def _examined(path: bytes, look: Callable[[bytes], os.stat_result]) -> os.stat_result:
    try:
        return look(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(path_shown(path), "no such file or directory") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _listing(path: bytes) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(path) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(path, error) from error


def _link(path: bytes, name: bytes) -> Entry:
    try:
        info, target = os.lstat(path), os.readlink(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    return Entry(
        name, Kind.SYMLINK, 0o777, kept_time(info.st_mtime_ns), len(target), 0,
        digests.of_link(target), target=target,
    )  # fmt: skip


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


def _within(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(os.path.join(directory, b""))


def _unreadable(path: bytes, error: OSError) -> SourceChanged:
    return SourceChanged(path_shown(path), os.strerror(error.errno or 0), "nothing was committed")


def _special(path: bytes, mode: int) -> SourceChanged:
    kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a directory"}
    kind = kinds.get(stat.S_IFMT(mode), "a device")
    return SourceChanged(path_shown(path), f"is {kind}, which no version can hold", "--exclude it")


def _keeps_changing(path: bytes) -> SourceChanged:
    return SourceChanged(
        path_shown(path), "keeps changing while it is read", "nothing was committed"
    )


def at_prefix(root: Entry, prefix: str, writer: PackWriter) -> Entry:
    """The tree moved down to a `/`-separated path. Raises `InvalidValue`."""
    names = os.fsencode(prefix).strip(b"/").split(b"/")
    if any(name in (b"", b".", b"..") or len(name) > NAME_MAX for name in names):
        raise InvalidValue(f"path '{prefix}'", "is not a path inside a version")
    for name in reversed(names):
        moved = msgspec.structs.replace(root, name=name)
        root = new_directory(b"", 0o755, root.mtime_ns, [moved], writer)
    return root


def onto(base: Entry, new: Entry, writer: PackWriter, blobs: Blobs) -> Entry:
    """`base` with all of `new` laid over it; directories are merged, all else is replaced."""
    writer.settle()
    return _onto(base, new, writer, blobs)


def _onto(base: Entry, new: Entry, writer: PackWriter, blobs: Blobs) -> Entry:
    changes: dict[bytes, Entry | None] = {}
    for entry in children(new, blobs):
        found = drive(walk.find(base, 0, entry.name), blobs)
        if found is not None and found[1].is_dir and entry.is_dir:
            changes[entry.name] = _onto(found[1], entry, writer, blobs)
        else:
            changes[entry.name] = entry
    return edit(base, changes, writer, blobs)
