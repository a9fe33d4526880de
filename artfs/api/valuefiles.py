"""An artifact as values see it: where they are written to (`Target`), and read from (`Source`)."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from artfs.api import paths
from artfs.api.content import Content
from artfs.api.files import VersionFile, require_file
from artfs.api.lookup import look_up, raw, text
from artfs.api.oserrors import ABSENT
from artfs.api.referring import uri_of_given
from artfs.api.values import Source, Value
from artfs.api.values.places import ForeignEntry
from artfs.api.version import Version
from artfs.errors import InvalidValue, NotFound
from artfs.format.reference import reference_of
from artfs.repo import own_source
from artfs.repo.export import Export
from artfs.repo.reading import entries
from artfs.repo.references import entry_of_found
from artfs.repo.repository import Repository
from artfs.types import Entry, Kind, Ref


class ValueTarget:
    """Takes the files of one value. They are stored at once, and get their names in the artifact
    with `finish`: a value that cannot be written leaves nothing behind."""

    def __init__(
        self,
        content: Content,
        written: dict[int, tuple[Value, str]],
        added: Callable[[str], str | None],
    ) -> None:
        """`written`: values before this one. `added`: the path of a local file that was added."""
        self._content = content
        self._added = added
        self._entries: dict[str, Entry] = {}
        self.written = dict(written)
        #: Local files that were added here, and as what.
        self.local_files: dict[str, paths.Path] = {}

    @contextlib.contextmanager
    def new_file(self, name: str) -> Iterator[BinaryIO]:
        buffer = io.BytesIO()
        yield buffer
        self._entries[name] = self._content.store_bytes(buffer.getvalue())

    def add_file(self, local_path: Path, name: str) -> None:
        self._entries[name] = self._content.store_file(os.fspath(local_path))
        self.local_files[os.path.abspath(local_path)] = paths.parse(name)

    def add_reference(self, uri: str | ForeignEntry, name: str) -> None:
        repository = self._content.writer.repository
        uri = uri_of_given(uri, repository.id)
        found = repository.references.describe(uri)
        if len(found) != 1 or not found[0].itself:
            raise InvalidValue(uri, "is a directory, and no file")
        self._entries[name] = entry_of_found(found[0], b"-")

    def add_stored(self, source: Source, stored: str, name: str) -> None:
        entry = None
        if isinstance(source, ValueSource):
            entry = source.entry_in(self._content.writer.repository, stored)
        if entry is None:
            entry = self._content.store_file(os.fspath(source.local(stored)))
        self._entries[name] = entry

    def has(self, name: str) -> bool:
        return self._entry(name) is not None

    def added(self, local_path: Path) -> str | None:
        own = self.local_files.get(os.path.abspath(local_path))
        name = self._added(os.fspath(local_path)) if own is None else paths.text_of(own)
        entry = None if name is None else self._entry(name)
        if entry is None:
            return None
        # The document is to have the digest of the file that it names: not if it changed meanwhile.
        info = os.stat(local_path)
        return name if (entry.size, entry.mtime_ns) == (info.st_size, info.st_mtime_ns) else None

    def _entry(self, name: str) -> Entry | None:
        if name in self._entries:
            return self._entries[name]
        return self._content.file(paths.parse(name))

    def finish(self) -> dict[str, Entry]:
        """Give the files their names. Raises `InvalidValue` where one cannot have its."""
        named = {paths.parse(name): entry for name, entry in self._entries.items()}
        self._content.set_all(named)
        return self._entries


class ValueSource:
    """Gives the files of a version. Those that must lie on a disk are put into a temporary
    directory, which goes with this object."""

    def __init__(self, version: Version) -> None:
        self._version = version
        self._lock = threading.Lock()
        self._directory = ""
        self._fetched: set[str] = set()
        self._others: dict[Ref, ValueSource] = {}

    def __deepcopy__(self, _memo: object) -> ValueSource:
        return self  # a version does not change

    def open(self, name: str) -> BinaryIO:
        shown = self._shown(name)
        repository = self._version.repository
        return VersionFile(require_file(self._file(name), shown, repository), repository, shown)

    def origin(self, name: str) -> tuple[ValueSource, str]:
        entry = self._file(name)
        if entry.kind != Kind.REFERENCE:
            return self, name
        reference = reference_of(entry)
        if reference.scheme != own_source.SCHEME:
            return self, name
        ref, path = own_source.parsed(reference.uri)
        with self._lock:
            other = self._others.get(ref)
            if other is None:
                version = Version.of(self._version.repository, ref)
                other = self._others[ref] = ValueSource(version)
        return other, text(path)

    def local(self, name: str) -> Path:
        entry = self._file(name)
        with self._lock:
            if not self._directory:
                self._directory = tempfile.mkdtemp(prefix="artfs-values-")
                weakref.finalize(self, _remove, self._directory, os.getpid())
        target = os.path.join(self._directory, name)
        if name not in self._fetched:
            Export(self._version.repository).leaf(entry, target)
            self._fetched.add(name)
        return Path(target)

    def has(self, name: str) -> bool:
        entry = self._look_up(name)
        return entry is not None and not entry.is_dir

    def names(self, directory: str) -> list[str]:
        entry = self._look_up(directory)
        if entry is None or not entry.is_dir:
            return []
        prefix = "".join(f"{name}/" for name in directory.split("/") if name not in ("", "."))
        found = entries(entry, self._version.repository.blobs)
        return [prefix + text(path) for path, inner in found if not inner.is_dir]

    def entry_in(self, repository: Repository, name: str) -> Entry | None:
        """The entry of a file, if its content is in that store. Raises `NotFound`."""
        entry = self._file(name)
        return entry if repository.id == self._version.repository.id else None

    def _file(self, name: str) -> Entry:
        entry = self._look_up(name)
        if entry is None or entry.is_dir:
            raise NotFound(self._shown(name), "no such file in this version")
        return entry

    def _look_up(self, name: str) -> Entry | None:
        try:
            path = raw(name)
            if b".." in path.split(b"/"):
                return None  # what a file says may not lead out of where files are put
            blobs = self._version.repository.blobs
            return look_up(self._version.tree, path, blobs, self._shown(name))
        except UnicodeEncodeError:
            return None
        except OSError as error:
            if error.errno in ABSENT:
                return None
            raise

    def _shown(self, name: str) -> str:
        return f"{self._version.name}/{name}"


def _remove(directory: str, owner: int) -> None:
    if os.getpid() == owner:  # and not a child that inherited the finalizer by fork
        shutil.rmtree(directory, ignore_errors=True)
