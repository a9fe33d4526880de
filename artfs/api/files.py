"""One file of a version as a Python file object: seekable, read as far as it is asked for."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, SupportsIndex, TypeAlias, overload

import msgspec

from artfs import settings
from artfs.api.lookup import look_up, raw
from artfs.api.oserrors import as_os_errors, failure
from artfs.api.versions import Versions
from artfs.repo.reading import chunks_at
from artfs.repo.reference_file import ReferenceFile
from artfs.repo.repository import Repository
from artfs.types import Entry, Kind, parse_ref

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

AnyPath: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]

#: A request of so many bytes or fewer is one for the buffer in front of us.
_BUFFER = 128 << 10
#: The most that is read at once.
_MOST = 4 << 20


class VersionFile(io.BufferedReader):
    """A file of a version, open for reading. `size` in bytes; `path` as it was asked for.

    `reopen` opens it from `path` again, in its place, where it was pickled.

    Threads may share it as long as each seeks before it reads: `read` goes on from where the same
    thread has sought to, whatever others have done in between. DuckDB (2.0) does so without a lock.
    """

    def __init__(
        self,
        entry: Entry,
        repository: Repository,
        path: str,
        reopen: Callable[[str], VersionFile] | None = None,
    ) -> None:
        super().__init__(_Chunks(entry, repository, path), _BUFFER)
        self._reopen = reopen
        self._entry = entry
        self._repository = repository  # for as long as this is open, so is the store
        self._one_by_one = threading.Lock()
        #: Where threads have sought to that have not read since.
        self._sought: dict[int, int] = {}
        self.size = entry.size
        self.path = path

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        with self._one_by_one:
            place = super().seek(offset, whence)
            self._sought[threading.get_ident()] = place
            return place

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file. Much at once goes past the buffer, which would read on behind its end."""
        with self._one_by_one:
            self._go_on()
            if size is None or size <= _BUFFER:
                return super().read(size)
            start = self.tell()
            data = read_range(self._entry, self._repository, self.path, start, start + size)
            super().seek(start + len(data))
            return data

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        with self._one_by_one:
            self._go_on()
            return super().readinto(buffer)

    def __reduce_ex__(self, _protocol: SupportsIndex) -> tuple[object, ...]:
        if self._reopen is None:
            raise TypeError(f"'{self.path}' cannot be pickled: open it by way of fsspec")
        return _reopened, (self._reopen, self.path, self.tell())

    def _go_on(self) -> None:
        """Be where this thread has sought to; or where the last one that did anything left off."""
        place = self._sought.pop(threading.get_ident(), None)
        if place is None:
            self._sought.clear()
        elif place != self.tell():
            super().seek(place)


def _reopened(reopen: Callable[[str], VersionFile], path: str, place: int) -> VersionFile:
    file = reopen(path)
    file.seek(place)
    return file


class _Chunks(io.RawIOBase):
    """The chunks of a file, each read when it is needed.

    A short request gets what is left of its chunk. Whoever goes on from there, three times in a
    row, is read ahead for, twice as far each time.
    """

    mode = "rb"

    def __init__(self, entry: Entry, repository: Repository, path: str) -> None:
        self.name = path
        self._entry = entry
        self._repository = repository
        self._at = 0
        self._start = 0
        self._block = b""
        self._in_a_row = 0
        self._reference: ReferenceFile | None = None
        if entry.kind == Kind.REFERENCE:
            self._reference = ReferenceFile(repository.references, entry)
            if not entry.size:
                with as_os_errors(path):
                    self._reference.prove()  # nothing will be read of it

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._entry.size}.get(whence)
        if base is None:
            raise ValueError(f"whence {whence} is none of 0, 1, 2")
        if base + offset < 0:
            raise failure(errno.EINVAL, self.name)
        self._at = base + offset
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        into = memoryview(buffer).cast("B")
        wanted = min(len(into), self._entry.size - self._at)
        if wanted <= 0:
            return 0
        if not self._start <= self._at < self._start + len(self._block):
            self._load(wanted)
        begin = self._at - self._start
        piece = memoryview(self._block)[begin : begin + wanted]
        into[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def readall(self) -> bytes:
        data = read_range(self._entry, self._repository, self.name, self._at, self._entry.size)
        self._at += len(data)
        return data

    def _load(self, wanted: int) -> None:
        goes_on = bool(self._block) and self._at == self._start + len(self._block)
        self._in_a_row = self._in_a_row + 1 if goes_on else 0
        ahead = _BUFFER << min(self._in_a_row - 2, 8) if self._in_a_row > 1 else 1
        length = min(max(ahead, wanted if wanted > _BUFFER else 1), _MOST)
        with as_os_errors(self.name):
            if self._reference is not None:
                self._start, self._block = self._at, self._reference.read(self._at, length)
                return
            blobs = self._repository.blobs
            self._start, self._block = chunks_at(self._entry, blobs, self._at, length)


def read_range(entry: Entry, repository: Repository, path: str, start: int, end: int) -> bytes:
    """The bytes [start, end) of a file, fewer at its end. Raises `OSError` with the path."""
    parts: list[bytes | memoryview] = []
    end = min(end, entry.size)
    with as_os_errors(path):
        if entry.kind == Kind.REFERENCE:
            return b"".join(repository.references.content(entry, start, end))
        while start < end:
            length = min(end - start, _MOST)
            first, data = chunks_at(entry, repository.blobs, start, length)
            piece = memoryview(data)[start - first : start - first + length]
            # What is whole is not copied.
            parts.append(data if len(piece) == len(data) else piece)
            start += len(piece)
    if len(parts) == 1 and isinstance(parts[0], bytes):
        return parts[0]
    return b"".join(parts)


def require_file(entry: Entry, path: str, repository: Repository) -> Entry:
    """The entry itself if it has bytes to read; of a reference whose length was not recorded, with
    the length that its source has now.

    Raises `IsADirectoryError`; `OSError` (EOPNOTSUPP) of a reference that nobody can read.
    """
    if entry.is_dir:
        raise failure(errno.EISDIR, path)
    if entry.kind == Kind.REFERENCE:
        with as_os_errors(path):
            return msgspec.structs.replace(entry, size=repository.references.size(entry))
    if entry.kind != Kind.FILE:
        raise failure(errno.EOPNOTSUPP, path)
    return entry


@overload
def open_file(
    ref: str, path: AnyPath, mode: Literal["rb", "br"] = "rb", store: str | None = None
) -> VersionFile: ...
@overload
def open_file(
    ref: str,
    path: AnyPath,
    mode: Literal["r", "rt", "tr"],
    store: str | None = None,
    *,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> io.TextIOWrapper: ...
def open_file(
    ref: str,
    path: AnyPath,
    mode: str = "rb",
    store: str | None = None,
    *,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> VersionFile | io.TextIOWrapper:
    """Open a file of a version: `artfs.open("animals:v3", "cat.png")`.

    `mode` is "rb", or "r" for text with `encoding`, `errors` and `newline` as the builtin `open`
    has them; there is no writing. Links are followed within the version.
    Raises `FileNotFoundError`, `NotADirectoryError`, `IsADirectoryError`, `OSError` (EROFS, EIO),
    `ValueError`.
    """
    binary = _is_binary(mode, f"{ref}/{os.fsdecode(path)}")
    if binary and (encoding, errors, newline) != (None, None, None):
        raise ValueError("binary mode takes no encoding, errors or newline")
    name = os.fspath(path)
    name = raw(name) if isinstance(name, str) else name
    shown = f"{ref}/{os.fsdecode(name)}"
    found = settings.load(store)
    versions = Versions(found.store, found.cache, found.options)
    with as_os_errors(shown):
        root = versions.root(parse_ref(ref, found.project))
        entry = look_up(root, name, versions.repository.blobs, shown)
    file = VersionFile(require_file(entry, shown, versions.repository), versions.repository, shown)
    return file if binary else io.TextIOWrapper(file, encoding, errors, newline)


open = open_file  # noqa: A001  # what it is called in `artfs`


def _is_binary(mode: str, path: str) -> bool:
    if set(mode) & set("wax+"):
        raise failure(errno.EROFS, path)
    if sorted(mode) not in (["b", "r"], ["r"], ["r", "t"]):
        raise ValueError(f"invalid mode: {mode!r}")
    return "b" in mode
