"""Versions made of dicts, and read back as dicts."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from artfs.format.build import Root
from artfs.format.digest import of_link
from artfs.repo import chunking
from artfs.repo.commit import Committed, commit
from artfs.repo.editing import edit, empty_directory, new_directory
from artfs.repo.packing import PackWriter
from artfs.repo.reading import content, entries
from artfs.repo.repository import Repository
from artfs.store.base import Store
from artfs.store.memory import MemoryStore
from artfs.types import ArtifactKey, Entry, Kind

#: A file's bytes; an executable file's as (bytes, mode); a link's target as str; a directory's
#: content as a mapping.
Node: TypeAlias = "bytes | tuple[bytes, int] | str | Mapping[bytes, Node]"
Tree: TypeAlias = Mapping[bytes, Node]

KEY = ArtifactKey("default", "default", "animals")


def memory_repository(cache: Path, store: Store | None = None) -> Repository:
    return Repository(store or MemoryStore(), "ab" * 16, cache)


def noise(size: int, seed: object = 0) -> bytes:
    """Bytes that do not compress, always the same ones."""
    return random.Random(f"{seed}").randbytes(size)


def reader(data: bytes) -> Callable[[int, int], bytes]:
    def read(offset: int, length: int) -> bytes:
        assert offset >= 0
        assert offset + length <= len(data)
        return data[offset : offset + length]

    return read


def stored_file(name: bytes, data: bytes, writer: PackWriter, mode: int = 0o644) -> Entry:
    root = chunking.store_file(reader(data), len(data), writer)
    return file_entry(root, name, mode)


def file_entry(root: Root, name: bytes = b"f", mode: int = 0o644) -> Entry:
    return Entry(
        name, Kind.FILE, mode, 7, root.size, 0, root.digest, root.blob, root.height
    )  # fmt: skip


def stored_link(name: bytes, target: str) -> Entry:
    raw = target.encode()
    return Entry(name, Kind.SYMLINK, 0o777, 7, len(raw), 0, of_link(raw), target=raw)


def stored_node(name: bytes, node: Node, writer: PackWriter) -> Entry:
    if isinstance(node, bytes):
        return stored_file(name, node, writer)
    if isinstance(node, tuple):
        return stored_file(name, node[0], writer, node[1])
    if isinstance(node, str):
        return stored_link(name, node)
    inside = [stored_node(n, node[n], writer) for n in sorted(node)]
    return new_directory(name, 0o755, 7, inside, writer)


def stored_tree(tree: Tree, writer: PackWriter) -> Entry:
    return stored_node(b"", tree, writer)


def commit_tree(
    repository: Repository,
    tree: Tree,
    key: ArtifactKey = KEY,
    commit_id: str | None = None,
    base: int | None = None,
    aliases: tuple[str, ...] = (),
    run: str = "",
) -> Committed:
    with PackWriter(repository) as writer:
        root = stored_tree(tree, writer)
        return commit(
            repository, key, root, writer, commit_id=commit_id or uuid.uuid4().hex, base=base,
            aliases=aliases, run=run,
        )  # fmt: skip


def commit_edit(
    repository: Repository, make: Callable[[PackWriter], dict[bytes, Entry | None]]
) -> Committed:
    """Commit the newest version (or nothing) with some entries of its root changed."""
    newest = repository.catalog.newest_number(KEY)
    old = empty_directory()
    if newest >= 0:
        old = repository.catalog.version(KEY, newest).root.entry()
    with PackWriter(repository) as writer:
        root = edit(old, make(writer), writer, repository.blobs)
        return commit(repository, KEY, root, writer, commit_id=uuid.uuid4().hex)


def flat(tree: Tree, prefix: bytes = b"") -> dict[bytes, object]:
    """Path -> what is there; a directory is None."""
    found: dict[bytes, object] = {}
    for name, node in tree.items():
        if isinstance(node, Mapping):
            found[prefix + name] = None
            found.update(flat(node, prefix + name + b"/"))
        else:
            found[prefix + name] = node
    return found


def read_flat(root: Entry, repository: Repository) -> dict[bytes, object]:
    """Every path of a stored tree, read in full; as `flat`."""
    found: dict[bytes, object] = {}
    for path, entry in entries(root, repository.blobs):
        if entry.is_dir:
            found[path] = None
        elif entry.kind == Kind.SYMLINK:
            found[path] = entry.target.decode()
        else:
            data = b"".join(content(entry, repository.blobs))
            found[path] = data if entry.mode == 0o644 else (data, entry.mode)
    return found


def read_version(
    repository: Repository, number: int, key: ArtifactKey = KEY
) -> dict[bytes, object]:
    """Every path of a version, read in full; as `flat`."""
    return read_flat(repository.catalog.version(key, number).root.entry(), repository)
