"""Directories made to hold a version and nothing else, and what is never removed for that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from artfs.errors import InvalidValue, VerificationFailed
from artfs.repo.export import Export, ExportFailed
from artfs.repo.matching import prune, verify
from artfs.repo.repository import Repository
from artfs.types import Entry
from tests.unit.repo.trees import Tree, commit_tree, memory_repository

TREE: Tree = {b"a": b"a", b"d": {b"e": {b"f": b"f"}}, b"link": "a"}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return memory_repository(tmp_path / "cache")


@pytest.fixture
def root(repository: Repository) -> Entry:
    return commit_tree(repository, TREE).record.root.entry()


def names(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_only_what_the_version_has_stays(
    repository: Repository, root: Entry, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    Export(repository).run(root, str(out))
    before = names(out)
    for path in ("x", "d/x", "d/e/x"):
        (out / path).mkdir()
        (out / path / "file").touch()
    (out / os.fsdecode(b"\xff")).touch()
    prune(root, str(out), repository.blobs)
    assert names(out) == before
    verify(root, str(out), repository.blobs)


def test_what_is_of_another_kind_goes(repository: Repository, root: Entry, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "a/deep").mkdir(parents=True)
    (out / "d").touch()
    (out / "link").mkdir()
    prune(root, str(out), repository.blobs)
    assert names(out) == []


def test_a_directory_that_is_not_there(repository: Repository, root: Entry, tmp_path: Path) -> None:
    prune(root, str(tmp_path / "out"), repository.blobs)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", ["/", "//", "/tmp/..", "link"])
def test_the_root_directory_is_not_emptied(
    repository: Repository, root: Entry, target: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def never(*args: object) -> None:
        raise AssertionError(f"would remove {args}")

    monkeypatch.setattr("artfs.repo.matching._prune", never)
    if target == "link":
        target = str(tmp_path / "link")
        os.symlink("/", target)
    with pytest.raises(InvalidValue, match="is the root directory"):
        prune(root, target, repository.blobs)


@pytest.mark.parametrize("store", ["out", "out/store", "."])
def test_the_store_is_not_removed(
    repository: Repository, root: Entry, store: str, tmp_path: Path
) -> None:
    (tmp_path / "out/store").mkdir(parents=True)
    with pytest.raises(InvalidValue, match="contains the store, or is in it"):
        prune(root, str(tmp_path / "out"), repository.blobs, str(tmp_path / store))
    assert names(tmp_path / "out") == ["store"]


def test_a_mount_point_is_not_removed(
    repository: Repository, root: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "out/x/inner"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    real = os.fstat

    def other_device(fd: int) -> os.stat_result:
        info = real(fd)
        if os.path.samestat(info, os.stat(inner)):
            return os.stat_result((*info[:2], info.st_dev + 1, *info[3:]))
        return info

    monkeypatch.setattr(os, "fstat", other_device)
    with pytest.raises(ExportFailed, match="x/inner: is a mount point"):
        prune(root, str(tmp_path / "out"), repository.blobs)
    assert (inner / "file").exists()


def test_a_link_that_leads_elsewhere(repository: Repository, root: Entry, tmp_path: Path) -> None:
    out = tmp_path / "out"
    Export(repository).run(root, str(out))
    (out / "link").unlink()
    (out / "link").symlink_to("d")
    with pytest.raises(VerificationFailed, match="link: is another link"):
        verify(root, str(out), repository.blobs)
