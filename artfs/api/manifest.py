"""What an artifact contains, entry by entry."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from typing import IO, Any
from urllib.parse import quote

from artfs.api import lookup, paths, wandbmanifest
from artfs.errors import ArtifactNotLoggedError, InvalidValue
from artfs.format import walk
from artfs.format.reference import reference_of
from artfs.repo.export import Export
from artfs.repo.reading import drive, entries
from artfs.repo.repository import Repository
from artfs.types import Entry, Kind


class ArtifactManifestEntry:
    """A file, link or reference of an artifact.

    `path`: its path in the artifact. `digest`: of its content, hex. `size`: bytes; None of a
    reference whose size was not recorded. `local_path`: the file that was added, of an entry that
    `add_file` returned. `ref`: a reference's URI, else None; `extra`: what else is recorded of it.
    """

    def __init__(
        self,
        path: str,
        entry: Entry,
        *,
        local_path: str | None = None,
        repository: Repository | None = None,
        root: str = "",
        origin: str = "",
    ) -> None:
        self.path = path
        self.digest = entry.digest.hex()
        self.size: int | None = entry.size
        self.local_path = local_path
        self.ref: str | None = None
        self.extra: dict[str, str] = {}
        if entry.kind == Kind.REFERENCE:
            reference = reference_of(entry)
            self.ref = reference.uri
            self.size = entry.size if reference.sized else None
            self.extra = wandbmanifest.extra_of(reference)
        self._origin = origin
        self._entry = entry
        self._repository = repository
        self._root = root

    def download(
        self,
        root: str | os.PathLike[str] | None = None,
        skip_cache: bool | None = None,
        executor: object = None,
    ) -> str:
        """Write this file below a directory (`./artifacts/NAME:vN`), under its path in the
        artifact; a file there that is equal is kept. Returns the path.

        `skip_cache`, `executor`: how W&B is to transfer; nothing here.

        Raises `ArtifactNotLoggedError`, `ExportFailed`, `Damaged`, `Unreachable`; of a reference
        also `SourceChanged`, `SourceRefused`, and `Unsupported` if nobody can read it.
        """
        if self._repository is None:
            raise ArtifactNotLoggedError(
                f"entry '{self.path}'", "is of an artifact that is not logged",
                "log it; get_path gives the entry that can be downloaded",
            )  # fmt: skip
        del skip_cache, executor
        target = os.path.join(self._root if root is None else os.fspath(root), self.path)
        Export(self._repository).leaf(self._entry, target)
        return target

    @property
    def store_id(self) -> str:
        """The store that the entry is in; empty of an artifact that is not logged."""
        return "" if self._repository is None else self._repository.id

    def ref_target(self) -> str:
        """The URI that a reference leads to. Raises `InvalidValue`, a ValueError, of anything
        else."""
        if self.ref is None:
            raise InvalidValue(f"entry '{self.path}'", "is no reference")
        return self.ref

    def ref_url(self) -> str:
        """The URI of this entry, which `add_reference` of another artifact takes.

        Raises `ArtifactNotLoggedError`.
        """
        if not self._origin:
            raise ArtifactNotLoggedError(
                f"entry '{self.path}'", "is of an artifact that is not logged",
                "log it; get_path gives the entry that can be referred to",
            )  # fmt: skip
        return f"{self._origin}/{quote(self.path, errors='surrogateescape')}"

    def __repr__(self) -> str:
        size = "unknown" if self.size is None else self.size
        return f"<ArtifactManifestEntry {self.path!r} {size} bytes>"


class ArtifactFile:
    """A file of a version as `Artifact.files` gives it. `name`: its path; `size`, `digest` as of
    its entry."""

    def __init__(self, entry: ArtifactManifestEntry) -> None:
        self.name = entry.path
        self.size = entry.size
        self.digest = entry.digest
        self._entry = entry

    def download(
        self,
        root: str | os.PathLike[str] = ".",
        replace: bool = False,
        exist_ok: bool = False,
    ) -> IO[str]:
        """Write it below a directory, under its name, and open it for reading.

        A file that is there already is an error, InvalidValue, unless it may be replaced, or
        (`exist_ok`) it is taken for this one. Raises as `ArtifactManifestEntry.download`.
        """
        target = os.path.join(os.fspath(root), self.name)
        if os.path.lexists(target) and not replace:
            if not exist_ok:
                raise InvalidValue(f"'{target}'", "is there already", "replace=True replaces it")
            return open(target)
        return open(self._entry.download(root))

    def __repr__(self) -> str:
        return f"<ArtifactFile {self.name!r} {self.size} bytes>"


class ArtifactManifest:
    """The entries of a tree. Read from the store as they are asked for."""

    def __init__(
        self, repository: Repository, tree: Entry, root: str | None = None, origin: str = ""
    ) -> None:
        """`origin`: the URI below which the entries are."""
        self._repository = repository
        self._origin = origin
        self._tree = tree
        #: Where entries are downloaded to; None if they are of an artifact that is not logged.
        self._root = root

    @cached_property
    def entries(self) -> dict[str, ArtifactManifestEntry]:
        """All files, links and references by path, in the order of the tree."""
        return {entry.path: entry for entry in self}

    def __iter__(self) -> Iterator[ArtifactManifestEntry]:
        for raw, entry in entries(self._tree, self._repository.blobs):
            if not entry.is_dir:
                yield self._entry(lookup.text(raw), entry)

    def __len__(self) -> int:
        return len(self.entries)

    def get_entry_by_path(self, path: str) -> ArtifactManifestEntry | None:
        """The entry at a path; None where there is none. Raises `InvalidValue` for a directory."""
        names = paths.parse(path)
        entry = drive(walk.resolve(self._tree, b"/".join(names)), self._repository.blobs)
        if entry is None:
            return None
        if entry.is_dir:
            raise InvalidValue(f"'{paths.shown(names)}'", "is a directory, not a file")
        return self._entry(paths.text_of(names), entry)

    def to_manifest_json(self) -> dict[str, Any]:
        """W&B's manifest, format 1, with the digests that W&B has for files. Reads all of them.

        Raises `Damaged`, `Unreachable`.
        """
        found = dict(wandbmanifest.contents(self._tree, self._repository))
        return {**wandbmanifest.HEAD, "contents": found}

    def digest(self) -> str:
        """The digest that W&B has for these files; `Artifact.digest` is that of artfs. Reads all.

        Raises `Damaged`, `Unreachable`.
        """
        digest = wandbmanifest.WandbDigest()
        for path, row in wandbmanifest.contents(self._tree, self._repository):
            digest.update(path, row)
        return digest.hexdigest()

    def _entry(self, path: str, entry: Entry) -> ArtifactManifestEntry:
        if self._root is None:
            return ArtifactManifestEntry(path, entry)
        return ArtifactManifestEntry(
            path, entry, repository=self._repository, root=self._root, origin=self._origin
        )
