"""`file://`: files of this machine, or of what is mounted on it; told apart by their content.

The times that were recorded spare reading a file to know that it is the same. Anybody can set the
time of modification, and nobody that of the last change, as the kernel has it; where one of them is
another, the content decides. A version may name any file, and whoever mounts it may read
more than its makers: so nothing is opened but regular files below the directories of the policy.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from urllib.parse import quote, unquote_to_bytes

from blake3 import blake3
from cachetools import LRUCache

from artfs.errors import InvalidValue, NotFound, SourceChanged, SourceRefused, Unreachable
from artfs.format.reference import Reference
from artfs.sources.base import Found, changed, last_name, shown, too_many
from artfs.store.options import SourcePolicy
from artfs.types import kept_time

_PIECE = 1 << 20
#: A file may be written twice within a tick of the kernel's clock, 10 ms at most, and not show it.
_TICK_NS = 20_000_000
#: Files whose content has been hashed.
_PROVEN = 4096


class FileSource:
    """Reads local files. Thread-safe."""

    def __init__(self, policy: SourcePolicy) -> None:
        self._directories = policy.directories
        self._lock = threading.Lock()
        self._proven: LRUCache[tuple[int, ...], str] = LRUCache(maxsize=_PROVEN)

    def describe(self, uri: str, *, checksum: bool, max_objects: int | None) -> Sequence[Found]:
        """See `Source`; a directory is all files and links in it. Whoever asks names the file, so
        the policy is not asked; it is when the reference is read."""
        path = path_of(uri)
        with _failures(uri):
            if not stat.S_ISDIR(os.stat(path).st_mode):
                return [_described(path, last_name(uri), checksum, itself=True)]
            found: list[Found] = []
            for file in _files_below(path):
                if len(found) == max_objects:
                    raise too_many(uri, max_objects)
                found.append(_described(file, os.fsdecode(os.path.relpath(file, path)), checksum))
            return found

    def require_allowed(self, reference: Reference) -> None:
        """See `Source`."""
        self._require_below(reference, os.path.realpath(path_of(reference.uri)))

    def read(self, reference: Reference, size: int, start: int, end: int) -> Iterator[bytes]:
        """See `Source`."""
        with _failures(reference.uri), self._opened(reference) as fd:
            before = os.fstat(fd)
            self._check(reference, size, fd, before)
            while start < end:
                data = os.pread(fd, min(end - start, _PIECE), start)
                if not data:
                    break
                if reference.checksum and _state(os.fstat(fd)) != _state(before):
                    raise changed(reference, "somebody writes to it")
                start += len(data)
                yield data

    def size(self, reference: Reference) -> int | None:
        """See `Source`."""
        with _failures(reference.uri), self._opened(reference) as fd:
            return os.fstat(fd).st_size

    def close(self) -> None:
        """Nothing stays open."""

    @contextlib.contextmanager
    def _opened(self, reference: Reference) -> Iterator[int]:
        # O_PATH touches nothing but the name: neither a FIFO nor a device is opened by it. What it
        # found is what is checked and then opened, whatever the name means by then.
        try:
            place = os.open(path_of(reference.uri), os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise changed(reference, "it is gone") from error
        try:
            handle = f"/proc/self/fd/{place}"
            self._require_below(reference, os.fsencode(os.readlink(handle)))
            if not stat.S_ISREG(os.fstat(place).st_mode):
                raise changed(reference, "it is no regular file")
            _require_no_reference(reference.uri, handle)
            fd = os.open(handle, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(place)
        try:
            yield fd
        finally:
            os.close(fd)

    def _require_below(self, reference: Reference, path: bytes) -> None:
        # What has no path, such as a pipe of /proc/self/fd, is called "pipe:[4711]".
        for directory in self._directories if path.startswith(b"/") else ():
            real = os.fsencode(os.path.realpath(directory))
            if os.path.commonpath([real, path]) == real:
                return
        raise SourceRefused(
            shown(reference.uri), "is not below a directory that references may read",
            "name the directory in reference_dirs of config.toml, or in ARTFS_REFERENCE_DIRS",
        )  # fmt: skip

    def _check(self, reference: Reference, size: int, fd: int, info: os.stat_result) -> None:
        if reference.sized and info.st_size != size:
            raise changed(reference, f"it has {info.st_size} bytes, not {size}")
        recorded = reference.mtime_ns, reference.ctime_ns
        now = kept_time(info.st_mtime_ns), kept_time(info.st_ctime_ns)
        if reference.checksum_kind != "blake3" or recorded == now:
            return
        state = _state(info)
        with self._lock:
            digest = self._proven.get(state)
        if digest is None:
            digest = _hash(fd)
            with self._lock:
                self._proven[state] = digest
        if digest != reference.checksum_value:
            raise changed(reference, "its content is another")


def _require_no_reference(uri: str, path: bytes | str) -> None:
    """Raises `SourceRefused` for a reference in a mount of artfs: references that lead to each
    other, or one to itself, would be read for ever, by a daemon that could not be unmounted."""
    with contextlib.suppress(OSError):
        os.getxattr(path, "user.artfs.reference")
        raise SourceRefused(
            shown(uri), "is a reference in a mount of artfs", "refer to what that one leads to"
        )


def path_of(uri: str) -> bytes:
    """The path in a `file://` URI. Raises `InvalidValue`."""
    after = uri.partition("://")[2]
    host = after.partition("/")[0]
    if host not in ("", "localhost"):
        raise InvalidValue(
            f"reference '{shown(uri)}'", "names a host; a local file is file:///PATH"
        )
    # `?` and `#` are characters of names here, as they are for who writes down a path.
    path = unquote_to_bytes(after.removeprefix(host))
    if not path.startswith(b"/") or b"\0" in path:
        raise InvalidValue(f"reference '{shown(uri)}'", "names no absolute path")
    return path


def uri_of(path: bytes) -> str:
    """The URI of an absolute path."""
    return f"file://{quote(path)}"


def _files_below(path: bytes) -> Iterator[bytes]:
    """Files and links in a directory, at any depth, in the order of their names."""
    with os.scandir(path) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(entry.path)
        else:
            yield entry.path


def _described(path: bytes, name: str, checksum: bool, itself: bool = False) -> Found:
    look = os.stat if itself else os.lstat  # a link that is named is meant for what it leads to
    info = look(path)
    reference = Reference(uri_of(path), sized=False)
    mode, mtime_ns = stat.S_IMODE(info.st_mode), kept_time(info.st_mtime_ns)
    if stat.S_ISLNK(info.st_mode):
        return Found(name, reference, 0, mtime_ns, mode, link=os.readlink(path))
    if not stat.S_ISREG(info.st_mode):
        raise SourceChanged(os.fsdecode(path), "is no regular file, and cannot be referred to")
    _require_no_reference(reference.uri, path)
    if not checksum:
        return Found(name, reference, 0, mtime_ns, mode, itself=itself)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        before, began = os.fstat(fd), time.time_ns()
        digest = _hash(fd)
        if _state(os.fstat(fd)) != _state(before):
            raise SourceChanged(os.fsdecode(path), "changes while it is read")
    finally:
        os.close(fd)
    mtime_ns, ctime_ns = kept_time(before.st_mtime_ns), kept_time(before.st_ctime_ns)
    reference = Reference(
        uri_of(path), f"blake3:{digest}", mtime_ns=mtime_ns,
        ctime_ns=ctime_ns if began - ctime_ns > _TICK_NS else 0,
    )
    return Found(name, reference, before.st_size, mtime_ns, mode, itself=itself)


def _hash(fd: int) -> str:
    hasher, at = blake3(), 0
    while data := os.pread(fd, _PIECE, at):
        hasher.update(data)
        at += len(data)
    return hasher.hexdigest()


def _state(info: os.stat_result) -> tuple[int, ...]:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


@contextlib.contextmanager
def _failures(uri: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(shown(uri), "no such file") from error
    except PermissionError as error:
        raise SourceRefused(shown(uri), os.strerror(error.errno or 0)) from error
    except OSError as error:
        raise Unreachable(shown(uri), os.strerror(error.errno or 0)) from error
