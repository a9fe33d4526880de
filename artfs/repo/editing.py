"""Making directories: from entries, or from a stored directory and what changed in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from artfs.format.build import DirBuilder, Root, StoreNode, edit_directory
from artfs.format.digest import EMPTY_DIR
from artfs.repo.blobs import Blobs
from artfs.repo.packing import PackWriter
from artfs.repo.reading import drive
from artfs.types import Entry, Kind


def empty_directory(name: bytes = b"", mode: int = 0o755, mtime_ns: int = 0) -> Entry:
    """A directory without entries."""
    return Entry(name, Kind.DIRECTORY, mode, mtime_ns, 0, 0, EMPTY_DIR)


def new_directory(
    name: bytes, mode: int, mtime_ns: int, entries: Iterable[Entry], writer: PackWriter
) -> Entry:
    """Store a directory; `entries` in name order. Raises as `PackWriter.node`."""
    builder = DirBuilder(writer.node)
    for entry in entries:
        builder.push(entry)
    return _with(empty_directory(name, mode, mtime_ns), builder.root())


def edit(
    directory: Entry, changes: Mapping[bytes, Entry | None], writer: PackWriter, blobs: Blobs
) -> Entry:
    """A stored directory with some names set to new entries, or removed (None).

    Its own name, mode and mtime stay. Reads and writes only the nodes on the way.
    """
    return edit_to(directory, changes, writer.node, blobs)


def edit_to(
    directory: Entry, changes: Mapping[bytes, Entry | None], store: StoreNode, blobs: Blobs
) -> Entry:
    """The same with the new nodes given to `store`, which may do something else than store them."""
    if not changes:
        return directory
    steps = edit_directory(directory, sorted(changes.items()), store)
    return _with(directory, drive(steps, blobs))


def _with(directory: Entry, root: Root) -> Entry:
    return msgspec.structs.replace(
        directory,
        digest=root.digest, size=root.size, count=root.count, blob=root.blob, height=root.height,
    )  # fmt: skip
