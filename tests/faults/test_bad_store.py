"""Stores that are damaged, full, or of another time, as the command line meets them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from artfs.format import keys
from artfs.format.pack import BlobKind
from artfs.repo.repository import Repository
from artfs.store.directory import DirectoryStore
from artfs.types import BlobRef
from tests.support.mounts import artfs
from tests.unit.repo.trees import KEY, memory_repository, noise

DATA = noise(100_000)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    (path / "sub").mkdir(parents=True)
    (path / "data.bin").write_bytes(DATA)
    (path / "sub/small").write_bytes(b"small")
    return path


@pytest.fixture
def store(home: Path, source: Path) -> Path:
    artfs("init")
    artfs("put", "animals", source)
    return home / "store"


def fails(status: int, *args: str | Path, line: str) -> str:
    """The command ends with this status, prints nothing but one clear line, and a hint."""
    done = artfs(*args, check=False)
    assert done.returncode == status, done.stderr
    first, *rest = done.stderr.splitlines()
    assert first.startswith("artfs: "), done.stderr
    assert line in first
    assert len(rest) <= 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def blobs(store: Path) -> dict[BlobKind, list[tuple[Path, BlobRef]]]:
    """Every blob of a store, with the file of its pack."""
    found: dict[BlobKind, list[tuple[Path, BlobRef]]] = {kind: [] for kind in BlobKind}
    with memory_repository(store.parent / "peek", DirectoryStore(store)) as repository:
        for info in repository.store.list(keys.PACKS):
            for kind, ref in repository.blobs.pack_index(keys.pack_of(info.key)):
                found[kind].append((store / info.key, ref))
    return found


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 4]))


def test_a_flipped_bit_in_a_chunk(store: Path, tmp_path: Path) -> None:
    path, ref = max(blobs(store)[BlobKind.CHUNK], key=lambda item: item[1].stored)
    flip(path, ref.offset + ref.stored // 2)
    fails(5, "cat", "animals:v0", "data.bin", line="data.bin")
    fails(5, "get", "animals:v0", tmp_path / "t", line="data.bin")
    assert not (tmp_path / "t/data.bin").exists()
    assert artfs("cat", "animals:v0", "sub/small").stdout == "small"


def test_a_flipped_bit_in_a_node(store: Path, source: Path) -> None:
    for path, ref in blobs(store)[BlobKind.NODE]:
        flip(path, ref.offset + ref.stored // 2)
    fails(5, "ls", "animals:v0", line="digest")
    fails(5, "cat", "animals:v0", "data.bin", line="digest")
    fails(5, "get", "animals:v0", line="digest")
    assert artfs("log", "animals").stdout.startswith("v0")


def test_a_flipped_bit_in_a_pack_index(store: Path, source: Path) -> None:
    """Nothing is read by the index but what to share: it is found damaged, and not used."""
    for path in {path for found in blobs(store).values() for path, _ in found}:
        flip(path, path.stat().st_size - 60)
    assert artfs("cat", "animals:v0", "sub/small").stdout == "small"
    for cached in store.parent.rglob("known.sqlite*"):
        cached.unlink()
    (source / "more").write_bytes(b"more")
    assert artfs("put", "animals", source).stdout == "animals:v1\n"
    assert artfs("cat", "animals:v1", "data.bin", check=False).returncode == 0


def test_a_truncated_pack(store: Path) -> None:
    for path, _ in blobs(store)[BlobKind.CHUNK]:
        os.truncate(path, 50)
    fails(5, "cat", "animals:v0", "data.bin", line="bytes there")


def test_a_lost_pack(store: Path) -> None:
    for path, _ in blobs(store)[BlobKind.CHUNK]:
        path.unlink(missing_ok=True)
    fails(5, "cat", "animals:v0", "data.bin", line="packs/")


def test_a_version_record_that_is_garbage(store: Path) -> None:
    path = store / keys.version(KEY, 0)
    path.chmod(0o644)
    for garbage in (b"", b"\xff\xfe", b'{"version": 0}', path.read_bytes()[:-40]):
        path.write_bytes(garbage)
        fails(5, "ls", "animals:v0", line="versions/0000000000.json")
        fails(5, "log", "animals", line="versions/0000000000.json")


def test_a_store_of_a_newer_format(store: Path, source: Path) -> None:
    path = store / "artfs.json"
    before = json.loads(path.read_text())
    path.write_text(json.dumps({**before, "format": 2, "new": "field"}))
    for command in (["ls"], ["put", "animals", str(source)], ["init"]):
        fails(1, *command, line="format 2")
    path.write_text(json.dumps({**before, "new": "field"}))
    assert artfs("ls").stdout == "animals\tdataset\tv0\n"


@pytest.mark.parametrize("content", [b"", b"hello", b'{"format": "x", "id": "y"}', b"{}", b"[1]"])
def test_a_store_record_that_is_garbage(store: Path, content: bytes) -> None:
    (store / "artfs.json").write_bytes(content)
    fails(5, "ls", line="artfs.json")


def test_a_store_id_that_leads_elsewhere(store: Path) -> None:
    """It names a directory of the cache, and must not be a path."""
    (store / "artfs.json").write_text('{"format": 1, "id": "../../../evil"}')
    fails(5, "ls", line="artfs.json")


@contextlib.contextmanager
def small_disk(at: Path, size: str) -> Iterator[None]:
    at.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", at],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no tmpfs can be mounted: {made.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", at], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize("with_cache", [False, True], ids=["store", "store-and-cache"])
def test_a_full_disk(
    home: Path, source: Path, tmp_path: Path, with_cache: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", "2m"):
        store = tmp_path / "disk/store"
        monkeypatch.setenv("ARTFS_STORE", str(store))
        if with_cache:
            monkeypatch.setenv("ARTFS_CACHE_DIR", str(tmp_path / "disk/cache"))
        artfs("init")
        artfs("put", "animals", source)
        (source / "large").write_bytes(noise(5 << 20))
        assert fails(1, "put", "animals", source, line=": No space left on device") == ""
        assert list(store.glob(".tmp/*")) == []
        assert artfs("log", "animals").stdout.count("\nv") == 0
        (source / "large").unlink()
        (source / "more").write_bytes(b"fits")
        assert artfs("put", "animals", source).stdout == "animals:v1\n"
        assert artfs("cat", "animals:v1", "more").stdout == "fits"

        filler = tmp_path / "disk/filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        (source / "even more").write_bytes(b"1")
        fails(1, "put", "animals", source, line=": No space left on device")
        assert artfs("cat", "animals:v1", "more").stdout == "fits"
        filler.unlink()
        assert artfs("put", "animals", source).stdout == "animals:v2\n"
        with Repository.open(str(store), tmp_path / "other") as repository:
            assert repository.catalog.versions(KEY) == [0, 1, 2]
