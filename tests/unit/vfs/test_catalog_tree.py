"""A project as a filesystem, without a mount."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from artfs.vfs.attributes import Owner
from artfs.vfs.catalog_tree import CatalogTree
from artfs.vfs.remembering import Remembering
from artfs.vfs.tree import ROOT, Caller, DirEntry
from tests.unit.repo.trees import KEY, commit_tree, memory_repository
from tests.unit.vfs.test_version_tree import tree_of

ME = Caller(1, 1, 1, 0)
COUNT = 100_000


@pytest.mark.slow
def test_an_artifact_of_100_000_versions_is_listed_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answer is as large as what is asked for; making the rest anew each time takes 19 s."""
    with memory_repository(tmp_path) as repository:
        commit_tree(repository, {b"a": b"x"})
        repository.catalog.set_alias(KEY, "best", 0)
        monkeypatch.setattr(repository.catalog, "newest_number", lambda _: COUNT - 1)
        catalog = Remembering(repository.catalog, 60.0, 5.0)
        project = (KEY.entity, KEY.project)
        tree = CatalogTree(tree_of(repository), catalog, project, Owner(1, 1), 60.0)

        async def listed(ino: int) -> list[DirEntry]:
            handle = await tree.opendir(ino, ME)
            found: list[DirEntry] = []
            while page := await tree.readdir(handle, found[-1].position if found else 0):
                assert len(page) < 1000
                found += page
            again = await tree.readdir(handle, found[7].position)
            assert again == found[8 : 8 + len(again)]
            await tree.releasedir(handle)
            return found

        async def main() -> None:
            [artifact] = await tree.readdir(await tree.opendir(ROOT, ME), 0)
            assert artifact.name == KEY.name.encode()
            entries = await listed(artifact.attrs.ino)
            assert [e.name for e in entries[:-2]] == [b"v%d" % n for n in range(COUNT)]
            assert [e.name for e in entries[-2:]] == [b"best", b"latest"]
            assert len({e.attrs.ino for e in entries}) == COUNT + 2

        trio.run(main)
