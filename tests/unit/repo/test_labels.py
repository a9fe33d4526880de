"""What people say of a version changes beside its record, whoever else changes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from artfs.errors import Conflict, Damaged, InvalidValue
from artfs.format import keys, record
from artfs.format.record import VersionRecord
from artfs.repo.commit import commit
from artfs.repo.labels import Labels, expiry
from artfs.repo.links import link
from artfs.repo.packing import PackWriter
from artfs.repo.repository import Repository
from artfs.store.memory import MemoryStore
from artfs.types import ArtifactKey
from tests.support.faulty import FaultyStore
from tests.unit.repo.trees import KEY, commit_tree, memory_repository, stored_tree


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with memory_repository(tmp_path) as opened:
        yield opened


def labelled(repository: Repository, content: bytes = b"0") -> VersionRecord:
    with PackWriter(repository) as writer:
        root = stored_tree({b"f": content}, writer)
        return commit(
            repository, KEY, root, writer, commit_id="c" * 32,
            labels=Labels("about", {"n": 1}, ["raw"], 60),
        ).record  # fmt: skip


def test_a_version_has_the_labels_of_its_record(repository: Repository) -> None:
    version = labelled(repository)
    book = repository.catalog.labels
    assert book.of(KEY, version) == Labels("about", {"n": 1}, ["raw"], 60)
    assert book.reader(KEY)(version) == book.of(KEY, version)


def test_only_what_was_changed_is_stored_beside_it(repository: Repository) -> None:
    version = labelled(repository)
    book = repository.catalog.labels
    changed = book.change(KEY, version, lambda old: msgspec.structs.replace(old, tags=["good"]))
    assert book.of(KEY, version) == changed
    assert (changed.description, changed.tags, changed.ttl) == ("about", ["good"], 60)
    assert book.reader(KEY)(version) == changed
    stored = msgspec.json.decode(repository.store.get(keys.labels(KEY, 0)))
    assert stored == {"tags": ["good"], "changed": changed.changed}
    assert repository.catalog.version(KEY, 0) == version


def test_nothing_changed_writes_nothing(repository: Repository) -> None:
    version = labelled(repository)
    assert repository.catalog.labels.change(KEY, version, lambda old: old).changed == ""
    assert repository.store.list_names(keys.all_labels(KEY)) == []


def test_emptied_labels_are_not_those_of_the_record(repository: Repository) -> None:
    version = labelled(repository)
    repository.catalog.labels.change(KEY, version, lambda _: Labels())
    found = repository.catalog.labels.of(KEY, version)
    assert (found.description, found.metadata, found.tags, found.ttl) == ("", {}, [], 0)


def test_unchanged_content_gets_tags_and_ttl(repository: Repository) -> None:
    commit_tree(repository, {b"f": b"0"})
    labelled(repository)
    assert repository.catalog.versions(KEY) == [0]
    found = repository.catalog.labels.of(KEY, repository.catalog.version(KEY, 0))
    assert (found.description, found.tags, found.ttl) == ("", ["raw"], 60)


def test_racing_changes_are_all_kept(repository: Repository) -> None:
    version = labelled(repository)
    book = repository.catalog.labels
    threads = [
        threading.Thread(
            target=lambda n=n: book.change(KEY, version, lambda old: old.with_tags([f"t{n}"]))
        )
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(book.of(KEY, version).tags) == ["raw", *(f"t{n}" for n in range(8))]


def test_another_who_changes_them_all_the_time(tmp_path: Path) -> None:
    store = FaultyStore(MemoryStore())
    with memory_repository(tmp_path, store) as repository:
        version = labelled(repository)
        for n in range(100):
            store.fail("compare_and_set", n + 1, Conflict("record", "moved"))
        with pytest.raises(Conflict, match="animals:v0: its labels are being changed"):
            repository.catalog.labels.change(KEY, version, lambda old: old.with_tags(["x"]))


def test_no_more_than_100_keys_even_put_together(repository: Repository) -> None:
    version = labelled(repository)
    many: dict[str, object] = {str(n): n for n in range(101)}
    with pytest.raises(InvalidValue, match="has 101 keys; 100 are the most"):
        repository.catalog.labels.change(KEY, version, lambda _: Labels(metadata=many))


def test_a_link_has_the_labels_of_its_source(repository: Repository) -> None:
    version = labelled(repository)
    portfolio = ArtifactKey("default", "default", "best")
    link(repository, KEY, version, portfolio)
    linked = repository.catalog.version(portfolio, 0)
    book = repository.catalog.labels
    assert book.of(portfolio, linked) == book.of(KEY, version)
    book.change(portfolio, linked, lambda old: old.with_tags(["seen"]))
    assert book.of(KEY, version).tags == ["raw", "seen"]
    assert book.reader(portfolio)(linked).tags == ["raw", "seen"]
    assert repository.store.list_names(keys.all_labels(portfolio)) == []


def test_damaged_labels_are_an_error(repository: Repository) -> None:
    version = labelled(repository)
    repository.store.put_if_absent(keys.labels(KEY, 0), b'{"tags": 1}')
    with pytest.raises(Damaged, match="labels"):
        repository.catalog.labels.of(KEY, version)


def test_when_a_version_expires(repository: Repository) -> None:
    version = msgspec.structs.replace(labelled(repository), created="2026-11-21T05:40:42Z")
    made = datetime(2026, 11, 21, 5, 40, 42, tzinfo=UTC)
    assert expiry(version, Labels(ttl=90)) == made + timedelta(seconds=90)
    assert expiry(version, Labels()) is None
    for created, ttl in (("", 1), ("soon", 1), ("2026-11-21T05:40:42Z", 1 << 60)):
        with pytest.raises(Damaged, match="no time to expire"):
            expiry(msgspec.structs.replace(version, created=created), Labels(ttl=ttl))


def test_records_of_before_can_be_read(repository: Repository) -> None:
    """A version record without tags, ttl and source, and an artifact's without `portfolio`."""
    version = labelled(repository)
    fields = msgspec.to_builtins(version)
    for name in ("tags", "ttl", "source"):
        del fields[name]
    old = record.decode(msgspec.json.encode(fields), VersionRecord, "old")
    assert (old.tags, old.ttl, old.source) == ([], 0, None)
    assert not record.decode(b'{"type": "dataset"}', record.ArtifactRecord, "old").portfolio
