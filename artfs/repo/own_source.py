"""`artfs://ENTITY/PROJECT/NAME:vN/PATH`: entries of other artifacts of the same store.

A version never changes, so what was recorded is there for as long as the version is; its chunks are
verified like those of any file. PATH is percent-encoded where it has to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote, unquote_to_bytes

from artfs.errors import InvalidValue, NotFound
from artfs.format.reference import Reference, reference_of
from artfs.repo import reading
from artfs.repo.blobs import Blobs
from artfs.repo.catalog import Catalog
from artfs.sources.base import Found, changed, shown, too_many
from artfs.types import DEFAULT_ENTITY, DEFAULT_PROJECT, ArtifactKey, Entry, Kind, Ref, parse_ref

SCHEME = "artfs"
_DEFAULT = (DEFAULT_ENTITY, DEFAULT_PROJECT)


class ArtfsSource:
    """Reads the store itself. Thread-safe."""

    def __init__(self, catalog: Catalog, blobs: Blobs) -> None:
        self._catalog = catalog
        self._blobs = blobs

    def describe(self, uri: str, *, checksum: bool, max_objects: int | None) -> Sequence[Found]:
        """See `Source`. A reference found there is taken over, and refers to what that one does."""
        ref, path = parsed(uri)
        version = self._catalog.resolve(ref)
        entry = reading.resolve(version.root.entry(), path, self._blobs, str(ref))
        if entry.kind == Kind.SYMLINK:
            raise InvalidValue(shown(uri), "is a symbolic link", "name the file that it leads to")
        if not entry.is_dir:
            there = uri_of(ref.artifact, version.version, path)
            return [_found(_text(path.rpartition(b"/")[2]), entry, there, checksum, itself=True)]
        found: list[Found] = []
        for below, inner in reading.entries(entry, self._blobs):
            if inner.is_dir:
                continue
            if len(found) == max_objects:
                raise too_many(uri, max_objects)
            whole = b"/".join((path, below)) if path else below
            there = uri_of(ref.artifact, version.version, whole)
            found.append(_found(_text(below), inner, there, checksum))
        return found

    def _entry(self, reference: Reference) -> Entry:
        ref, path = parsed(reference.uri)
        try:
            version = self._catalog.resolve(ref)
            entry = reading.resolve(version.root.entry(), path, self._blobs, str(ref))
        except NotFound as error:
            raise changed(reference, f"it is gone: {error}") from error
        if entry.kind != Kind.FILE:
            raise changed(reference, "it is no file")
        if reference.checksum and reference.checksum != f"artfs:{entry.digest.hex()}":
            raise changed(reference, "its digest is another")
        return entry

    def require_allowed(self, reference: Reference) -> None:
        """See `Source`; all of the store may be read."""

    def read(self, reference: Reference, size: int, start: int, end: int) -> Iterator[bytes]:
        """See `Source`. Raises `Damaged`, `ObjectNotFound` too."""
        entry = self._entry(reference)
        if start < end:
            yield from reading.content(entry, self._blobs, start, end - start)

    def size(self, reference: Reference) -> int | None:
        """See `Source`."""
        return self._entry(reference).size

    def close(self) -> None:
        """Nothing is held."""


def _found(name: str, entry: Entry, uri: str, checksum: bool, itself: bool = False) -> Found:
    link = entry.target if entry.kind == Kind.SYMLINK else None
    if entry.kind == Kind.REFERENCE:
        reference = reference_of(entry)
    else:
        # The size holds whether or not the digest is to count: a version does not change.
        reference = Reference(uri, f"artfs:{entry.digest.hex()}" if checksum else "")
    return Found(name, reference, entry.size, entry.mtime_ns, entry.mode, link, itself)


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def parsed(uri: str, project: tuple[str, str] = _DEFAULT) -> tuple[Ref, bytes]:
    """(ref, path) of `artfs://[[ENTITY/]PROJECT/]NAME:VERSION[/PATH]`, `NAME@DIGEST` for NAME:...

    Raises `InvalidValue`.
    """
    names = uri.partition("://")[2].split("/")
    for i, name in enumerate(names[:3], 1):
        if ":" in name or "@" in name:
            path = [unquote_to_bytes(part) for part in names[i:]]
            inside = b"/".join(part for part in path if part not in (b"", b"."))
            return parse_ref("/".join(names[:i]), project), inside
    raise InvalidValue(
        f"reference '{shown(uri)}'", "names no version",
        "it has the form artfs://[[ENTITY/]PROJECT/]NAME:vN/PATH",
    )  # fmt: skip


def uri_of(key: ArtifactKey, number: int, path: bytes) -> str:
    """The URI of an entry of a version."""
    return f"{SCHEME}://{key.entity}/{key.project}/{key.name}:v{number}/{quote(path)}".rstrip("/")


def absolute(uri: str, project: tuple[str, str]) -> str:
    """The same URI with entity and project in it. Raises `InvalidValue`."""
    ref, path = parsed(uri, project)
    key = ref.artifact
    selector = f"@{ref.digest}" if ref.digest else f":{ref.selector}"
    return f"{SCHEME}://{key.entity}/{key.project}/{key.name}{selector}/{quote(path)}"
