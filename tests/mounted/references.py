"""Versions with references in them."""

from __future__ import annotations

import os
import random
from pathlib import Path

from artfs.repo import editing
from artfs.repo.commit import commit
from artfs.repo.packing import PackWriter
from artfs.repo.references import entry_of_found
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey, Entry

KEY = ArtifactKey("default", "default", "refs")
BIG = random.Random(1).randbytes(5 << 20)


def refer(home: Path, uris: dict[str, str], *, checksum: bool = True) -> None:
    """Make a version of references by name."""
    with (
        Repository.open(str(home / "store"), home / "cache", create=True) as repository,
        PackWriter(repository) as writer,
    ):
        changes: dict[bytes, Entry | None] = {}
        for name, uri in uris.items():
            (found,) = repository.references.describe(uri, checksum=checksum)
            changes[name.encode()] = entry_of_found(found, name.encode())
        root = editing.edit(editing.empty_directory(), changes, writer, repository.blobs)
        commit(repository, KEY, root, writer, commit_id=os.urandom(16).hex(), type="t")
