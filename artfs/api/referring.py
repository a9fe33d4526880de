"""References in artifacts: what `add_reference` finds out and records."""

from __future__ import annotations

import os
import warnings
from abc import abstractmethod
from collections.abc import Sequence

from artfs.api import paths
from artfs.api.attributes import Attributes
from artfs.api.content import Content
from artfs.api.manifest import ArtifactManifestEntry
from artfs.api.place import Place
from artfs.api.version import Version
from artfs.errors import InvalidValue, UnreadableReference
from artfs.format.reference import reference_of
from artfs.repo import own_source, reading
from artfs.repo.references import References, entry_of_found
from artfs.sources.base import scheme_of, shown
from artfs.types import DEFAULT_ENTITY, DEFAULT_PROJECT, Entry, Kind


class Referring(Attributes):
    """The part of an artifact that takes references."""

    @abstractmethod
    def _open(self) -> Content:
        """The content, to be changed. Raises `ArtifactFinalizedError`."""

    def add_reference(
        self,
        uri: ArtifactManifestEntry | str,
        name: str | os.PathLike[str] | None = None,
        checksum: bool = True,
        max_objects: int | None = None,
    ) -> Sequence[ArtifactManifestEntry]:
        """Add what lies elsewhere and stays there: its URI, and what tells that it is the same.

        An object goes by its own name, or as `name`; of a prefix or directory all that is below
        goes to the root, or below `name`. `http(s)`: size and ETag; `s3`, `gs`: size, checksum and
        version of the object; `file`: size and digest of the content; an entry of another artifact
        of the store, as `get_path` returns it, or `artfs://NAME:vN/PATH`. Of any other scheme only
        the URI is recorded, and it is not read. Without `checksum` nothing tells, and whatever is
        there later is what is read; its size is not known. `max_objects`: more than that below a
        prefix is an error; 10,000 for `s3` and `gs`, else no limit.

        Returns the entries added. Raises `ArtifactFinalizedError`; `InvalidValue` (no such URI can
        be, too many objects, `name` is no path, or what a path has is a directory or was added
        before), `NotFound`,
        `SourceRefused`, `SourceChanged`, `Unsupported`, `Unreachable`; then nothing is added. Warns
        with `UnreadableReference` of what was added and nobody with these settings will read.
        """
        with self._lock:
            content = self._open()
            place = self._place
        if max_objects is not None and max_objects < 1:
            raise InvalidValue(f"max_objects {max_objects}", "allows for no object at all")
        repository = content.writer.repository
        found = described(
            repository.references, uri_of_given(uri, repository.id), name, checksum=checksum,
            max_objects=max_objects, place=place,
        )  # fmt: skip
        with self._lock:
            self._open().set_all(found, overwrite=False)
        added = [reference_of(e) for e in found.values() if e.kind == Kind.REFERENCE]
        if notice := repository.references.unreadable(added):
            text = f"{notice}; {notice.hint}" if notice.hint else str(notice)
            warnings.warn(text, UnreadableReference, stacklevel=2)
        return [ArtifactManifestEntry(paths.text_of(path), entry) for path, entry in found.items()]


def described(
    references: References,
    uri: str,
    name: str | os.PathLike[str] | None = None,
    *,
    checksum: bool = True,
    max_objects: int | None = None,
    place: Place | None = None,
) -> dict[paths.Path, Entry]:
    """What a URI names, by the paths that it is to have. `place` is where `artfs://` URIs are that
    name no project. Raises as `Referring.add_reference`."""
    base = paths.parse_directory(name)
    project = (DEFAULT_ENTITY, DEFAULT_PROJECT) if place is None else (place.entity, place.project)
    found = references.describe(uri, checksum=checksum, max_objects=max_objects, project=project)
    entries: dict[paths.Path, Entry] = {}
    for one in found:
        if one.itself and not base and not one.path:
            raise InvalidValue(f"reference '{shown(uri)}'", "has no name in it", "give it one")
        path = base if one.itself and base else (*base, *paths.parse(one.path))
        entries[path] = entry_of_found(one, path[-1])
    return entries


def dependencies(version: Version) -> list[Version]:
    """The versions that entries of a version refer to. Reads its directories.

    Raises `NotFound` for one that is gone.
    """
    refs = set()
    repository = version.repository
    for _, entry in reading.entries(version.tree, repository.blobs):
        if entry.kind == Kind.REFERENCE:
            uri = reference_of(entry).uri
            if scheme_of(uri) == own_source.SCHEME:
                refs.add(own_source.parsed(uri)[0])
    return [Version.of(repository, ref) for ref in sorted(refs, key=str)]


def uri_of_given(given: object, store_id: str) -> str:
    """The URI that somebody means, who gave it or an entry of an artifact of that store.

    Raises `InvalidValue`, `ArtifactNotLoggedError`.
    """
    if isinstance(given, ArtifactManifestEntry):
        if given.store_id not in ("", store_id):
            raise InvalidValue(
                f"entry '{given.path}'", "is of an artifact in another store",
                "download it, and add_file it",
            )  # fmt: skip
        return given.ref_url()
    if not isinstance(given, str):
        raise InvalidValue(
            f"a {type(given).__name__}", "is neither a URI nor an entry of an artifact",
            "of a local file, its as_uri() is one",
        )  # fmt: skip
    return given
