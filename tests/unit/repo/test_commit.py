"""Commits of which others take the number, and such whose answer is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artfs.errors import AlreadyExists, Conflict
from artfs.format.record import VersionRecord
from artfs.repo.catalog import Catalog
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey
from tests.unit.repo.trees import KEY, commit_tree, memory_repository


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with memory_repository(tmp_path) as opened:
        yield opened


Record = Callable[[Catalog, ArtifactKey, VersionRecord], None]


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Record], Record]], None]:
    """Lets the next record of a version be written by what is made of the way it is written."""

    def replace(make: Callable[[Record], Record]) -> None:
        record = Catalog.record_version
        instead = make(record)

        def write(catalog: Catalog, key: ArtifactKey, version: VersionRecord) -> None:
            monkeypatch.setattr(Catalog, "record_version", record)
            instead(catalog, key, version)

        monkeypatch.setattr(Catalog, "record_version", write)

    return replace


Once = Callable[[Callable[[Record], Record]], None]


@pytest.fixture
def first(repository: Repository, once: Once) -> Callable[[bytes], None]:
    """Somebody else commits a file `f` with this content, just before the next commit does."""

    def others(content: bytes) -> None:
        def make(record: Record) -> Record:
            def write(catalog: Catalog, key: ArtifactKey, version: VersionRecord) -> None:
                commit_tree(repository, {b"f": content})
                record(catalog, key, version)

            return write

        once(make)

    return others


def test_a_commit_goes_behind_the_one_that_took_its_number(
    repository: Repository, first: Callable[[bytes], None]
) -> None:
    commit_tree(repository, {b"f": b"0"})
    first(b"theirs")
    done = commit_tree(repository, {b"f": b"mine"})
    assert (done.version, done.changed, done.record.base) == (2, True, 0)


def test_a_commit_on_a_base_is_refused_where_another_took_its_number(
    repository: Repository, first: Callable[[bytes], None]
) -> None:
    commit_tree(repository, {b"f": b"0"})
    first(b"theirs")
    with pytest.raises(Conflict, match="moved on to v1 since the draft's base v0"):
        commit_tree(repository, {b"f": b"mine"}, base=0)
    assert repository.catalog.versions(KEY) == [0, 1]


def test_the_same_content_at_once_makes_one_version(
    repository: Repository, first: Callable[[bytes], None]
) -> None:
    first(b"same")
    done = commit_tree(repository, {b"f": b"same"})
    assert (done.version, done.changed) == (0, False)
    assert repository.catalog.versions(KEY) == [0]


def test_a_record_that_was_written_by_the_try_before_is_its_own(
    repository: Repository, once: Once
) -> None:
    """As a store does that sends a request again of which it had no answer."""

    def make(record: Record) -> Record:
        def write(catalog: Catalog, key: ArtifactKey, version: VersionRecord) -> None:
            record(catalog, key, version)
            raise AlreadyExists("record", "is there")

        return write

    once(make)
    done = commit_tree(repository, {b"f": b"0"})
    assert (done.version, done.changed) == (0, True)
    assert repository.catalog.versions(KEY) == [0]
