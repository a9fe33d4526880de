"""The cost of a version grows with what changed, not with what is there or was before."""

from __future__ import annotations

from pathlib import Path

import pytest

from artfs.repo.editing import edit
from artfs.repo.packing import PackWriter
from artfs.repo.reading import resolve
from artfs.repo.repository import Repository
from artfs.types import Entry
from tests.unit.repo.trees import KEY, Tree, commit_edit, commit_tree, memory_repository, noise
from tests.unit.repo.trees import read_version as read
from tests.unit.repo.trees import stored_file as stored

VERSIONS, FILES = 40, 2000
DATA = 3000


def stored_bytes(repository: Repository) -> int:
    return sum(info.size for info in repository.store.list(""))


@pytest.mark.parametrize("directories", [1, 50])
def test_a_version_with_one_changed_file_costs_little(tmp_path: Path, directories: int) -> None:
    files = {b"f%04d" % n: b"%d" % n for n in range(FILES // directories)}
    tree: Tree = files if directories == 1 else {b"d%03d" % n: files for n in range(directories)}
    costs = []
    with memory_repository(tmp_path) as repository:
        commit_tree(repository, tree)
        for number in range(1, VERSIONS):
            before = stored_bytes(repository)

            def change(writer: PackWriter, number: int = number) -> dict[bytes, Entry | None]:
                name = b"f%04d" % (number * 37 % len(files))
                new = stored(name, noise(DATA, number), writer)
                if directories == 1:
                    return {name: new}
                root = repository.catalog.version(KEY, number - 1).root.entry()
                inner = b"d%03d" % (number * 7 % directories)
                old = resolve(root, inner, repository.blobs)
                return {inner: edit(old, {name: new}, writer, repository.blobs)}

            done = commit_edit(repository, change)
            assert (done.version, done.changed) == (number, True)
            costs.append(stored_bytes(repository) - before - DATA)
        assert max(costs) < 64 << 10
        assert costs[-1] < 16 << 10
        assert len(read(repository, VERSIONS - 1)) == len(read(repository, 0))
