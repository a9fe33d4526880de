"""What a killed export leaves goes with the next one; what a living one writes stays."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from artfs.repo import matching, partial
from artfs.repo.export import Export
from artfs.repo.repository import Repository
from artfs.types import Entry
from tests.unit.repo.trees import KEY, Tree, commit_tree, memory_repository

ELSEWHERE = b".artfs-12345678-0123456789abcdef"
TREE: Tree = {b"a": b"1", b"sub": {b"b": b"2"}}


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with memory_repository(tmp_path / "cache") as opened:
        yield opened


def version(repository: Repository, tree: Tree = TREE) -> Entry:
    commit_tree(repository, tree)
    return repository.catalog.latest_version(KEY).root.entry()


def left(directory: Path) -> list[Path]:
    return list(directory.rglob(".artfs-*"))


@contextmanager
def writer(directory: Path) -> Iterator[int]:
    """Another process that is writing a file in a directory; its id."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with partial.named_when_whole(os.fsencode(directory)) as (file, _):
                file.write(b"half of it")
                os.write(writable, b"!")
                signal.pause()
        finally:
            os._exit(1)
    os.close(writable)
    try:
        assert os.read(readable, 1) == b"!"
        yield child
    finally:
        os.close(readable)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize("how", ["get", "checkout"])
@pytest.mark.parametrize("place", ["", "sub"])
def test_what_is_left_goes_once_its_writer_is_dead(
    repository: Repository, tmp_path: Path, how: str, place: str
) -> None:
    root, target = version(repository), tmp_path / "target"

    def again() -> None:
        if how == "checkout":
            matching.prune(root, str(target), repository.blobs)
        Export(repository).run(root, str(target))

    again()
    with writer(target / place):
        again()
        assert [path.read_bytes() for path in left(target)] == [b"half of it"]
    assert len(left(target)) == 1
    again()
    assert left(target) == []
    assert matching.verify(root, str(target), repository.blobs) == 0


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with partial.named_when_whole(os.fsencode(tmp_path)) as (file, _):
            file.write(b"half of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert left(tmp_path) == []


def test_what_other_machines_left_may_be_written_still(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, target = version(repository), tmp_path / "target"
    target.mkdir()
    (target / os.fsdecode(ELSEWHERE)).write_bytes(b"half of it")
    link = partial.new_name(os.fsencode(target))  # links cannot be locked
    os.symlink("a", link)
    (target / ".artfs-notes").write_bytes(b"mine")
    Export(repository).run(root, str(target))
    assert len(left(target)) == 3
    monkeypatch.setattr(partial, "_PATIENCE", 0.0)
    Export(repository).run(root, str(target))
    assert left(target) == [target / ".artfs-notes"]


def test_what_is_in_the_version_is_no_leaving(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial, "_PATIENCE", 0.0)
    root, target = version(repository, {ELSEWHERE: b"content", b"a": b"1"}), tmp_path / "target"
    Export(repository).run(root, str(target))
    inode = (target / os.fsdecode(ELSEWHERE)).stat().st_ino
    matching.prune(root, str(target), repository.blobs)
    Export(repository, ["a"]).run(root, str(target))
    assert (target / os.fsdecode(ELSEWHERE)).stat().st_ino == inode


def test_a_file_that_is_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = os.fsencode(tmp_path)
    swept: list[Path] = []

    def lock(file: object, how: int) -> None:
        if how == fcntl.LOCK_EX and not swept:
            swept.extend(left(tmp_path))
            partial.sweep(directory, set)

    monkeypatch.setattr(fcntl, "flock", lock)
    with partial.named_when_whole(directory) as (_, path):
        assert left(tmp_path) == [Path(os.fsdecode(path))] != swept
        os.unlink(path)
    assert len(swept) == 1
