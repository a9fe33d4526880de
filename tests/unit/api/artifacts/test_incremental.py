"""Versions made from versions: only what changed is read and stored, nothing of others is lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import artfs
from artfs import Artifact
from artfs.api import committing
from artfs.api.place import find_place
from artfs.errors import CommitConflict, Conflict, InvalidValue, NotFound
from artfs.format import keys
from artfs.repo.blobs import Blobs
from artfs.repo.commit import commit
from artfs.repo.editing import new_directory
from artfs.repo.merge import Merged, merge
from artfs.repo.packing import PackWriter
from artfs.repo.repository import Repository
from artfs.types import BlobRef, Entry, Kind
from tests.unit.api.artifacts.contents import made, saved, stored, versions
from tests.unit.repo.trees import stored_file

MANY = 100_000


def fetched(name: str = "data") -> Artifact:
    return artfs.Api().artifact(name)


def test_a_draft_shares_what_is_not_changed(repository: Repository) -> None:
    old = saved(a="old", d__keep="k" * 5000, d__drop="x", e__f="f")
    packs = sum(1 for _ in repository.store.list(keys.PACKS))
    draft = old.new_draft()
    assert draft.digest == old.digest
    draft.remove("d/drop")
    draft.add_file("model.h5", "d/new")
    draft.remove("e")
    draft.save()
    assert (draft.version, draft.state) == ("v1", "COMMITTED")
    assert stored("data") == {"a": b"old", "d": None, "d/keep": b"k" * 5000, "d/new": b"\x89HDF"}
    assert sum(1 for _ in repository.store.list(keys.PACKS)) == packs + 2
    catalog = repository.catalog
    assert catalog.version(find_place().key("data"), 1).base == 0
    assert catalog.version(find_place().key("data"), 1).stored < 1000


@pytest.fixture
def huge(repository: Repository) -> Repository:
    """`huge:v0` with two directories of 100,000 files each, and a few files."""
    with PackWriter(repository) as writer:
        file = stored_file(b"f", b"all the same", writer)
        blob = file.blob
        assert blob is not None

        def directory(name: bytes) -> Entry:
            files = (
                Entry(b"%06d" % i, Kind.FILE, 0o644, 7, 12, 0, file.digest, blob)
                for i in range(MANY)
            )
            return new_directory(name, 0o755, 7, files, writer)

        root = new_directory(b"", 0o755, 7, [directory(b"a"), directory(b"b"), file], writer)
        key = find_place().key("huge")
        commit(repository, key, root, writer, commit_id="12" * 16)
    return repository


@pytest.fixture
def reads(huge: Repository, monkeypatch: pytest.MonkeyPatch) -> list[BlobRef]:
    """Every blob that is fetched from the store."""
    found: list[BlobRef] = []
    read, span = Blobs.read, Blobs.span

    def recording(self: Blobs, ref: BlobRef) -> bytes:
        found.append(ref)
        return read(self, ref)

    def recording_all(self: Blobs, refs: Sequence[BlobRef]) -> bytes:
        found.extend(refs)
        return span(self, refs)

    huge.blobs._nodes.clear()
    monkeypatch.setattr(Blobs, "read", recording)
    monkeypatch.setattr(Blobs, "span", recording_all)
    return found


@pytest.mark.slow
def test_what_a_change_to_a_huge_version_costs(huge: Repository, reads: list[BlobRef]) -> None:
    draft = fetched("huge").new_draft()
    draft.remove("b/")
    assert len(reads) == 1  # the root's node
    draft.add_file("model.h5", "a/050000x")
    draft.remove("a/000017")
    draft.add_dir("images", "images")
    assert draft.size == 12 * MANY + len(b"\x89HDF") + 6000
    draft.save()
    assert len(reads) < 12  # the way to two leaves of `a`
    record = huge.catalog.version(find_place().key("huge"), 1)
    assert record.root.count == MANY + 5
    assert record.stored < 50_000
    reads.clear()
    assert fetched("huge").get_path("a/000018").size == 12
    with pytest.raises(NotFound):
        fetched("huge").get_path("b/000018")


def test_incremental_begins_with_the_newest_version() -> None:
    saved(a="a", d__b="b")
    artifact = Artifact("data", "dataset", incremental=True)
    artifact.add_file("model.h5", "d/c")
    artifact.remove("a")
    artifact.save()
    assert stored("data:v1") == {"d": None, "d/b": b"b", "d/c": b"\x89HDF"}


def test_incremental_over_nothing() -> None:
    artifact = Artifact("data", "dataset", incremental=True)
    artifact.add_file("model.h5")
    artifact.save()
    assert (artifact.version, stored("data")) == ("v0", {"model.h5": b"\x89HDF"})


def test_incremental_without_a_change_makes_no_version() -> None:
    saved(a="a")
    artifact = Artifact("data", "dataset", incremental=True)
    artifact.save()
    assert (artifact.version, versions("data")) == ("v0", [0])


def test_incremental_in_another_project_than_it_was_begun() -> None:
    artifact = Artifact("data", "dataset", incremental=True)
    artifact.add_file("model.h5")
    with (
        artfs.init(project="other") as run,
        pytest.raises(InvalidValue, match="begun from the one of project 'default'"),
    ):
        run.log_artifact(artifact)


def test_a_draft_stays_in_the_project_of_its_version() -> None:
    with artfs.init(project="other") as run:
        run.log_artifact(made(a="a"))
    with artfs.init() as run:
        draft = run.use_artifact("other/data").new_draft()
        draft.remove("a")
        run.log_artifact(draft)
    assert (draft.qualified_name, versions("data")) == ("default/other/data:v1", [])


def test_drafts_of_one_version_do_not_lose_each_others_changes() -> None:
    old = saved(a="a", d__b="b")
    one, two = old.new_draft(), old.new_draft()
    one.add_file("model.h5", "d/one")
    two.add_file("model.h5", "d/two")
    two.remove("a")
    one.save()
    two.save()
    assert (one.version, two.version) == ("v1", "v2")
    assert stored("data") == {"d": None, "d/b": b"b", "d/one": b"\x89HDF", "d/two": b"\x89HDF"}
    assert two.digest == fetched().digest


def test_a_draft_is_put_on_what_others_log_while_it_is_put_on_their_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = saved(a="a")
    draft = old.new_draft()
    draft.add_file("model.h5", "mine")
    saved(a="second")

    def late(*args: Any) -> Merged:  # noqa: ANN401  # handed on
        merged = merge(*args)
        monkeypatch.setattr(committing, "merge", merge)
        saved(a="third")
        return merged

    monkeypatch.setattr(committing, "merge", late)
    draft.save()
    assert (draft.version, stored("data")) == ("v3", {"a": b"third", "mine": b"\x89HDF"})


def test_content_that_is_shared_and_gone_is_an_error_that_says_what_to_do(
    home: Path,
) -> None:
    saved(a="shared")
    artifact = made(b="shared", c="new")
    for pack in (home / "store/packs").rglob("*"):
        if pack.is_file():
            pack.unlink()
    with pytest.raises(Conflict, match="was removed meanwhile") as raised:
        artifact.save()
    assert raised.value.hint == "make the artifact again"


def test_drafts_that_changed_the_same_path() -> None:
    old = saved(a="a", d__b="b")
    one, two = old.new_draft(), old.new_draft()
    one.add_file("model.h5", "a")
    two.add_file("images/cat.png", "a")
    one.save()
    with pytest.raises(CommitConflict, match="changed on both sides: a") as raised:
        two.save()
    assert raised.value.paths == [b"a"]
    assert versions("data") == [0, 1]


def test_two_first_versions_begun_at_once() -> None:
    one, two = (Artifact("data", "dataset", incremental=True) for _ in range(2))
    one.add_file("model.h5", "one")
    two.add_file("model.h5", "two")
    one.save()
    two.save()
    assert stored("data:v1") == {"one": b"\x89HDF", "two": b"\x89HDF"}


def test_a_draft_of_an_older_version_goes_back_to_it() -> None:
    saved(a="a")
    saved(b="b")
    draft = artfs.Api().artifact("data:v0").new_draft()
    draft.add_file("model.h5", "new")
    draft.save()
    assert (draft.version, stored("data")) == ("v2", {"a": b"a", "new": b"\x89HDF"})
    again = artfs.Api().artifact("data:v0").new_draft()
    again.save()
    assert (again.version, stored("data")) == ("v3", {"a": b"a"})


def test_a_draft_has_the_metadata_of_its_version() -> None:
    artifact = Artifact("data", "t", description="about", metadata={"n": [1, (2, 3)]})
    artifact.save()
    draft = artifact.new_draft()
    draft.metadata["m"] = 1
    draft.add_file("model.h5")
    draft.save()
    assert fetched().metadata == {"n": [1, [2, 3]], "m": 1}
    assert fetched().description == "about"
    assert artfs.Api().artifact("data:v0").metadata == {"n": [1, [2, 3]]}


def test_a_directory_of_the_base_is_replaced() -> None:
    draft = saved(d__a="a", d__b="b", x="x").new_draft()
    draft.remove("d")
    draft.add_dir("images", "d")
    draft.remove("d/dog.png")
    assert draft.get_added_local_path_name("images/dog.png") is None
    draft.save()
    assert stored("data") == {"d": None, "d/cat.png": b"cat" * 1000, "x": b"x"}


def test_a_file_becomes_a_directory() -> None:
    draft = saved(a="a", b="b").new_draft()
    with pytest.raises(InvalidValue, match="'a': is a file in this artifact"):
        draft.add_file("model.h5", "a/b")
    draft.remove("a")
    with pytest.raises(NotFound):
        draft.remove("a")
    draft.add_file("model.h5", "a/b")
    draft.save()
    assert stored("data") == {"a": None, "a/b": b"\x89HDF", "b": b"b"}


def test_a_directory_left_empty_stays_and_is_downloaded(tmp_path: Path) -> None:
    draft = saved(d__a="a", b="b").new_draft()
    draft.remove("d/a")
    draft.save()
    assert stored("data") == {"d": None, "b": b"b"}
    assert list(Path(draft.download(tmp_path / "out"), "d").iterdir()) == []


@pytest.mark.parametrize("others", [1, 0])
def test_the_base_was_deleted_and_nobody_has_made_another(
    repository: Repository, others: int
) -> None:
    """Whoever deletes it deletes nothing of what is being made from it."""
    saved(a="first")
    draft = saved(a="first", b="second").new_draft()
    draft.add_file("model.h5", "c")
    key = find_place().key("data")
    for number in range(others, 2):
        repository.catalog.mark_deleted(key, number)
    draft.save()
    assert draft.version == "v2"
    assert stored("data") == {"a": b"first", "b": b"second", "c": b"\x89HDF"}
    assert repository.catalog.version(key, 2).base == 1
