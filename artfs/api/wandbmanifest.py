"""A version as W&B's manifest, format 1, with the digests that W&B's SDK computes.

W&B has files and references only: a link is what it leads to, of a directory all that is in it; a
link that leads nowhere, or out of the version, is left out, and so is a directory of its own.
The digest of a reference is its source's ETag, or the MD5 of its content, or its URI where nothing
was recorded that W&B knows.
Source: wandb/sdk/artifacts/artifact_manifests/artifact_manifest_v1.py, wandb 0.30.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from typing import TypeAlias

from artfs.api.lookup import look_up, raw, text
from artfs.api.oserrors import ABSENT
from artfs.format.reference import Reference, reference_of
from artfs.repo.blobs import Blobs
from artfs.repo.reading import children, content
from artfs.repo.repository import Repository
from artfs.types import Entry, Kind

#: What a manifest has beside its contents.
HEAD: dict[str, object] = {
    "version": 1,
    "storagePolicy": "wandb-storage-policy-v1",
    "storagePolicyConfig": {"storageLayout": "V2"},
}
#: An entry: `digest`, and `size`; of a reference `ref`, and perhaps `extra`.
Row: TypeAlias = dict[str, object]
#: Called with (bytes, files) read since the last call.
Progress: TypeAlias = Callable[[int, int], None]


class WandbDigest:
    """W&B's digest of an artifact, from its entries in the order of their paths."""

    def __init__(self) -> None:
        self._hash = hashlib.md5(b"wandb-artifact-manifest-v1\n", usedforsecurity=False)

    def update(self, path: str, row: Row) -> None:
        """Add the next entry."""
        self._hash.update(raw(path) + f":{row['digest']}\n".encode())

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def contents(
    root: Entry, repository: Repository, progress: Progress = lambda _bytes, _files: None
) -> Iterator[tuple[str, Row]]:
    """The entries of a version by path, in the order of W&B's digest. Reads all files.

    Raises `Damaged`, `ObjectNotFound`, `Unreachable`; `SourceChanged` of a reference that is read.
    """
    for path, entry in _below(root, [root], "", repository.blobs):
        if entry.kind == Kind.REFERENCE:
            yield path, _reference(entry, repository)
        else:
            digest = _md5(content(entry, repository.blobs))
            yield path, {"digest": digest, "size": entry.size}
        progress(entry.size, 1)


def _below(root: Entry, way: list[Entry], prefix: str, blobs: Blobs) -> Iterator[tuple[str, Entry]]:
    found: dict[str, Entry] = {}
    for entry in children(way[-1], blobs):
        path = prefix + text(entry.name)
        behind = _behind(root, path, blobs) if entry.kind == Kind.SYMLINK else entry
        if behind is not None:
            # Paths are sorted whole: what is in `a` comes behind `a-b`, as `/` does behind `-`.
            found[path + "/" if behind.is_dir else path] = behind
    for path in sorted(found):
        entry = found[path]
        if not entry.is_dir:
            yield path, entry
        # A directory has never the digest of one that it is in; a link to one has led up.
        elif all(entry.digest != above.digest for above in way):
            yield from _below(root, [*way, entry], path, blobs)


def _behind(root: Entry, path: str, blobs: Blobs) -> Entry | None:
    try:
        return look_up(root, raw(path), blobs, path)
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise


def _reference(entry: Entry, repository: Repository) -> Row:
    reference = reference_of(entry)
    kind, value = reference.checksum_kind, reference.checksum_value
    if kind == "etag":
        digest = value.strip('"')
    elif kind == "md5":
        digest = base64.b64encode(bytes.fromhex(value)).decode()
    elif kind in ("blake3", "artfs"):
        digest = _md5(repository.references.content(entry))
    else:
        digest = reference.uri
    row: Row = {"digest": digest, "ref": reference.uri}
    if extra := extra_of(reference):
        row["extra"] = extra
    if kind and reference.sized:
        row["size"] = entry.size
    return row


def extra_of(reference: Reference) -> dict[str, str]:
    """What W&B keeps of a reference beside its digest."""
    extra: dict[str, str] = {}
    if reference.checksum_kind == "etag":
        value = reference.checksum_value
        extra["etag"] = value if reference.scheme.startswith("http") else value.strip('"')
    if reference.version:
        extra["versionID"] = reference.version
    return extra


def _md5(pieces: Iterator[bytes]) -> str:
    md5 = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        md5.update(piece)
    return base64.b64encode(md5.digest()).decode()
