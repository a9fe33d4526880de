"""What is wrong with a version is found, and named by its path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from artfs.format import keys
from artfs.repo.checking import Check
from artfs.repo.packing import PackWriter
from artfs.repo.reading import resolve
from artfs.repo.repository import Repository
from artfs.store.memory import MemoryStore
from artfs.types import BlobRef, Entry
from tests.unit.repo.trees import (
    KEY,
    Tree,
    commit_edit,
    commit_tree,
    memory_repository,
    noise,
    stored_file,
    stored_tree,
)

TREE: Tree = {
    b"big": noise(1 << 20), b"empty": b"", b"hole": bytes(8 << 20), b"link": "big",
    b"d": {b"small": b"x", b"e": {}, b"many": {b"%d" % i: b"%d" % i for i in range(300)}},
}  # fmt: skip


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def found(store: MemoryStore, tmp_path: Path) -> dict[bytes, str]:
    """Faults by path, as one who opens the store now sees them."""
    seen: list[tuple[int, int]] = []
    with memory_repository(tmp_path / "other", store) as repository:
        root = repository.catalog.version(KEY, 0).root.entry()
        rows = {
            fault.path: str(fault.error)
            for fault in Check(repository.blobs, lambda *done: seen.append(done)).faults(root)
        }
    if not rows:
        assert (sum(size for size, _ in seen), len(seen)) == (root.size, 305)
    return rows


def change(store: MemoryStore, ref: BlobRef, what: Callable[[bytearray, int], None]) -> None:
    key = keys.pack(ref.pack)
    data = bytearray(store.get(key))
    what(data, ref.offset)
    store.delete(key)
    writer = store.writer(key)
    writer.write([bytes(data)])
    writer.commit()


def flip(data: bytearray, offset: int) -> None:
    data[offset] ^= 1


def blob_of(repository: Repository, path: bytes) -> BlobRef:
    root = repository.catalog.version(KEY, 0).root.entry()
    entry = resolve(root, path, repository.blobs)
    assert entry.blob is not None
    return entry.blob


def test_a_version_that_is_whole(store: MemoryStore, tmp_path: Path) -> None:
    with memory_repository(tmp_path, store) as repository:
        commit_tree(repository, TREE)
    assert found(store, tmp_path) == {}


@pytest.mark.parametrize("path", [b"d/small", b"d/many/7", b"big", b"d", b"d/many"])
def test_a_flipped_bit(store: MemoryStore, tmp_path: Path, path: bytes) -> None:
    """In a chunk, in a chunk list, in a directory: all else is still looked at."""
    with memory_repository(tmp_path, store) as repository:
        commit_tree(repository, TREE)
        change(store, blob_of(repository, b"d/many/8"), flip)
        change(store, blob_of(repository, path), flip)
    expected = {path} if path in (b"d", b"d/many") else {path, b"d/many/8"}
    assert found(store, tmp_path).keys() == expected


def test_a_pack_that_is_gone(store: MemoryStore, tmp_path: Path) -> None:
    with memory_repository(tmp_path, store) as repository:
        commit_tree(repository, {b"a": b"a", b"b": b""})
        store.delete(keys.pack(blob_of(repository, b"a").pack))
    assert "no such object" in found(store, tmp_path)[b"a"]


def test_digests_and_sizes_that_are_not_those_of_the_content(
    store: MemoryStore, tmp_path: Path
) -> None:
    def lying(writer: PackWriter) -> dict[bytes, Entry | None]:
        file = stored_file(b"file", noise(1 << 20), writer)
        tree = msgspec.structs.replace(stored_tree({b"x": b"x"}, writer), name=b"tree")
        replace = msgspec.structs.replace
        return {
            b"file": replace(file, digest=bytes(32)),
            b"tree": replace(tree, size=7, digest=bytes(32)),
        }

    with memory_repository(tmp_path, store) as repository:
        commit_edit(repository, lying)
    rows = found(store, tmp_path)
    assert rows.keys() == {b"file", b"tree"}
    assert all("its digest or size is not that of" in why for why in rows.values())
