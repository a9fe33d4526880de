"""References of an empty store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from artfs.repo.references import References, entry_of_found
from artfs.repo.repository import Repository
from artfs.store.options import SourcePolicy, StoreOptions
from artfs.types import Entry
from tests.unit.repo.trees import memory_repository


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with memory_repository(tmp_path / "cache") as repository:
        yield repository


@pytest.fixture
def references(repository: Repository, tmp_path: Path) -> Iterator[References]:
    """They give up after a short while, and may read files below `tmp_path/open`."""
    policy = SourcePolicy(directories=(str(tmp_path / "open"),), patience=0.2)
    found = References(repository.catalog, repository.blobs, StoreOptions(sources=policy))
    yield found
    found.close()


class Recorded:
    """Records what a URI names, and reads it."""

    def __init__(self, references: References) -> None:
        self.references = references

    def entry(self, uri: str, *, checksum: bool = True) -> Entry:
        (found,) = self.references.describe(uri, checksum=checksum)
        assert found.itself
        return entry_of_found(found, b"name")

    def read(self, entry: Entry, start: int = 0, end: int = 1 << 62) -> bytes:
        return b"".join(self.references.content(entry, start, end))


@pytest.fixture
def recorded(references: References) -> Recorded:
    return Recorded(references)
