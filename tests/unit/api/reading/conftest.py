"""A store in a directory, which the environment names, and versions made of dicts in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from artfs.api.filesystem import ArtfsFileSystem
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey
from tests.unit.repo.trees import KEY, Tree, commit_tree

Put = Callable[..., None]


@pytest.fixture
def put(home: Path) -> Iterator[Put]:
    """Commits a tree as the next version of `animals`, or of another artifact."""
    with Repository.open(os.environ["ARTFS_STORE"], home / "cache", create=True) as repository:

        def put(tree: Tree, key: ArtifactKey = KEY, alias: str = "") -> None:
            commit_tree(repository, tree, key, aliases=(alias,) if alias else ())

        yield put


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """fsspec keeps filesystems for a process' life; each test has a store of its own."""
    ArtfsFileSystem.clear_instance_cache()
    yield
    ArtfsFileSystem.clear_instance_cache()


@pytest.fixture
def fs(home: Path) -> ArtfsFileSystem:
    """The filesystem of that store, as programs get it."""
    found: ArtfsFileSystem = fsspec.filesystem("artfs")
    return found
