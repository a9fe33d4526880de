"""A store, a directory to work in, and no run left going."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from artfs.api import current
from artfs.api.place import find_place
from artfs.repo.repository import Repository


@pytest.fixture(autouse=True)
def work(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with the files of the documents in it; ARTFS_STORE is a store."""
    Repository.open(str(home / "store"), home / "cache", create=True).close()
    path = tmp_path / "work"
    path.mkdir()
    monkeypatch.chdir(path)
    (path / "images").mkdir()
    (path / "images/cat.png").write_bytes(b"cat" * 1000)
    (path / "images/dog.png").write_bytes(b"dog" * 1000)
    (path / "checkpoints").mkdir()
    (path / "checkpoints/model.h5").write_bytes(b"\x89HDF in checkpoints")
    (path / "model.h5").write_bytes(b"\x89HDF")
    yield path
    for run in current.own_runs():
        run.finish()


@pytest.fixture
def repository(work: Path) -> Repository:
    return find_place().repository
