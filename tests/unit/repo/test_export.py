"""A version on a local disk: whole, equal, and nothing touched that is not its own."""

from __future__ import annotations

import os
import resource
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from artfs.errors import ArtfsError, Damaged, SourceChanged
from artfs.format import keys
from artfs.format.reference import Reference, entry_of
from artfs.repo.editing import new_directory
from artfs.repo.export import Export, ExportFailed
from artfs.repo.packing import PackWriter
from artfs.repo.repository import Repository
from artfs.types import Entry
from tests.support.users import as_nobody, public_directory
from tests.unit.repo.trees import (
    Tree,
    flat,
    memory_repository,
    noise,
    stored_file,
    stored_node,
    stored_tree,
)

BIG = noise(700_000)
TREE: Tree = {
    b"a.txt": b"hello", b"big.bin": BIG, b"empty": b"", b"run.sh": (b"#!/bin/sh\n", 0o755),
    b"\xff\xfe": b"not UTF-8", b"new\nline": b"x", b"link": "a.txt", b"dangling": "../nowhere",
    b"none": {}, b"sub": {b"deep": {b"f.txt": b"1", b"g.bin": b"2"}, b"up": "../a.txt"},
}  # fmt: skip


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with memory_repository(tmp_path / "cache") as opened:
        yield opened


def stored(repository: Repository, tree: Tree = TREE) -> Entry:
    with PackWriter(repository) as writer:
        root = stored_tree(tree, writer)
        writer.finish()
    return root


def export(repository: Repository, root: Entry, target: Path, *patterns: str) -> tuple[int, int]:
    done = Export(repository, patterns)
    done.run(root, str(target))
    return done.written, done.kept


def found_in(directory: Path) -> dict[bytes, object]:
    """What is on disk, as `flat` has it."""
    found: dict[bytes, object] = {}
    base = os.fsencode(directory)
    for parent, directories, files in os.walk(base):
        for name in directories + files:
            path = parent + b"/" + name
            relative = os.path.relpath(path, base)
            info = os.lstat(path)
            if stat.S_ISLNK(info.st_mode):
                found[relative] = os.readlink(path).decode()
            elif stat.S_ISDIR(info.st_mode):
                found[relative] = None
            else:
                with open(path, "rb") as file:
                    data = file.read()
                mode = stat.S_IMODE(info.st_mode)
                found[relative] = data if mode == 0o644 else (data, mode)
    return found


def test_everything_is_written(repository: Repository, tmp_path: Path) -> None:
    root, target = stored(repository), tmp_path / "new" / "target"
    assert export(repository, root, target) == (8, 0)
    assert found_in(target) == flat(TREE)
    for path in target.rglob("*"):
        assert os.lstat(path).st_mtime_ns == 7, path


def test_equal_files_are_kept_and_the_rest_is_made_whole(
    repository: Repository, tmp_path: Path
) -> None:
    root = stored(repository)
    export(repository, root, tmp_path / "t")
    inode = (tmp_path / "t/big.bin").stat().st_ino
    assert export(repository, root, tmp_path / "t") == (0, 8)
    (tmp_path / "t/a.txt").write_bytes(b"HELLO")  # of the same size
    (tmp_path / "t/sub/deep/f.txt").unlink()
    (tmp_path / "t/run.sh").chmod(0o600)
    os.utime(tmp_path / "t/empty")
    (tmp_path / "t/link").unlink()
    (tmp_path / "t/link").symlink_to("elsewhere")
    assert export(repository, root, tmp_path / "t") == (2, 6)
    assert found_in(tmp_path / "t") == flat(TREE)
    assert (tmp_path / "t/big.bin").stat().st_ino == inode
    assert (tmp_path / "t/empty").stat().st_mtime_ns == 7


@pytest.mark.parametrize("position", [0, 300_000, len(BIG) - 1])
def test_one_differing_byte_of_a_large_file_is_seen(
    repository: Repository, tmp_path: Path, position: int
) -> None:
    root = stored(repository)
    export(repository, root, tmp_path / "t")
    with (tmp_path / "t/big.bin").open("r+b") as file:
        file.seek(position)
        file.write(bytes([BIG[position] ^ 1]))
    assert export(repository, root, tmp_path / "t") == (1, 7)
    assert (tmp_path / "t/big.bin").read_bytes() == BIG


def test_no_program_is_made_to_run_as_who_fetched_it(
    repository: Repository, tmp_path: Path
) -> None:
    root = stored(repository, {b"su": (b"#!/bin/sh\n", 0o6755), b"sticky": (b"", 0o1644)})
    for _ in ("written", "kept"):
        export(repository, root, tmp_path / "out")
        assert stat.S_IMODE((tmp_path / "out/su").stat().st_mode) == 0o755
        assert stat.S_IMODE((tmp_path / "out/sticky").stat().st_mode) == 0o1644


def test_an_interrupted_export_goes_on(repository: Repository, tmp_path: Path) -> None:
    root = stored(repository)

    def interrupt(_size: int, _files: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Export(repository, progress=interrupt).run(root, str(tmp_path / "t"))
    assert list(tmp_path.glob("t/**/.artfs-*")) == []
    written, kept = export(repository, root, tmp_path / "t")
    assert (written + kept, kept) == (8, 1)
    assert found_in(tmp_path / "t") == flat(TREE)


def test_other_files_are_left_alone(repository: Repository, tmp_path: Path) -> None:
    root, target = stored(repository), tmp_path / "t"
    (target / "sub").mkdir(parents=True)
    (target / "mine").write_bytes(b"mine")
    (target / "sub/mine").write_bytes(b"mine")
    export(repository, root, target)
    assert found_in(target) == {**flat(TREE), b"mine": b"mine", b"sub/mine": b"mine"}


def test_a_directory_with_other_files_is_not_removed_for_a_file(
    repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "t/a.txt").mkdir(parents=True)
    (tmp_path / "t/a.txt/mine").write_bytes(b"mine")
    with pytest.raises(ExportFailed, match=r"a\.txt.*not empty"):
        export(repository, stored(repository), tmp_path / "t")
    assert (tmp_path / "t/a.txt/mine").read_bytes() == b"mine"


def test_other_kinds_in_the_way_are_replaced(repository: Repository, tmp_path: Path) -> None:
    target = tmp_path / "t"
    (target / "a.txt").mkdir(parents=True)
    (target / "sub").write_bytes(b"a file")
    (target / "link").mkdir()
    os.mkfifo(target / "empty")
    export(repository, stored(repository), target)
    assert found_in(target) == flat(TREE)


@pytest.mark.parametrize("name", ["sub", "sub/deep", "none", "a.txt", "big.bin"])
def test_no_symlink_leads_writes_outside(repository: Repository, tmp_path: Path, name: str) -> None:
    outside, target = tmp_path / "outside", tmp_path / "t"
    (outside / "deep").mkdir(parents=True)
    (outside / "file").write_bytes(b"hello" if name == "a.txt" else b"theirs")
    (outside / "file").chmod(0o600)
    before = found_in(outside)
    link = target / name
    link.parent.mkdir(parents=True)
    link.symlink_to(outside if "." not in name else outside / "file")
    export(repository, stored(repository), target)
    assert found_in(outside) == before
    assert found_in(target) == flat(TREE)


PATTERNS: dict[str, set[bytes]] = {
    "a.txt": {b"a.txt"},
    "*.txt": {b"a.txt", b"sub", b"sub/deep", b"sub/deep/f.txt"},
    "sub/deep": {b"sub", b"sub/deep", b"sub/deep/f.txt", b"sub/deep/g.bin"},
    "sub/": {b"sub", b"sub/up", b"sub/deep", b"sub/deep/f.txt", b"sub/deep/g.bin"},
    "s*/g.bin": {b"sub", b"sub/deep", b"sub/deep/g.bin"},
    "none": {b"none"},
    "[ab]*.*": {b"a.txt", b"big.bin"},
    "\udcff*": {b"\xff\xfe"},
    "*.nothing": set(),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns(repository: Repository, tmp_path: Path, pattern: str) -> None:
    export(repository, stored(repository), tmp_path / "t", pattern)
    expected = {p: v for p, v in flat(TREE).items() if p in PATTERNS[pattern]}
    assert found_in(tmp_path / "t") == expected


def read_only(repository: Repository, version: bytes) -> Entry:
    """A version of which each directory may not be written to, and one file not be read."""
    with PackWriter(repository) as writer:
        secret = stored_file(b"secret", version, writer, 0o200)
        sub = stored_node(b"sub", {b"f": version}, writer)
        sub = msgspec.structs.replace(sub, mode=0o555)
        root = new_directory(b"", 0o555, 9, [secret, sub], writer)
        writer.finish()
    return root


def test_read_only_directories_are_no_hindrance(repository: Repository) -> None:
    old, new = read_only(repository, b"1"), read_only(repository, b"2")

    def get(root: Entry, target: Path, *patterns: str) -> None:
        assert as_nobody(lambda: export(repository, root, target, *patterns)) is not None

    with public_directory() as directory:
        target = directory / "t"
        for root in (old, new, new):
            get(root, target)
        assert stat.S_IMODE(target.stat().st_mode) == 0o555
        assert stat.S_IMODE((target / "sub").stat().st_mode) == 0o555
        assert (target / "sub/f").read_bytes() == b"2"
        assert stat.S_IMODE((target / "secret").stat().st_mode) == 0o200
        get(old, target, "sub/f")
        assert (target / "sub/f").read_bytes() == b"1"
        assert stat.S_IMODE((target / "sub").stat().st_mode) == 0o555


def test_a_target_that_cannot_be_written_is_named(repository: Repository) -> None:
    root = stored(repository)
    with public_directory() as directory:
        target = directory / "t"
        target.mkdir(mode=0o755)
        if os.getuid() != 0:
            # A directory of one's own is made writable, so here the target lies in one that is not.
            target.chmod(0o555)
            target /= "new"
        with pytest.raises(RuntimeError, match=r"ExportFailed: .*/t.*: "):
            as_nobody(lambda: export(repository, root, target))


def test_a_file_as_the_target(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"mine")
    with pytest.raises(ExportFailed, match="is not a directory"):
        export(repository, stored(repository), tmp_path / "t")


@pytest.mark.parametrize("name", [b"..", b".", b"a/b"])
def test_a_name_that_would_lead_outside_is_damage(
    repository: Repository, tmp_path: Path, name: bytes
) -> None:
    root = stored(repository, {name: b"x"})
    with pytest.raises(Damaged, match="a name that can be none"):
        export(repository, root, tmp_path / "t")


def test_a_damaged_file_does_not_appear(repository: Repository, tmp_path: Path) -> None:
    root = stored(repository, {b"a": noise(5000)})
    for info in list(repository.store.list(keys.PACKS)):
        data = bytearray(repository.store.get(info.key))
        if len(data) > 5000:
            data[2000] ^= 1
            repository.store.put(info.key, bytes(data))  # type: ignore[attr-defined]  # a MemoryStore
    with pytest.raises(ArtfsError, match="do not match their digest"):
        export(repository, root, tmp_path / "t")
    assert found_in(tmp_path / "t") == {}


def referring(repository: Repository, names: list[bytes], size: int) -> Entry:
    entries = [entry_of(name, Reference("http://host/x"), size, 0) for name in names]
    with PackWriter(repository) as writer:
        root = new_directory(b"", 0o755, 0, entries, writer)
        writer.finish()
    return root


def test_references_are_fetched_several_at_a_time(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, a prefix of 10,000 objects takes as many round trips."""
    others = threading.Barrier(8)

    def content(entry: Entry) -> Iterator[bytes]:
        others.wait(10)
        yield entry.name

    monkeypatch.setattr(repository.references, "content", content)
    names = [b"%02d" % n for n in range(16)]
    assert export(repository, referring(repository, names, 2), tmp_path / "out") == (16, 0)
    assert found_in(tmp_path / "out") == {name: name for name in names}


def test_a_reference_that_fails_stops_the_others(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_failed = threading.Event()

    def content(entry: Entry) -> Iterator[bytes]:
        if entry.name == b"00":
            has_failed.set()
            raise SourceChanged("http://host/x", "has changed")
        assert has_failed.wait(10)
        while True:  # until it is stopped
            yield b"x"

    monkeypatch.setattr(repository.references, "content", content)
    root = referring(repository, [b"%02d" % n for n in range(16)], 1)
    with pytest.raises(SourceChanged):
        export(repository, root, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_a_disk_that_takes_a_part_is_full(repository: Repository, tmp_path: Path) -> None:
    """What write(2) takes of the last piece is no error of its own."""
    root = stored(repository, {b"f": noise(100_000)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (99_000, limits[1]))
    try:
        with pytest.raises(ExportFailed, match="File too large"):
            export(repository, root, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path / "out") == []
