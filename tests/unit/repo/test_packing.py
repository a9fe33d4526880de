"""Every blob is stored once; what this machine believes is stored may be wrong without harm."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from artfs.errors import Damaged, ObjectNotFound
from artfs.format import keys, pack
from artfs.repo import known
from artfs.repo.packing import PackWriter
from artfs.repo.repository import Repository
from artfs.store.directory import DirectoryStore
from artfs.store.memory import MemoryStore
from artfs.types import ArtifactKey
from tests.support.faulty import FaultyStore
from tests.unit.repo.trees import commit_tree, flat, memory_repository, noise, read_version

DATA = noise(50_000)
OTHER = ArtifactKey("default", "default", "plants")


def packs(repository: Repository) -> list[bytes]:
    return [keys.pack_of(info.key) for info in repository.store.list(keys.PACKS)]


def index_path(cache: Path) -> Path:
    [found] = cache.rglob("known.sqlite")
    return found


def test_equal_files_of_one_commit_are_stored_once(tmp_path: Path) -> None:
    with memory_repository(tmp_path) as repository:
        done = commit_tree(repository, {b"a": DATA, b"b": DATA, b"c": {b"d": DATA}})
        assert len(DATA) < done.record.stored < len(DATA) + 2000


@pytest.mark.parametrize("key", [ArtifactKey("default", "default", "animals"), OTHER])
def test_other_commits_share_what_is_stored(tmp_path: Path, key: ArtifactKey) -> None:
    with memory_repository(tmp_path) as repository:
        commit_tree(repository, {b"a": DATA})
        done = commit_tree(repository, {b"b": DATA, b"new": b"few"}, key)
        assert done.record.stored < 2000
        assert read_version(repository, done.version, key) == {b"b": DATA, b"new": b"few"}


def test_what_another_machine_stored_is_shared(tmp_path: Path) -> None:
    store = MemoryStore()
    with memory_repository(tmp_path / "one", store) as one:
        commit_tree(one, {b"a": DATA})
    with memory_repository(tmp_path / "two", store) as two:
        assert commit_tree(two, {b"b": DATA}).record.stored < 2000


def test_chunks_and_nodes_lie_in_packs_of_their_own(tmp_path: Path) -> None:
    with memory_repository(tmp_path) as repository:
        commit_tree(repository, {b"a": DATA, b"d": {b"e": b"x"}})
        kinds = [{kind for kind, _ in repository.blobs.pack_index(i)} for i in packs(repository)]
        assert sorted(map(len, kinds)) == [1, 1]


def test_packs_end_near_their_target_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "TARGET_SIZE", 100_000)
    with memory_repository(tmp_path) as repository:
        tree = {b"%d" % n: noise(30_000, n) for n in range(10)}
        commit_tree(repository, tree)
        sizes = [info.size for info in repository.store.list(keys.PACKS)]
        assert len(sizes) == 4
        assert max(sizes) < 131_000
        assert read_version(repository, 0) == flat(tree)


def overwrite_end(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


def make_foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE blobs (text TEXT)")
        db.execute("CREATE TABLE packs (text TEXT)")
    db.close()


def make_newer(path: Path) -> None:
    """In a newer version the columns may mean something else."""
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
        db.execute("UPDATE blobs SET offset = offset + 1")
    db.close()


SPOILS: list[Callable[[Path], object]] = [
    Path.unlink,
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"no database" * 1000),
    lambda path: os.truncate(path, path.stat().st_size // 2),
    overwrite_end,
    make_foreign,
    make_newer,
]


@pytest.mark.parametrize("spoil", SPOILS, ids=[
    "lost", "empty", "garbage", "truncated", "overwritten", "foreign", "newer",
])  # fmt: skip
def test_a_spoilt_index_is_rebuilt(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    store = MemoryStore()
    with memory_repository(tmp_path, store) as repository:
        commit_tree(repository, {b"%d" % n: noise(300, n) for n in range(200)} | {b"a": DATA})
    spoil(index_path(tmp_path))
    with memory_repository(tmp_path, store) as repository:
        done = commit_tree(repository, {b"b": DATA})
        assert done.record.stored < 2000
        assert read_version(repository, 1) == {b"b": DATA}
    with memory_repository(tmp_path, store) as repository:
        assert commit_tree(repository, {b"c": DATA}).record.stored < 2000
    with contextlib.closing(sqlite3.connect(index_path(tmp_path))) as db:
        assert db.execute("SELECT count(*) FROM blobs").fetchone() > (200,)


def test_an_index_spoilt_while_it_is_open(tmp_path: Path) -> None:
    with memory_repository(tmp_path) as repository:
        commit_tree(repository, {b"%d" % n: noise(300, n) for n in range(200)} | {b"a": DATA})
        repository.known.close()
        repository.known.find([b"x" * 32])  # opened again: now it is no longer checked
        overwrite_end(index_path(tmp_path))
        done = commit_tree(repository, {b"b": DATA})
        assert read_version(repository, done.version) == {b"b": DATA}


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file where the directory should be")
    with memory_repository(tmp_path / "cache") as repository:
        commit_tree(repository, {b"a": DATA})
        assert commit_tree(repository, {b"b": DATA}).record.stored < 2000


def test_an_index_that_others_hold_is_left_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    with memory_repository(tmp_path, store) as repository:
        commit_tree(repository, {b"a": DATA})
    path = index_path(tmp_path)
    before = path.stat().st_ino
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "timeout": 0}))
    with memory_repository(tmp_path, store) as repository:
        done = commit_tree(repository, {b"b": DATA})
        assert done.record.stored < 2000
    holder.execute("ROLLBACK")
    holder.close()
    assert path.stat().st_ino == before


def test_a_damaged_pack_is_not_reused(tmp_path: Path) -> None:
    store = MemoryStore()
    with memory_repository(tmp_path / "one", store) as repository:
        commit_tree(repository, {b"a": DATA})
        for pack_id in packs(repository):
            key = keys.pack(pack_id)
            store.put(key, store.get(key)[:-1] + b"?")
    with memory_repository(tmp_path / "two", store) as repository:
        commit_tree(repository, {b"b": DATA})
        assert read_version(repository, 1) == {b"b": DATA}


def test_a_trailer_with_any_bit_flipped_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with memory_repository(tmp_path, DirectoryStore.create(root)) as repository:
        commit_tree(repository, {b"a": b"x"})
        pack_id = packs(repository)[0]
        path = root / keys.pack(pack_id)
        good = path.read_bytes()
        reserved = range(len(good) - 12, len(good) - 8)
        for position in range(len(good) - pack.TRAILER_SIZE, len(good)):
            for bit in () if position in reserved else (1, 128):
                bad = bytearray(good)
                bad[position] ^= bit
                path.write_bytes(bad)
                with pytest.raises(Damaged, match="pack "):
                    list(repository.blobs.pack_index(pack_id))


def without_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a store of so many packs that a small commit does not list them."""
    monkeypatch.setattr(known, "CHEAP_LISTING", 0)


def test_a_vanished_pack_fails_the_commit_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with memory_repository(tmp_path) as repository:
        commit_tree(repository, {b"a": DATA, b"one": b"1"})
        commit_tree(repository, {b"b": DATA[::-1], b"two": b"2"})
        for pack_id in packs(repository):
            repository.store.delete(keys.pack(pack_id))
        without_listing(monkeypatch)
        tree = {b"c": DATA, b"d": DATA[::-1]}  # out of two packs that are gone
        with pytest.raises(ObjectNotFound, match="packs/"):
            commit_tree(repository, tree)
        assert repository.catalog.newest_number(ArtifactKey("default", "default", "animals")) == 1
        done = commit_tree(repository, tree)
        assert read_version(repository, done.version) == tree


def test_a_copied_store_does_not_mislead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stores with one id share an index; each has packs that the other lacks."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    with memory_repository(tmp_path / "cache", DirectoryStore(one)) as repository:
        commit_tree(repository, {b"a": b"x"})
    shutil.copytree(one, two)
    with memory_repository(tmp_path / "cache", DirectoryStore(one)) as repository:
        commit_tree(repository, {b"a": DATA})
    with memory_repository(tmp_path / "cache", DirectoryStore(two)) as repository:
        commit_tree(repository, {b"b": DATA})
        assert read_version(repository, 1) == {b"b": DATA}


@pytest.mark.parametrize("call", ["writer", "writer.write", "writer.commit"])
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("batch", [1000, 1 << 20])
def test_a_failed_write_leaves_no_pack_and_no_temporary_file(
    tmp_path: Path, call: str, nth: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artfs.repo.packing._BATCH", batch)
    root = tmp_path / "store"
    store = FaultyStore(DirectoryStore.create(root))
    store.fail(call, nth, OSError(28, "full"))
    with memory_repository(tmp_path / "cache", store) as repository:
        with pytest.raises(OSError, match="full"):
            commit_tree(repository, {b"%d" % n: noise(900, n) for n in range(20)})
        store.verify_all_hit()
        assert list(root.glob(".tmp/*")) == []
        for pack_id in packs(repository):
            list(repository.blobs.pack_index(pack_id))  # what is there is whole


def test_an_aborted_writer_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with (
        memory_repository(tmp_path / "cache", DirectoryStore.create(root)) as repository,
        PackWriter(repository) as writer,
    ):
        writer.chunk(noise(5 << 20))
        writer.abort()
        assert packs(repository) == []
        assert [path for path in root.rglob("*") if path.is_file()] == []
