"""fsspec's own test-suite for implementations, as far as it reads: what it writes is committed.

It is in fsspec.tests.abstract; `copy`, `put`, `mv`, `pipe` and `open` there are about writing.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests

from artfs.api.filesystem import ArtfsFileSystem
from tests.unit.api.reading.conftest import Put
from tests.unit.repo.trees import Tree

SUBDIR: Tree = {b"subfile1": b"", b"subfile2": b"", b"nesteddir": {b"nestedfile": b""}}


def committed(put: Put, source: Tree) -> str:
    put({b"source": source})
    return "animals:v0/source"


class TestGet(AbstractFixtures, AbstractGetTests):  # type: ignore[misc]  # fsspec ships no types
    """`get`, and with it `expand_path`, `glob`, `find`, `walk`, `isdir` and `get_file`."""

    @pytest.fixture
    def fs(self, home: Path) -> ArtfsFileSystem:
        return ArtfsFileSystem()

    @pytest.fixture
    def fs_path(self) -> str:
        return "animals:v0"

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self, put: Put) -> str:
        return committed(put, {b"file1": b"", b"file2": b"", b"subdir": SUBDIR})

    @pytest.fixture
    def fs_glob_edge_cases_files(self, put: Put) -> str:
        subdirs: Tree = {b"subdir0": SUBDIR, b"subdir1": SUBDIR}
        return committed(put, {b"file1": b"", b"file2": b"", **subdirs})

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self, put: Put) -> str:
        return committed(put, {b"subdir.txt": b"", b"subdir": {b"subfile.txt": b""}})

    @pytest.fixture
    def fs_10_files_with_hashed_names(self, put: Put) -> str:
        names = {hashlib.md5(b"%d" % i).hexdigest(): b"%d" % i for i in range(10)}
        return committed(put, {f"{name}.txt".encode(): data for name, data in names.items()})

    def test_get_directory_recursive(  # it makes its files itself
        self,
        put: Put,
        monkeypatch: pytest.MonkeyPatch,
        fs: ArtfsFileSystem,
        fs_join: Any,  # noqa: ANN401  # fsspec's
        fs_path: str,
        local_fs: Any,  # noqa: ANN401  # fsspec's
        local_join: Any,  # noqa: ANN401  # fsspec's
        local_target: str,
    ) -> None:
        put({b"src": {b"file": b""}})
        for name in ("mkdir", "touch"):
            monkeypatch.setattr(fs, name, lambda *_: None)
        super().test_get_directory_recursive(
            fs, fs_join, fs_path, local_fs, local_join, local_target
        )
