"""A version as Python sees it: its attributes, aliases, files on disk, and its deletion."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

import artfs
from artfs import Artifact
from artfs.errors import (
    Conflict,
    InvalidValue,
    NotFound,
    VerificationFailed,
)
from artfs.repo.export import ExportFailed
from tests.unit.api.artifacts.contents import local, made, saved, versions


def fetched(ref: str = "data") -> Artifact:
    return artfs.Api().artifact(ref)


def test_the_attributes() -> None:
    artifact = Artifact("data", "dataset", "about", {"n": 1}, use_as="input")
    artifact.add_dir("images")
    assert (artifact.id, artifact.name, artifact.state) == (None, "data", "PENDING")
    with artfs.init(entity="me", project="p") as run:
        run.log_artifact(artifact, aliases=["best"])
    for one in (artifact, artfs.Api(entity="me", project="p").artifact("data:best")):
        assert (one.entity, one.project, one.name, one.version) == ("me", "p", "data:v0", "v0")
        assert (one.type, one.state, one.description) == ("dataset", "COMMITTED", "about")
        assert (one.metadata, one.aliases) == ({"n": 1}, ["latest", "best"])
        assert (one.size, one.file_count) == (6000, 2)
        assert one.qualified_name == one.source_qualified_name == "me/p/data:v0"
        assert (one.source_entity, one.source_project) == ("me", "p")
        assert (one.source_name, one.source_version) == ("data:v0", "v0")
        assert re.fullmatch("[0-9a-f]{64}", one.digest)
        assert re.fullmatch("[0-9a-f]{64}", one.commit_hash)
        assert one.commit_hash == artifact.commit_hash
        assert one.id == artifact.id
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one.created_at)
        assert one.updated_at == one.created_at
        assert list(one.manifest.entries) == ["cat.png", "dog.png"]
        assert one.wait() is one
    assert json.loads(json.dumps(artifact.json_encode())) == {
        "_type": "artifactVersion", "_version": "v0", "id": artifact.id, "version": "v0",
        "sequenceName": "data", "usedAs": "input",
    }  # fmt: skip


def test_ids_and_hashes_are_of_one_version() -> None:
    one, two = saved(a="1"), saved(a="2")
    assert one.id != two.id
    assert one.commit_hash != two.commit_hash


def test_a_version_by_digest_and_in_other_projects() -> None:
    one = saved(a="1")
    saved(a="2")
    assert fetched(f"data@{one.digest[:12]}").version == "v0"
    assert fetched("default/default/data:v1").version == "v1"
    assert fetched("default/data").version == "v1"
    with pytest.raises(NotFound, match="artifact 'other/data'"):
        fetched("other/data")
    with pytest.raises(NotFound, match="data:worst: no such alias"):
        fetched("data:worst")


def test_a_list_of_aliases_is_persisted_by_save() -> None:
    one = saved(a="1")
    one.aliases.append("best")
    one.aliases += ["good", "old"]
    assert fetched().aliases == ["latest"]
    one.save()
    assert one.aliases == fetched("data:best").aliases == ["latest", "best", "good", "old"]

    two = saved(a="2")
    two.aliases.append("best")
    two.save()  # moves it
    one.aliases.remove("good")
    one.aliases.remove("best")
    one.save()
    assert one.aliases == ["old"]  # `latest` and `best` have moved on, and are left there
    assert fetched("data:best").version == fetched("data:latest").version == "v1"
    with pytest.raises(NotFound):
        fetched("data:good")


def test_aliases_set_before_logging() -> None:
    artifact = made(a="1")
    artifact.aliases = ["best"]
    artifact.save()
    assert artifact.aliases == ["latest", "best"]


@pytest.mark.parametrize("alias", ["v3", "latest", "a/b", "a:b", ""])
def test_aliases_that_nobody_may_set(alias: str) -> None:
    saved(a="1")
    saved(a="2")
    old = fetched("data:v0")
    old.aliases += ["fine", alias]
    with pytest.raises(InvalidValue, match="alias '"):
        old.save()
    assert fetched("data:v0").aliases == []


def test_latest_cannot_be_removed() -> None:
    artifact = saved(a="1")
    artifact.aliases.remove("latest")
    with pytest.raises(InvalidValue, match="always means the newest version"):
        artifact.save()


def test_download_leaves_other_files_alone() -> None:
    artifact = saved(a="a", d__b="b")
    Path("out/d").mkdir(parents=True)
    Path("out/other").write_text("other")
    Path("out/d/b").write_text("differs")
    assert artifact.download("out") == "out"
    assert local("out") == {"a": b"a", "d/b": b"b", "other": b"other"}
    assert artifact.download() == "./artifacts/data:v0"


def test_checkout_removes_what_is_not_in_the_version() -> None:
    artifact = saved(a="a", d__b="b", e="e")
    Path("keep").mkdir()
    Path("keep/file").write_text("keep")
    Path("out/d/more/deep").mkdir(parents=True)
    Path("out/d/more/deep/x").write_text("x")
    Path("out/d/more").chmod(0o500)
    Path("out/link").symlink_to("../keep")
    Path("out/a").mkdir()
    Path("out/a/dir").write_text("in the way")
    Path("out/d/b").write_text("differs")
    Path("out/e").symlink_to("../keep/file")
    assert artifact.checkout("out") == "out"
    assert local("out") == {"a": b"a", "d/b": b"b", "e": b"e"}
    assert sorted(os.listdir("out")) == ["a", "d", "e"]
    assert local("keep") == {"file": b"keep"}
    assert not Path("out/e").is_symlink()
    assert artifact.verify("out")


def test_checkout_refuses_to_empty_what_must_stay(home: Path) -> None:
    artifact = saved(a="a")
    with pytest.raises(InvalidValue, match="contains the store"):
        artifact.checkout(home)
    with pytest.raises(InvalidValue, match="contains the store"):
        artifact.checkout(home / "store/packs")
    Path("file").write_text("f")
    with pytest.raises(ExportFailed, match="file: "):
        artifact.checkout("file")
    assert fetched().version == "v0"


def test_verify() -> None:
    artifact = saved(a="a" * 100_000, d__b="b")
    assert artifact.verify() is True  # downloads it
    with pytest.raises(VerificationFailed, match="out: is not a directory"):
        artifact.verify("out")
    assert artifact.verify(artifact.download("out")) is True


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda: Path("artifacts/data:v0/d/b").write_text("B"), "d/b: has another content"),
        (lambda: Path("artifacts/data:v0/d/b").write_text("bb"), "d/b: has another content"),
        (lambda: Path("artifacts/data:v0/d/b").unlink(), "d/b: is missing"),
        (lambda: Path("artifacts/data:v0/d/c").touch(), "d/c: is not in the version"),
        (lambda: Path("artifacts/data:v0/a").chmod(0o755), "a: has another execute bit"),
        (lambda: Path("artifacts/data:v0/a").rename("d"), "a: is missing"),
        (lambda: _to_directory("artifacts/data:v0/a"), "a: is not a regular file"),
    ],
)
def test_verify_names_what_differs(spoil: object, says: str) -> None:
    artifact = saved(a="a", d__b="b")
    artifact.download()
    assert callable(spoil)
    spoil()
    with pytest.raises(ValueError, match=says):
        artifact.verify()


def _to_directory(path: str) -> None:
    Path(path).unlink()
    Path(path).mkdir()


def test_an_entry_is_downloaded_by_itself() -> None:
    artifact = saved(a="a", d__b="b")
    entry = artifact.get_path("d/b")
    assert (entry.path, entry.size) == ("d/b", 1)
    assert entry.download() == "./artifacts/data:v0/d/b"
    assert entry.download("else/where") == "else/where/d/b"
    assert local("else") == {"where/d/b": b"b"}
    with pytest.raises(NotFound, match="data:v0/c: no such path"):
        artifact.get_path("c")
    with pytest.raises(InvalidValue, match="'d': is a directory"):
        artifact.get_path("d")


def test_deleting_a_version() -> None:
    saved(a="1")
    two = saved(a="2")
    two.delete()
    assert (two.state, versions("data")) == ("DELETED", [0])
    assert fetched().version == "v0"
    with pytest.raises(NotFound, match="data:v1: was deleted"):
        fetched("data:v1")
    for use in (two.delete, two.save):
        with pytest.raises(NotFound, match="data:v1: was deleted"):
            use()
    with artfs.init() as run, pytest.raises(NotFound, match="data:v1: was deleted"):
        run.log_artifact(two)
    assert saved(a="3").version == "v2"


def test_deleting_a_version_that_somebody_else_deleted() -> None:
    one, other = saved(a="1"), fetched()
    one.delete()
    with pytest.raises(NotFound, match="data:v0: was deleted"):
        other.delete()


def test_deleting_a_version_with_aliases() -> None:
    artifact = saved(a="1")
    fetched().aliases.append("unsaved")
    artifact.aliases.append("best")
    artifact.save()
    with pytest.raises(Conflict, match="has the alias best"):
        artifact.delete()
    assert fetched("data:best").version == "v0"
    artifact.delete(delete_aliases=True)
    with pytest.raises(NotFound, match="no such alias"):
        fetched("data:best")
