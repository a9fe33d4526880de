"""Blobs of a remote store of which the copy on the local disk is damaged."""

from __future__ import annotations

from pathlib import Path

from artfs.format import keys
from artfs.repo.packing import PackWriter
from artfs.repo.repository import Repository
from artfs.store.cached.store import CachedStore
from tests.support.remote import RemoteStore
from tests.unit.repo.trees import noise

SIZE = 100_000


def opened(far: RemoteStore, path: Path) -> Repository:
    store = CachedStore(far, path / "id", keys.PACKS, keys.is_version, size=1 << 30, requests=4)
    return Repository(store, "id", path)


def test_a_damaged_copy_is_fetched_again_and_no_damage_of_the_store(tmp_path: Path) -> None:
    far = RemoteStore()
    with opened(far, tmp_path) as repository:
        with PackWriter(repository) as writer:
            refs = [writer.chunk(noise(SIZE, n)) for n in range(6)]
            writer.finish()
        assert repository.blobs.span(refs) == b"".join(noise(SIZE, n) for n in range(6))
        list(repository.blobs.pack_index(refs[0].pack))
    [path] = (tmp_path / "id" / "packs").iterdir()

    def damage() -> None:
        path.write_bytes(path.read_bytes()[:65536] + bytes(path.stat().st_size - 65536))

    for read in (
        lambda blobs: [blobs.read(ref) for ref in refs] == [noise(SIZE, n) for n in range(6)],
        lambda blobs: blobs.span(refs) == b"".join(noise(SIZE, n) for n in range(6)),
        lambda blobs: [ref for _, ref in blobs.pack_index(refs[0].pack)] == refs,
    ):
        damage()
        before = len(far.ranges)
        with opened(far, tmp_path) as repository:
            assert read(repository.blobs)
            assert len(far.ranges) > before
            before = len(far.ranges)
            assert read(repository.blobs)
            assert len(far.ranges) == before
